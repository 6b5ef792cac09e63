/** Names that come to stand for other tables while tables are read: a rotation, and schemas that change places. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, serverUrl, shown, oneVersion, withDatabase } from '../support/backup.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { takeBase } from '../../services/app/operations/take-base.ts'
import { verifyAgainstSource } from '../../services/app/operations/verify.ts'

const SETUP = `
CREATE TABLE log (id int PRIMARY KEY, t text);
INSERT INTO log SELECT i, 'full ' || i FROM generate_series(1, 200) i;
CREATE TABLE log_next (id int PRIMARY KEY, t text);
CREATE SCHEMA blue;
CREATE TABLE blue.items (id int PRIMARY KEY, t text);
INSERT INTO blue.items SELECT i, 'blue ' || i FROM generate_series(1, 50) i;
CREATE SCHEMA green;
CREATE TABLE green.items (id int PRIMARY KEY, t text);
INSERT INTO green.items SELECT i, 'green ' || i FROM generate_series(1, 70) i;`

const SWAP = `
ALTER TABLE log RENAME TO log_old; ALTER TABLE log_next RENAME TO log;
ALTER SCHEMA blue RENAME TO blue_old; ALTER SCHEMA green RENAME TO blue;`

async function inDatabase(server: string, database: string, sql: string): Promise<void> {
  const client = new pg.Client(withDatabase(server, database))
  await client.connect()
  await client.query(sql).finally(() => client.end())
}

// What does not depend on the server's version.
describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a base copies the tables that its snapshot saw, whatever their names have come to mean', async () => {
    let snapshots = 0
    const swap = async (point: string): Promise<void> => {
      if (point !== 'base-snapshot' || snapshots++ > 0) return
      await inDatabase(serverUrl(version), backup.database, SWAP)
    }
    const backup = await Backup.prepare({ version, setup: SETUP, onPoint: swap })
    await using _ = backup
    await backup.init()
    await backup.up()
    await backup.durable()
    expect(snapshots).toBeGreaterThan(1)
    const restored = await backup.restore()
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a table that is read again because of a gap is the right one', async () => {
    let armed = false
    const swap = async (point: string): Promise<void> => {
      if (point !== 'base-snapshot' || !armed) return
      armed = false
      await inDatabase(serverUrl(version), backup.database, SWAP)
    }
    const backup = await Backup.prepare({ version, setup: SETUP, onPoint: swap })
    await using _ = backup
    await backup.init()
    await backup.up()
    armed = true
    await backup.source.query(
      "ALTER TABLE log ALTER COLUMN t TYPE text USING t || '!'; ALTER TABLE blue.items ALTER COLUMN t TYPE text USING t || '!'",
    )
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length === 2)
    await backup.durable()
    const restored = await backup.restore()
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('verify --against-source reads the tables that its snapshot saw', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    let snapshots = 0
    const report = await verifyAgainstSource(
      (await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })).repository,
      backup.sourceUrl,
      new AbortController().signal,
      async () => {
        if (snapshots++ === 0) await inDatabase(serverUrl(version), backup.database, SWAP)
      },
    )
    expect(report.tables.filter((table) => !table.equal)).toEqual([])
    expect(snapshots).toBe(2)
    expect(report.tables.find((table) => table.table === 'public.log_old')?.sourceRows).toBe('200')
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('columns whose names were swapped and swapped back without a record are never taken for each other', async () => {
    const swap = 'ALTER TABLE m RENAME a TO c; ALTER TABLE m RENAME b TO a; ALTER TABLE m RENAME c TO b;'
    const triggers = ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE m (id int PRIMARY KEY, a text, b text); INSERT INTO m VALUES (1, 'a', 'b'); CREATE TABLE n (id int PRIMARY KEY)`,
    })
    const { source } = backup
    await backup.durable()
    for (const name of triggers) await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
    await source.query(`BEGIN; ${swap} INSERT INTO m (id, a, b) VALUES (2, 'in b', 'in a'); ${swap} COMMIT`)
    for (const name of triggers) await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
    await source.query(`INSERT INTO m VALUES (3, 'a', 'b'); INSERT INTO n VALUES (1)`)
    await backup.durable()
    await expect(backup.restore()).rejects.toMatchObject({
      code: expect.stringMatching(/^(FOLD_MISMATCH|GAP)$/) as string,
      next: expect.stringContaining('--except-table public.m') as string,
    })
    await backup.restore('latest', { exceptTables: ['public.m'] })
    // A base that is taken now has all of it.
    await takeBase(backup.config, new AbortController().signal, () => undefined)
    await source.query(`INSERT INTO m VALUES (4, 'a', 'b')`)
    await backup.durable()
    expect(shown(await digests((await backup.restore()).url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

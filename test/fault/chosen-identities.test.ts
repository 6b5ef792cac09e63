/** A replica identity is Tidemark's own to take back only where Tidemark alone wanted it. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { removeFromSource } from '../../services/app/operations/init.ts'
import { Backup, testedVersions } from '../support/backup.ts'
import { identityOf } from '../support/identities.ts'

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('an identity that its owner chooses is its own, though the command changes nothing', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE "Full" (id int NOT NULL); CREATE TABLE plain (id int NOT NULL); CREATE TABLE keyed (id int PRIMARY KEY); CREATE TABLE untouched (id int NOT NULL);
        CREATE TABLE stays (id int); CREATE TABLE a (id int NOT NULL); CREATE TABLE lai (id int NOT NULL); CREATE TABLE by_index (id int NOT NULL); CREATE UNIQUE INDEX one ON by_index (id)`,
    })
    const app = await backup.client()
    expect(await identityOf(backup, '"Full"')).toBe('f')
    expect(await identityOf(backup, 'by_index')).toBe('i')
    // Nothing else of it changes behind a reading.
    await backup.durable()
    await app.query('ALTER TABLE stays REPLICA IDENTITY FULL')
    // Of another table, in the same text; and one whose letters are in it.
    await app.query(
      `ALTER TABLE a ADD COLUMN v int; ALTER TABLE lai ADD COLUMN v int; ALTER TABLE plain REPLICA IDENTITY DEFAULT`,
    )
    await app.query(`ALTER TABLE untouched ADD COLUMN v int; ALTER TABLE ONLY "Full" REPLICA IDENTITY FULL`)
    await app.query('ALTER TABLE by_index\n  REPLICA IDENTITY\n  USING INDEX one')
    await app.query(`ALTER TABLE keyed REPLICA IDENTITY NOTHING`)
    expect(await identityOf(backup, 'keyed')).toBe('d')
    await app.query(`alter table keyed replica identity default`)
    for (const table of ['"Full"', 'plain', 'untouched', 'by_index', 'a', 'lai'])
      await app.query(`ALTER TABLE ${table} ADD PRIMARY KEY (id)`)
    const now = async (): Promise<(string | undefined)[]> =>
      Promise.all(
        ['"Full"', 'plain', 'untouched', 'by_index', 'keyed', 'a', 'lai'].map((table) =>
          identityOf(backup, table),
        ),
      )
    expect(await now()).toEqual(['f', 'd', 'd', 'i', 'd', 'd', 'd'])
    await backup.durable()
    const restored = new pg.Client((await backup.restore('latest')).url)
    await restored.connect()
    try {
      const { rows } = await restored.query<{ name: string; i: string }>(
        `SELECT relname AS name, relreplident AS i FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1`,
      )
      expect(rows.map(({ name, i }) => `${name} ${i}`)).toEqual([
        'Full f',
        'a d',
        'by_index i',
        'keyed d',
        'lai d',
        'plain d',
        'stays f',
        'untouched d',
      ])
    } finally {
      await restored.end()
    }
    await backup.stop()
    await removeFromSource(backup.sourceUrl)
    expect(await now()).toEqual(['f', 'd', 'd', 'i', 'd', 'd', 'd'])
  })
})

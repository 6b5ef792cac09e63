/** Tables that were made with event triggers off, and what stands in front of their first record. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'

const TRIGGERS = ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']

const gapsOf = (backup: Backup): string[] =>
  backup.events.flatMap((event) => (event.event === 'gap' ? [event.table] : []))

async function unrecorded({ source }: Backup, sql: string): Promise<void> {
  for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
  await source.query(sql)
  for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('the first record of a table that was made with event triggers off is not its beginning', async () => {
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE u (id int PRIMARY KEY)' })
    const { source } = backup
    const unseen = (sql: string): Promise<void> => unrecorded(backup, sql)
    await backup.durable()
    // No comparison of the catalog comes between.
    await backup.stop()
    await unseen('CREATE TABLE made (id int PRIMARY KEY, v text)')
    await source.query(
      "INSERT INTO made VALUES (1, 'a'), (2, 'b'); BEGIN; CREATE TABLE seen (id int PRIMARY KEY); INSERT INTO seen VALUES (1); ALTER TABLE seen ADD COLUMN w int; COMMIT",
    )
    await source.query('ALTER TABLE made ADD COLUMN w int')
    await backup.up()
    await backup.until(() => gapsOf(backup).length > 0)
    expect(gapsOf(backup)).toEqual(['public.made'])
    await backup.until(() => backup.events.some((event) => event.event === 'gap-closed'))
    await backup.durable()
    expect(shown(await digests((await backup.restore()).url))).toEqual(shown(await digests(backup.sourceUrl)))
    // As versions before this one recorded it: what is not told is refused.
    await backup.stop()
    await unseen('CREATE TABLE other (id int PRIMARY KEY, v text)')
    await source.query("INSERT INTO other VALUES (1, 'a')")
    await source.query(
      `INSERT INTO tidemark.ddl (xid, command, kind, class, oid, facts, columns) SELECT pg_current_xact_id()::text, 'ALTER TABLE', 'table', 'pg_class', s.id, tidemark.table_facts(s.id)::text, s.shape FROM tidemark.shapes(ARRAY['other'::regclass::oid]) s`,
    )
    await backup.up()
    await backup.durable()
    await expect(backup.restore()).rejects.toMatchObject({ code: 'FOLD_MISMATCH' })
    await backup.restore('latest', { exceptTables: ['public.other'] })
  })

  test('a drop hides nothing that its table went through without a record, and what was made with a table is there', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE SCHEMA side; CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE listed (id int PRIMARY KEY);
        ${['swapped', 'truncated', 'packed', 'calm', 'sized'].map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, a int, b int); INSERT INTO ${name} VALUES (1, 1, 2);`).join(' ')}`,
    })
    const { source } = backup
    const unseen = (sql: string): Promise<void> => unrecorded(backup, sql)
    await backup.durable()
    // No comparison of the catalog comes between.
    await backup.stop()
    await unseen(
      'ALTER TABLE swapped RENAME a TO c; ALTER TABLE swapped RENAME b TO a; ALTER TABLE swapped RENAME c TO b; CREATE TABLE unknown (id int PRIMARY KEY); CREATE TABLE made (id serial PRIMARY KEY, v text)',
    )
    await source.query('INSERT INTO swapped VALUES (2, 3, 4); INSERT INTO unknown VALUES (1)')
    await source.query(
      'TRUNCATE truncated; ALTER TABLE sized ALTER a SET STATISTICS 7; ALTER TABLE sized ADD COLUMN c int',
    )
    await source.query('VACUUM FULL packed')
    await source.query('ALTER TABLE made ADD COLUMN w int')
    const { at } = (await source.query<{ at: string }>('SELECT pg_current_wal_insert_lsn()::text AS at'))
      .rows[0]!
    const rows = shown(await digests(backup.sourceUrl))
    await source.query('ALTER TABLE made SET SCHEMA side')
    for (const name of ['swapped', 'truncated', 'packed', 'calm', 'sized', 'unknown'])
      await source.query(`DROP TABLE ${name}`)
    await source.query(
      'CREATE TABLE passing (id int); ALTER TABLE passing ADD COLUMN v text; DROP TABLE passing; BEGIN; CREATE TABLE passing (id int); ALTER TABLE passing RENAME id TO v; DROP TABLE passing; COMMIT',
    )
    await backup.up()
    await backup.until(() => gapsOf(backup).length >= 3)
    await backup.durable()
    expect([...new Set(gapsOf(backup))].sort()).toEqual(['public.made', 'public.swapped', 'public.unknown'])
    const exceptTables = ['public.swapped', 'public.unknown', 'public.made']
    await expect(backup.restore(at)).rejects.toMatchObject({ code: 'GAP' })
    await expect(backup.restore(at, { exceptTables: exceptTables.slice(1) })).rejects.toMatchObject({
      code: 'GAP',
    })
    const restored = await backup.restore(at, { exceptTables })
    expect(shown(await digests(restored.url))).toEqual(
      rows.filter((row) => !exceptTables.some((name) => row.startsWith(`${name}:`))),
    )
    const client = new pg.Client(restored.url)
    await client.connect()
    expect((await client.query(`SELECT to_regclass('made_id_seq') AS name`)).rows).toEqual([
      { name: 'made_id_seq' },
    ])
    await client.end()
    expect(shown(await digests((await backup.restore()).url))).toEqual(shown(await digests(backup.sourceUrl)))
  })

  test('a table that could not be compared before its drop may have changed', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: 'CREATE TABLE calm (id int PRIMARY KEY); CREATE TABLE doubted (id int PRIMARY KEY)',
    })
    await backup.init()
    const { source } = backup
    const commands = async (): Promise<string[]> =>
      (
        await source.query<{ command: string }>(
          `SELECT command FROM tidemark.ddl WHERE kind = 'drop' AND facts::json ->> 'type' = 'table' ORDER BY id`,
        )
      ).rows.map(({ command }) => command)
    await source.query('DROP TABLE calm')
    await source.query('ALTER FUNCTION tidemark.differs(text, text) RENAME TO differed')
    await source.query('DROP TABLE doubted')
    await source.query('ALTER FUNCTION tidemark.differed(text, text) RENAME TO differs')
    expect(await commands()).toEqual(['DROP TABLE', 'REPAIR'])
  })
})

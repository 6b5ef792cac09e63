/** Tables that were made with event triggers off, and what stands in front of their first record. */
import { describe, expect, test } from 'vitest'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'

const gapsOf = (backup: Backup): string[] =>
  backup.events.flatMap((event) => (event.event === 'gap' ? [event.table] : []))

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('the first record of a table that was made with event triggers off is not its beginning', async () => {
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE u (id int PRIMARY KEY)' })
    const { source } = backup
    const triggers = ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']
    const unseen = async (sql: string): Promise<void> => {
      for (const name of triggers) await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
      await source.query(sql)
      for (const name of triggers) await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
    }
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
})

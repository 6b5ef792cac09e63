/** What recording a schema change reads: rows of the catalog and of our records, counted by the server, so that no clock decides. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, oneVersion } from '../support/backup.ts'

const partitioned = (name: string, partitions: number): string => `
CREATE TABLE ${name} (id int, k int NOT NULL, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
DO $$ BEGIN FOR i IN 0..${partitions - 1} LOOP EXECUTE format('CREATE TABLE ${name}_%s PARTITION OF ${name} FOR VALUES FROM (%s) TO (%s)', i, i * 10, i * 10 + 10); END LOOP; END $$;`

const FEW = 10
const MANY = 80
const SETUP = `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX t_v ON t (v); CREATE TYPE mood AS ENUM ('calm'); CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
${partitioned('few', FEW)} ${partitioned('many', MANY)}`

/** Rows that the server read for a command, which is rolled back. */
async function rowsRead(client: pg.Client, prepare: string, command: string): Promise<number> {
  await client.query(`BEGIN; ${prepare}`)
  const count = async (): Promise<number> =>
    Number(
      (
        await client.query<{ n: string }>(
          'SELECT sum(COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0))::text AS n FROM pg_stat_xact_all_tables',
        )
      ).rows[0]!.n,
    )
  const before = await count()
  await client.query(command)
  const after = await count()
  await client.query('ROLLBACK')
  return after - before
}

/** With our event triggers beyond what the same command reads without them; both with what a session keeps in its caches. */
async function added(bare: pg.Client, guarded: pg.Client, command: string, prepare = ''): Promise<number> {
  const counts: number[] = []
  for (const client of [bare, guarded]) {
    await rowsRead(client, prepare, command)
    counts.push(await rowsRead(client, prepare, command))
  }
  return counts[1]! - counts[0]!
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('recording a command reads what the command is about, however much else there is', async () => {
    await using bare = await Backup.prepare({ version, setup: SETUP })
    await using guarded = await Backup.prepare({ version, setup: SETUP })
    await guarded.init()
    await guarded.source.query('ANALYZE')
    const [a, b] = [bare.source, guarded.source]
    const commands = [
      'CREATE TABLE n (id int PRIMARY KEY, v text)',
      'ALTER TABLE t ADD COLUMN w int',
      'ALTER TABLE t DROP COLUMN v',
      "COMMENT ON TABLE t IS 'c'",
      'DROP INDEX t_v',
      'CREATE VIEW w AS SELECT * FROM t',
      "ALTER TYPE mood ADD VALUE 'happy'",
      'DROP TABLE t',
      'CREATE TABLE n (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)',
      'ALTER SEQUENCE numbered_id_seq RENAME TO numbers',
    ]
    const first = new Map<string, number>()
    for (const command of commands) first.set(command, await added(a, b, command))
    // Others' tables, and records that nobody has taken away.
    const others = `DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE other%s (id int PRIMARY KEY, v text)', i); END LOOP; END $$`
    for (const client of [a, b]) await client.query(others)
    for (let i = 0; i < 20; i++) await b.query(`ALTER TABLE many ALTER v SET DEFAULT 'v${i}'`)
    await b.query('ANALYZE')
    // 300 tables have 900 rows in pg_class, and the records are thousands: reading either as a whole shows.
    for (const command of commands) {
      // Whose identity an index was is seen by a look through pg_class alone, once.
      const more = command.includes('DROP') ? 1500 : 250
      expect(await added(a, b, command), command).toBeLessThan(first.get(command)! + more)
    }
  })

  test('of partitions it reads a few rows each, and of hundreds no more for each than of ten', async () => {
    await using bare = await Backup.prepare({ version, setup: SETUP })
    await using guarded = await Backup.prepare({ version, setup: SETUP })
    await guarded.init()
    await guarded.source.query('ANALYZE')
    for (const [command, prepare, each] of [
      ["COMMENT ON TABLE # IS 'c'", '', 1],
      ['ALTER TABLE # DETACH PARTITION #_7', '', 5],
      [
        'ALTER TABLE # ATTACH PARTITION #_7 FOR VALUES FROM (70) TO (80)',
        'ALTER TABLE # DETACH PARTITION #_7',
        10,
      ],
      ['ALTER TABLE # ADD COLUMN w int', '', 60],
      ['ALTER TABLE # DROP COLUMN v', '', 60],
      // Most of these the server reads to print the index's definition.
      ['CREATE INDEX #_v ON # (v)', '', 120],
      ['DROP INDEX #_v', 'CREATE INDEX #_v ON # (v)', 20],
    ] as const) {
      const of = (table: string): Promise<number> =>
        added(bare.source, guarded.source, command.replaceAll('#', table), prepare.replaceAll('#', table))
      const few = await of('few')
      const many = await of('many')
      expect((many - few) / (MANY - FEW), `${command}: ${few} rows and ${many}`).toBeLessThanOrEqual(each)
    }
  })
})

/** What two readings of the schema tell of what changed between them without a record: by who wrote the rows, and what was dropped. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { SchemaReader } from '../../services/engines/postgres/catalog/read-schema.ts'
import { PostgresSource } from '../../services/engines/postgres/source/postgres-source.ts'
import { SchemaReadings } from '../../services/engines/postgres/catalog/schema-reader.ts'
import type { ExpectedSource } from '../../services/core/ports/source-admin.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import { Backup, oneVersion } from '../support/backup.ts'
import { unseen } from '../support/unseen.ts'

const SETUP = `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE calm (id int PRIMARY KEY); CREATE VIEW shown AS SELECT id FROM t;
  CREATE SEQUENCE numbers; CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`
/** A reader that has read once, and the source's own session. */
async function withReader(
  version: string,
  action: (source: pg.Client, reader: SchemaReader, client: pg.Client, backup: Backup) => Promise<void>,
): Promise<void> {
  await using backup = await Backup.prepare({ version, setup: SETUP })
  await backup.init()
  const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
  try {
    const reader = new SchemaReader()
    await reader.read(client)
    await action(backup.source, reader, client, backup)
  } finally {
    await client.end()
  }
}

function sourceOf(backup: Backup): PostgresSource {
  return new PostgresSource(
    {
      url: backup.sourceUrl,
      names: { slot: backup.slot, publication: backup.slot },
      clock: systemClock,
      randomness: systemRandomness,
      largestRow: 1 << 20,
    },
    // Nothing is streamed.
    { origin: {}, timeline: 0 } as unknown as ExpectedSource,
  )
}

/** Does something right before the client's next question that matches. */
function before(client: pg.Client, question: RegExp, action: () => Promise<unknown>): void {
  const send = client.query.bind(client) as (...args: unknown[]) => unknown
  let isDone = false
  Object.assign(client, {
    query: async (...args: unknown[]) => {
      if (!isDone && question.test(String(args[0]))) {
        isDone = true
        await action()
      }
      return send(...args)
    },
  })
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('an object that goes away while it is printed, or comes behind the snapshot, went through nothing', async () => {
    await withReader(version, async (source, reader, client) => {
      await source.query(
        `CREATE FUNCTION brief() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW passing AS SELECT 1 AS n; CREATE SEQUENCE short`,
      )
      before(client, /pg_get_functiondef/, () =>
        source.query('DROP FUNCTION brief(); DROP VIEW passing; DROP SEQUENCE short'),
      )
      const disturbed = await reader.read(client, { rounds: 0 })
      expect(disturbed.unsettled).not.toEqual([])
      expect(disturbed.untold?.objects).toBeUndefined()
      // Read outside of the snapshot.
      before(client, /FROM tidemark.ddl d/, () =>
        source.query(`CREATE SEQUENCE late; CREATE FUNCTION late() RETURNS int LANGUAGE sql AS 'SELECT 1'`),
      )
      expect((await reader.read(client)).untold?.objects).toBeUndefined()
      await source.query('DROP SEQUENCE late; DROP FUNCTION late()')
      expect((await reader.read(client)).untold?.objects).toBeUndefined()
    })
  })

  test('a reading aside takes nothing from what the next one tells', async () => {
    await using backup = await Backup.prepare({ version, setup: SETUP })
    await backup.init()
    const readings = new SchemaReadings({
      connect: () => connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' }),
      clock: systemClock,
    })
    const { reading } = await readings.whole()
    const [at] = (await backup.source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l'))
      .rows
    await unseen(backup.source, ['ALTER SEQUENCE numbers INCREMENT 7'])
    expect((await readings.now()).untold?.objects).toEqual(['sequence public.numbers'])
    const { untold } = (await readings.since(reading))!
    expect(untold?.objects).toEqual(['sequence public.numbers'])
    expect(comparePositions(parsePosition(untold!.from), parsePosition(at!.l))).toBeLessThanOrEqual(0)
  })

  test('records that no reading has been compared with are kept, however durable they are', async () => {
    await using backup = await Backup.prepare({ version, setup: SETUP })
    await backup.init()
    const source = sourceOf(backup)
    try {
      const read = await source.schema()
      await backup.source.query('ALTER TABLE t ADD COLUMN w int; CREATE INDEX t_v ON t (v)')
      const records = async (): Promise<number> =>
        (await backup.source.query(`SELECT FROM tidemark.ddl WHERE command <> 'INIT'`)).rowCount ?? 0
      const before = await records()
      const far = parsePosition('FFFFFFFF/0')
      // A horizon is taken, and passed.
      await source.forgetDdl(far, read.snapshot)
      await source.forgetDdl(far, read.snapshot)
      expect(await records()).toBe(before)
      const next = (await source.schemaSince(read.reading!))!
      expect(next.untold).toBeUndefined()
      await source.forgetDdl(far, next.snapshot)
      await source.forgetDdl(far, next.snapshot)
      expect(await records()).toBeLessThan(before)
    } finally {
      await source.close()
    }
  })

  test('REASSIGN OWNED, which fires no event trigger, is told beside commands that do', async () => {
    await withReader(version, async (source, reader, client) => {
      const role = `owner_${randomBytes(4).toString('hex')}`
      const objects = ['FUNCTION one()', 'SEQUENCE numbers', 'TABLE calm', 'TABLE t', 'VIEW shown']
      const give = objects.map((object) => `ALTER ${object} OWNER TO ${role}`).join('; ')
      await source.query(`CREATE ROLE ${role}; GRANT ALL ON SCHEMA public TO ${role}`)
      try {
        // Roles, those of other tests too, are told by no record.
        const untold = async (): Promise<readonly string[]> =>
          ((await reader.read(client)).untold?.objects ?? [])
            .filter((object) => !object.startsWith('role'))
            .toSorted()
        await source.query(`ALTER TABLE t ADD s serial; ${give}`)
        expect(await untold()).toEqual([])
        await source.query(
          `BEGIN; ALTER TABLE t ADD w int; CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'; REASSIGN OWNED BY ${role} TO CURRENT_USER; ALTER SEQUENCE numbers INCREMENT 7; COMMIT`,
        )
        expect(await untold()).toEqual([
          'function public.one',
          'table public.calm',
          'table public.t',
          'view public.shown',
        ])
      } finally {
        await source.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
      }
    })
  })

  test('a part of a table that went without a record is told, whoever wrote other rows of the table with one', async () => {
    await withReader(version, async (source, reader, client) => {
      await source.query(
        'ALTER TABLE t ADD CONSTRAINT low CHECK (id < 1000); CREATE INDEX t_v ON t (v); CREATE POLICY own ON t USING (true)',
      )
      expect((await reader.read(client)).untold?.objects ?? []).toEqual([])
      // Neither writes a row of the table that stays.
      await unseen(source, ['DROP INDEX t_v', 'DROP POLICY own ON t'])
      await source.query('GRANT SELECT (id) ON t TO PUBLIC')
      expect((await reader.read(client)).untold?.objects.toSorted()).toEqual([
        'index public.t.t_v',
        'policy public.t.own',
      ])
      // Made with a record since the reading before.
      await source.query(
        'CREATE TABLE made (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE INDEX made_v ON made (v)',
      )
      await unseen(source, ['ALTER TABLE made DROP CONSTRAINT made_pkey'])
      await source.query('GRANT SELECT (id) ON made TO PUBLIC')
      expect((await reader.read(client)).untold?.objects).toContain('constraint public.made.made_pkey')
      await source.query(
        `CREATE INDEX t_v ON t (v); CREATE POLICY own ON t USING (true);
         CREATE TRIGGER kept BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
      )
      await reader.read(client)
      await source.query(
        `ALTER TABLE t RENAME CONSTRAINT low TO lower; ALTER INDEX t_v RENAME TO t_w; ALTER POLICY own ON t RENAME TO owned; ALTER TRIGGER kept ON t RENAME TO keeps; ALTER TABLE t RENAME TO u; GRANT SELECT (id) ON u TO PUBLIC`,
      )
      expect((await reader.read(client)).untold?.objects ?? []).toEqual([])
      await source.query(
        `ALTER TABLE u DROP CONSTRAINT lower; DROP INDEX t_w; DROP POLICY owned ON u; DROP TRIGGER keeps ON u; ALTER TABLE u DROP CONSTRAINT t_pkey; REVOKE SELECT (id) ON u FROM PUBLIC`,
      )
      expect((await reader.read(client)).untold?.objects ?? []).toEqual([])
      // A record that comes behind the reading says what it has not.
      await source.query(`COMMENT ON TABLE u IS 'changed'`)
      before(client, /FROM tidemark.ddl d/, () => source.query('CREATE INDEX u_late ON u (id, v)'))
      expect((await reader.read(client)).untold?.objects ?? []).toEqual([])
    })
  })

  test('a drop without a record is told, though an earlier change of the object has its own', async () => {
    await withReader(version, async (source, reader, client) => {
      await source.query('ALTER SEQUENCE numbers INCREMENT 7; ALTER VIEW shown RENAME TO shown_else')
      await unseen(source, ['DROP SEQUENCE numbers', 'DROP VIEW shown_else'])
      const { untold } = await reader.read(client)
      expect(untold?.objects).toContain('sequence public.numbers')
      expect(untold?.objects.join()).toContain('view public.shown')
      await source.query(
        'CREATE SEQUENCE others; DROP SEQUENCE others; DROP FUNCTION one; DROP TABLE t CASCADE',
      )
      expect((await reader.read(client)).untold?.objects).toBeUndefined()
    })
  })

  test('an identity that Tidemark gives inside of a recorded command is told by that', async () => {
    await withReader(version, async (source, reader, client) => {
      for (const sql of [
        'CREATE TABLE lg (a int)',
        'BEGIN; ALTER TABLE lg RENAME TO lg_old; CREATE TABLE lg (a int); COMMIT',
        'BEGIN; SAVEPOINT one; CREATE TABLE deep (a int); SAVEPOINT two; ALTER TABLE deep ADD b int; COMMIT',
        'CREATE TABLE keyed (a int PRIMARY KEY)',
        'ALTER TABLE keyed DROP CONSTRAINT keyed_pkey',
        // Taken back.
        'ALTER TABLE keyed ADD PRIMARY KEY (a)',
        'ALTER TABLE deep ADD UNIQUE (a)',
      ]) {
        await source.query(sql)
        expect({ sql, untold: (await reader.read(client)).untold?.objects }).toEqual({
          sql,
          untold: undefined,
        })
      }
      // Right behind it, and what it names itself: still told.
      await source.query('CREATE TABLE hidden (a int)')
      await unseen(source, ['ALTER TABLE hidden ADD b int'])
      expect((await reader.read(client)).untold?.objects).toContain('table public.hidden')
      await source.query('ALTER TABLE hidden ADD c int')
      await unseen(source, [
        'ALTER TABLE hidden REPLICA IDENTITY NOTHING',
        'ALTER TABLE lg SET (fillfactor = 50)',
      ])
      expect((await reader.read(client)).untold?.objects).toContain('table public.lg')
    })
  })

  test('what no reading saw is told by its records, where they do not agree', async () => {
    await withReader(version, async (source, reader, client) => {
      await source.query(
        `CREATE FUNCTION gone(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE lost; CREATE TYPE mood AS ENUM ('a'); CREATE VIEW was AS SELECT 1 AS n`,
      )
      await unseen(source, [
        'DROP FUNCTION gone',
        'DROP SEQUENCE lost',
        'DROP TYPE mood',
        'ALTER VIEW was RENAME TO is_now',
      ])
      await source.query('DROP VIEW is_now')
      const { untold } = await reader.read(client)
      const told = untold?.objects.join() ?? ''
      for (const name of ['public.gone', 'public.lost', 'public.mood', 'view public.was', 'public.is_now'])
        expect(told).toContain(name)
      await source.query(
        `CREATE VIEW calmly AS SELECT 1 AS n; ALTER VIEW calmly RENAME TO calm_view; DROP VIEW calm_view; CREATE TABLE u (id serial, n int GENERATED ALWAYS AS IDENTITY);
         ALTER SEQUENCE u_n_seq RENAME TO u_seq; DROP TABLE u; CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION g; CREATE TYPE y AS (a int); DROP TYPE y; CREATE SEQUENCE q; DROP SEQUENCE q;
         CREATE SCHEMA s; CREATE VIEW s.v AS SELECT 1 AS n; CREATE MATERIALIZED VIEW s.m AS SELECT 1 AS n; CREATE PROCEDURE s.p() LANGUAGE sql AS ''; DROP SCHEMA s CASCADE`,
      )
      expect((await reader.read(client)).untold?.objects).toBeUndefined()
    })
  })

  test('a record that is written again tells no more than it did', async () => {
    await withReader(version, async (source, reader, client) => {
      await source.query(
        'CREATE TABLE list (id int, v text) PARTITION BY LIST (id); CREATE TABLE list_1 PARTITION OF list DEFAULT',
      )
      await unseen(source, ['SAVEPOINT s', `ALTER TABLE list ALTER v SET DEFAULT 'x'`, 'RELEASE s'])
      // Rows do not depend on that: noted in the records that are there, twice.
      await source.query('SELECT tidemark.repair()')
      await unseen(source, ['ALTER TABLE list ALTER v SET STATISTICS 9'])
      await source.query('SELECT tidemark.repair()')
      const told = (await reader.read(client)).untold?.objects.toSorted()
      expect(told).toEqual(['table public.list', 'table public.list_1'])
      await source.query('BEGIN; SAVEPOINT s; ALTER TABLE list ADD n int; RELEASE s; COMMIT')
      expect((await reader.read(client)).untold?.objects).toBeUndefined()
    })
  })

  test('a key that went without a record is told, though Tidemark gives the table another identity then', async () => {
    await withReader(version, async (source, reader, client) => {
      await source.query('ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey')
      await reader.read(client)
      await unseen(source, ['SAVEPOINT s', 'ALTER TABLE t DROP CONSTRAINT t_pkey', 'RELEASE s'])
      await source.query(`SELECT tidemark.tend_identity('t'::regclass); SELECT tidemark.repair()`)
      const records = await source.query(
        `SELECT FROM tidemark.ddl WHERE oid = 't'::regclass AND command IN ('REPAIR', 'IDENTITY')`,
      )
      expect(records.rowCount).toBeGreaterThan(0)
      expect((await reader.read(client)).untold?.objects.join()).toContain('constraint public.t.t_pkey')
    })
  })

  test('a change of a subtransaction that was under way at the reading before is told', async () => {
    await withReader(version, async (source, reader, client, backup) => {
      const other = await backup.client()
      const calm = await reader.read(client)
      await other.query('BEGIN; ALTER EVENT TRIGGER tidemark_ddl DISABLE; SAVEPOINT s')
      await other.query(`CREATE TYPE mood AS ENUM ('a'); ALTER TABLE t RENAME TO was_t; RELEASE s`)
      await other.query('ALTER EVENT TRIGGER tidemark_ddl ENABLE ALWAYS')
      // A transaction behind it ends: the snapshot's end is behind the subtransaction.
      await source.query(`COMMENT ON TABLE calm IS 'recorded'`)
      const during = await reader.read(client)
      expect(during.untold).toBeUndefined()
      await other.query('COMMIT')
      // Names both in a record of its own.
      await source.query('SELECT tidemark.repair()')
      const { untold } = await reader.read(client)
      expect(untold?.objects.join()).toContain('type public.mood')
      expect(untold?.objects.join()).toContain('table public.was_t')
      // A commit is in the WAL before a snapshot shows it: it may be older than the reading that it ran beside.
      expect(comparePositions(parsePosition(untold!.from), parsePosition(calm.head))).toBe(0)
    })
  })
})

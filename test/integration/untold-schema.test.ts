/**
 * Schema objects that change without a record of it: event triggers are off, or there are none for the object. Each has to
 * be found within seconds, come back right from then on and at points before, and be said for the points between.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { SchemaReader } from '../../services/engines/postgres/catalog/read-schema.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { SchemaReadings } from '../../services/engines/postgres/catalog/schema-reader.ts'
import type { RestoreReport } from '../../services/app/operations/restore.ts'
import { systemClock } from '../../services/core/clock.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import type { ReadingEntry } from '../../services/formats/schema-change.ts'
import { UntoldChanges } from '../../services/history/untold-changes.ts'
import { Backup, oneVersion, serverUrl, testedVersions } from '../support/backup.ts'

const SETUP = `CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'a'); INSERT INTO t VALUES (1, 'x'); CREATE TABLE calm (id int PRIMARY KEY);
  CREATE POLICY kept ON t USING (true); CREATE POLICY gone ON t USING (id = 1); CREATE VIEW shown AS SELECT id FROM t; CREATE SEQUENCE numbers;
  CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE INDEX t_old ON t (v); ALTER TABLE t CLUSTER ON t_pkey; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS n`

/** Each kind of object: what is done to it unseen, and a question whose answer is another one then. */
const CHANGES: readonly (readonly [string, string, string])[] = [
  ['REVOKE', 'REVOKE SELECT ON t FROM ROLE_A', `has_table_privilege('ROLE_A', 't', 'SELECT')::text`],
  [
    'GRANT of a column',
    'GRANT UPDATE (v) ON t TO ROLE_A',
    `has_column_privilege('ROLE_A', 't', 'v', 'UPDATE')::text`,
  ],
  [
    'policy made',
    'CREATE POLICY made ON t USING (false)',
    `(SELECT string_agg(polname, ' ' ORDER BY 1) FROM pg_policy WHERE polname IN ('kept', 'made'))`,
  ],
  [
    'policy dropped',
    'DROP POLICY gone ON t',
    `(SELECT count(*) FROM pg_policy WHERE polname = 'gone')::text`,
  ],
  [
    'ENABLE RLS',
    'ALTER TABLE t ENABLE ROW LEVEL SECURITY',
    `(SELECT relrowsecurity FROM pg_class WHERE relname = 't')::text`,
  ],
  [
    'FORCE RLS',
    'ALTER TABLE t FORCE ROW LEVEL SECURITY',
    `(SELECT relforcerowsecurity FROM pg_class WHERE relname = 't')::text`,
  ],
  [
    'view',
    'CREATE OR REPLACE VIEW shown AS SELECT id FROM t WHERE id > 5',
    `pg_get_viewdef('shown'::regclass)`,
  ],
  ['function', `CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'`, 'one()::text'],
  [
    'sequence',
    'ALTER SEQUENCE numbers INCREMENT 7',
    `(SELECT seqincrement FROM pg_sequence WHERE seqrelid = 'numbers'::regclass)::text`,
  ],
  ['index made', 'CREATE INDEX t_new ON t (id, v)', `to_regclass('t_new')::text`],
  ['index dropped', 'DROP INDEX t_old', `to_regclass('t_old')::text`],
  [
    'check',
    'ALTER TABLE t ADD CONSTRAINT low CHECK (id < 1000)',
    `(SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'low')`,
  ],
  [
    'default',
    `ALTER TABLE t ALTER v SET DEFAULT 'b'`,
    `(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 't'::regclass)`,
  ],
  [
    'trigger',
    'CREATE TRIGGER quiet BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
    `(SELECT count(*) FROM pg_trigger WHERE tgname = 'quiet')::text`,
  ],
  ['comment', `COMMENT ON TABLE t IS 'said'`, `obj_description('t'::regclass)`],
  ['comment on a column', `COMMENT ON COLUMN t.v IS 'said too'`, `col_description('t'::regclass, 2)`],
  [
    'schema',
    'GRANT USAGE ON SCHEMA public TO ROLE_A; CREATE SCHEMA unseen',
    `to_regnamespace('unseen')::text`,
  ],
  ['domain', `CREATE DOMAIN small AS int CHECK (VALUE < 9)`, `to_regtype('small')::text`],
  [
    'statistics',
    'CREATE STATISTICS pairs ON id, v FROM t',
    `(SELECT count(*) FROM pg_statistic_ext WHERE stxname = 'pairs')::text`,
  ],
  [
    'default privileges',
    'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ROLE_A',
    `(SELECT count(*) FROM pg_default_acl WHERE defaclobjtype = 'r')::text`,
  ],
  [
    'cast',
    'CREATE CAST (text AS int4range) WITH INOUT',
    `(SELECT count(*) FROM pg_cast WHERE castsource = 'text'::regtype AND casttarget = 'int4range'::regtype)::text`,
  ],
]

/** What no restore has to tell: nothing of the schema changes, or a record says so. */
const CALM: readonly string[] = [
  'VACUUM t',
  'VACUUM FREEZE',
  'ANALYZE',
  'VACUUM FULL',
  'TRUNCATE calm',
  'CLUSTER t USING t_pkey',
  'REINDEX TABLE t',
  'REFRESH MATERIALIZED VIEW kept',
  'CREATE TEMP TABLE passing (id serial PRIMARY KEY, v text); CREATE TEMP VIEW over AS SELECT * FROM passing',
  "SELECT nextval('numbers'); SELECT setval('numbers', 50); UPDATE t SET v = v",
]
/** Recorded, each in its own way: by its object, by what it took away, and by what names no object. */
const RECORDED: readonly string[] = [
  'CREATE TABLE told (id int PRIMARY KEY, v text CHECK (v <> $$a$$))',
  'CREATE INDEX told_v ON told (v)',
  'CREATE POLICY p ON told USING (true)',
  'CREATE VIEW over_told AS SELECT v FROM told',
  'ALTER TABLE told RENAME TO told_else; ALTER TABLE told_else RENAME COLUMN v TO w',
  'GRANT SELECT ON told_else TO PUBLIC; REVOKE SELECT ON told_else FROM PUBLIC',
  'DROP POLICY p ON told_else',
  'DROP INDEX told_v',
  'CREATE EXTENSION IF NOT EXISTS plpgsql; CREATE CAST (text AS numrange) WITH INOUT',
  'DROP CAST (text AS numrange)',
  'COMMENT ON VIEW over_told IS $$said$$; COMMENT ON VIEW over_told IS NULL',
  'CREATE FUNCTION told(a int) RETURNS int LANGUAGE sql AS $$SELECT 1$$; DROP FUNCTION told',
  'ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO PUBLIC',
  'ALTER DEFAULT PRIVILEGES REVOKE SELECT ON SEQUENCES FROM PUBLIC',
  'CREATE SCHEMA brief; CREATE TABLE brief.b (id int); DROP SCHEMA brief CASCADE',
  'CREATE PUBLICATION others FOR TABLE told_else; DROP PUBLICATION others',
  'DROP TABLE told_else CASCADE',
]

async function answers(url: string, questions: readonly string[]): Promise<unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const { rows } = await client.query<{ a: unknown[] }>(
      `SELECT jsonb_build_array(${questions.join(', ')}) AS a`,
    )
    return rows[0]!.a
  } finally {
    await client.end()
  }
}

async function withRole(version: string, action: (role: string) => Promise<void>): Promise<void> {
  const admin = new pg.Client(serverUrl(version))
  await admin.connect()
  const role = `unseen_${randomBytes(4).toString('hex')}`
  await admin.query(`CREATE ROLE ${role}`)
  try {
    await action(role)
  } finally {
    await admin.query(`DROP ROLE ${role}`)
    await admin.end()
  }
}

/** Ours are ENABLE ALWAYS: before 17 nothing but this turns them off. */
async function unseen(client: pg.Client, sql: readonly string[]): Promise<void> {
  const triggers = ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']
  for (const name of triggers) await client.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
  for (const one of sql) await client.query(one)
  for (const name of triggers) await client.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
}

/** Returns the position right behind it, LSN as text. */
async function unseenAtOnce(client: pg.Client, sql: readonly string[]): Promise<string> {
  const triggers = ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']
  const commands = [
    'BEGIN',
    ...triggers.map((name) => `ALTER EVENT TRIGGER ${name} DISABLE`),
    ...sql,
    ...triggers.map((name) => `ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`),
    'COMMIT',
    'SELECT pg_current_wal_insert_lsn()::text AS l',
  ]
  const answers = (await client.query(commands.join('; '))) as unknown as readonly pg.QueryResult<{
    l: string
  }>[]
  return answers.at(-1)!.rows[0]!.l
}

const untoldOf = (backup: Backup): readonly { readonly from: string; readonly to: string }[] =>
  backup.repository.catalog.generation!.schemas.flatMap(({ body }) => body.untold ?? [])
const saidOf = (report: RestoreReport): string[] =>
  report.result!.notes.filter((note) => note.startsWith('definitions may be'))

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('each kind of change is found and told, and what changes nothing is not', {
    timeout: 300_000,
  }, async () => {
    await withRole(version, async (role) => {
      await using backup = await Backup.prepare({ version, setup: `${SETUP}; GRANT SELECT ON t TO ${role}` })
      await backup.init()
      const { source } = backup
      const readings = new SchemaReadings({
        connect: () => connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' }),
        clock: systemClock,
      })
      let { reading } = await readings.whole()
      const next = async (): Promise<readonly string[]> => {
        const change = (await readings.since(reading))!
        ;({ reading } = change)
        return change.untold?.objects ?? []
      }
      // Roles and databases that other tests make on this server are in the digest too: then a reading finds nothing.
      const isOldByItself = async (): Promise<boolean> => {
        for (let left = 10; left > 0; left--) {
          if (!(await readings.isOld(source))) return false
          const found = await next()
          if (found.length > 0) return true
        }
        return true
      }
      for (const sql of CALM) {
        for (const one of sql.split('; ')) await source.query(one)
        expect(await next(), sql).toEqual([])
      }
      // These do not even cost a reading.
      for (const sql of [
        'VACUUM FREEZE t',
        'ANALYZE',
        'TRUNCATE calm',
        'REFRESH MATERIALIZED VIEW kept',
        'DROP TABLE IF EXISTS pg_temp.other; CREATE TEMP TABLE other (id serial)',
      ]) {
        let isOld = true
        for (let left = 10; isOld && left > 0; left--) {
          await source.query(sql)
          isOld = await isOldByItself()
        }
        expect(isOld, sql).toBe(false)
      }
      for (const sql of RECORDED) {
        // A subtransaction writes the rows, and another one the record.
        await source.query(`BEGIN; SAVEPOINT s; ${sql}; RELEASE s; COMMIT`)
        expect(await next(), sql).toEqual([])
      }
      for (const [name, sql] of CHANGES) {
        await unseen(source, [sql.replaceAll('ROLE_A', role)])
        expect(await readings.isOld(source), name).toBe(true)
        // Another object's record explains nothing.
        await source.query(`COMMENT ON TABLE calm IS '${name}'`)
        expect(await next(), name).not.toEqual([])
        expect(await isOldByItself(), name).toBe(false)
      }
      // Made since the reading before, and renamed unseen: under both names, the restore knows the one of the record.
      await source.query('CREATE SEQUENCE made')
      await unseen(source, ['ALTER SEQUENCE made RENAME TO called'])
      expect(await next()).toEqual(['sequence public.called', 'sequence public.made'])
      // No event trigger sees these.
      await source.query(`ALTER ROLE ${role} SET work_mem = '8MB'`)
      expect(await readings.isOld(source)).toBe(true)
      await source.query(`ALTER ROLE ${role} RESET work_mem`)
    })
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a change that comes while it is printed is told by the next reading', async () => {
    await withRole(version, async (role) => {
      await using backup = await Backup.prepare({ version, setup: `${SETUP}; GRANT SELECT ON t TO ${role}` })
      await backup.init()
      const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
      // Behind the snapshot, and before anything is printed.
      const send = client.query.bind(client) as (...args: unknown[]) => unknown
      let change: (() => Promise<unknown>) | undefined
      Object.assign(client, {
        query: async (...args: unknown[]) => {
          const answer = await send(...args)
          if (change === undefined || !/pg_current_snapshot/.test(String(args[0]))) return answer
          const action = change
          change = undefined
          await action()
          return answer
        },
      })
      try {
        const reader = new SchemaReader()
        await reader.read(client)
        // So that it is printed again: the text comes from behind the snapshot.
        await backup.source.query(`COMMENT ON FUNCTION one() IS 'recorded'`)
        change = () =>
          unseenAtOnce(
            backup.source,
            CHANGES.map(([, sql]) => sql.replaceAll('ROLE_A', role)),
          )
        const torn = await reader.read(client, { rounds: 0 })
        expect(torn.unsettled).not.toEqual([])
        const next = await reader.read(client)
        const told = [...(torn.untold?.objects ?? []), ...(next.untold?.objects ?? [])].join()
        for (const object of [
          'policy public.t.made',
          'function public.one',
          'constraint public.t.low',
          'statistics public.pairs',
        ])
          expect(told).toContain(object)
        // What the torn one tells by itself is another matter; where both begin hangs on other tests' open transactions.
        const entries = [{ ...torn, untold: undefined }, next].map(
          (body) => ({ body }) as unknown as ReadingEntry,
        )
        const before = parsePosition(next.untold!.from)
        expect(new UntoldChanges(entries, before).isBehindPoint(entries[0]!, true)).toBe(true)
        expect(new UntoldChanges(entries, before).isBehindPoint(entries[0]!, false)).toBe(false)
      } finally {
        await client.end()
      }
    })
  })

  test('it comes back right before and behind, and a restore between says that it may be older', async () => {
    await withRole(version, async (role) => {
      await using backup = await Backup.start({ version, setup: `${SETUP}; GRANT SELECT ON t TO ${role}` })
      const { source } = backup
      const questions = CHANGES.map(([, , ask]) => ask.replaceAll('ROLE_A', role))
      const move = async (): Promise<string> => {
        await source.query("UPDATE t SET v = v || 'y'")
        return (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!.l
      }
      await backup.durable()
      const before = await answers(backup.sourceUrl, questions)
      const at = await move()
      await backup.until(async () => {
        await move()
        return comparePositions(backup.repository.catalog.generation!.checked, parsePosition(at)) >= 0
      })
      // At once: a reading that other tests' roles bring about has all of it or nothing.
      const between = await unseenAtOnce(
        source,
        CHANGES.map(([, sql]) => sql.replaceAll('ROLE_A', role)),
      )
      await source.query(`COMMENT ON TABLE calm IS 'read again'`)
      await backup.until(async () => {
        await move()
        const { body } = backup.repository.catalog.generation!.schemas.at(-1)!
        return (
          untoldOf(backup).length > 0 &&
          comparePositions(parsePosition(body.head!), parsePosition(between)) >= 0
        )
      })
      const behind = await move()
      const after = await answers(backup.sourceUrl, questions)
      await backup.durable()
      const first = await backup.restore(at)
      expect(await answers(first.url, questions)).toEqual(before)
      expect(first.plan.uncompared).toBeNull()
      // A role of another test may have brought a reading about just then: the change is known since an earlier look.
      const isSure = backup.repository.catalog.generation!.schemas.every(
        ({ body: { untold } }) =>
          untold === undefined || comparePositions(parsePosition(untold.from), parsePosition(at)) >= 0,
      )
      expect(saidOf(first).length === 0).toBe(isSure)
      const last = await backup.restore(behind)
      expect(await answers(last.url, questions)).toEqual(after)
      expect(saidOf(last)).toEqual([])
      const said = saidOf(await backup.restore(between))
      expect(said.length).toBeGreaterThan(0)
      expect(said.join()).toContain('policy public.t.made')
    })
  })
})

/** What came after the last reading of the schema and no record makes again is told as not made; an extension is made itself. */
import { rm } from 'node:fs/promises'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, testedVersions } from '../support/backup.ts'

const EXTENSION = 'CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext'
const UNTOLD: readonly string[] = [
  'CREATE AGGREGATE public.total (int) (SFUNC = int4pl, STYPE = int)',
  'CREATE TEXT SEARCH CONFIGURATION public.plain (COPY = simple)',
  `CREATE COLLATION public.bytes (LOCALE = 'C')`,
  'CREATE CAST (public.pair AS public.other) WITH INOUT',
]
/** Each is made from its record, or leaves nothing out. */
const TOLD: readonly string[] = [
  'ALTER VIEW public.seen RENAME COLUMN id TO number',
  'CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
  'REFRESH MATERIALIZED VIEW public.counted',
  'DROP AGGREGATE public.gone(int)',
]
const SETUP = `CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW seen AS SELECT id FROM t;
  CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM t; CREATE AGGREGATE gone (int) (SFUNC = int4pl, STYPE = int);
  CREATE TYPE pair AS (a int); CREATE TYPE other AS (a int)`

/** In one go with a change of the schema behind it: what is read then knows more than the point. */
async function pointBehind(backup: Backup, commands: readonly string[]): Promise<string> {
  const done = await backup.source.query(
    `BEGIN; ${commands.join('; ')}; CREATE TEMPORARY TABLE told AS SELECT pg_current_xact_id()::text AS xid; COMMIT; CREATE TABLE behind (); SELECT xid FROM told; DROP TABLE told, behind`,
  )
  const results = done as unknown as readonly pg.QueryResult<{ xid: string }>[]
  await backup.durable()
  return `xid:${results.find(({ rows }) => rows.length > 0)!.rows[0]!.xid}`
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('each that is left out is told as not made, and nothing else', { timeout: 180_000 }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.durable()
    const told = await backup.restore(await pointBehind(backup, TOLD))
    expect(told.result!.unmade).toEqual([])
    const at = await pointBehind(backup, UNTOLD)
    const untold = await backup.restore(at)
    await rm(untold.unmadeFile!)
    expect(untold.result!.unmade.map(({ object }) => object).sort()).toEqual([
      'aggregate public.total(integer)',
      'cast (public.pair AS public.other)',
      'collation public.bytes',
      'text search configuration public.plain',
    ])
    await expect(backup.restore(at, { strict: true })).rejects.toMatchObject({ code: 'TARGET_FAILED' })
    expect((await backup.restore()).result!.unmade).toEqual([])
  })

  test('a materialized view has rows or none, as it had at the point', { timeout: 180_000 }, async () => {
    await using backup = await Backup.start({
      version,
      setup: `${SETUP}; CREATE MATERIALIZED VIEW filled AS SELECT id FROM t; CREATE MATERIALIZED VIEW empty AS SELECT id FROM t WITH NO DATA`,
    })
    await backup.durable()
    const filledAt = async (...commands: readonly string[]): Promise<string> => {
      const { url, result } = await backup.restore(await pointBehind(backup, commands))
      expect(result!.unmade).toEqual([])
      expect(result!.notes.filter((note) => note.includes('by hand'))).toEqual([])
      const target = new pg.Client(url)
      await target.connect()
      const { rows } = await target.query<{ filled: string }>(
        `SELECT string_agg(relname, ' ' ORDER BY relname) AS filled FROM pg_class WHERE relkind = 'm' AND relispopulated`,
      )
      await target.end()
      return rows[0]!.filled
    }
    expect(
      await filledAt('REFRESH MATERIALIZED VIEW filled WITH NO DATA', 'REFRESH MATERIALIZED VIEW empty'),
    ).toBe('counted empty')
    expect(
      await filledAt(
        'CREATE MATERIALIZED VIEW later AS SELECT 1 AS n WITH NO DATA',
        'CREATE MATERIALIZED VIEW latest AS SELECT 1 AS n WITH NO DATA',
        'REFRESH MATERIALIZED VIEW latest',
        'REFRESH MATERIALIZED VIEW empty WITH NO DATA',
      ),
    ).toBe('counted latest')
  })

  test('an extension comes with its members, and without copies of them', { timeout: 180_000 }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.durable()
    const restored = await backup.restore(await pointBehind(backup, [EXTENSION]))
    expect(restored.result!.unmade).toEqual([])
    const target = new pg.Client(restored.url)
    await target.connect()
    try {
      const { rows } = await target.query(
        `SELECT e.extname AS name, e.extnamespace::regnamespace::text AS schema FROM pg_extension e WHERE e.extname <> 'plpgsql'`,
      )
      expect(rows).toEqual([{ name: 'hstore', schema: 'ext' }])
      const loose = await target.query(
        `SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'c'
          WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')`,
      )
      expect(loose.rows).toEqual([])
    } finally {
      await target.end()
    }
    await backup.source.query('DROP EXTENSION hstore')
    await backup.durable()
    expect((await backup.restore()).result!.unmade).toEqual([])
  })
})

/** What `init` puts into a source: whose rights it runs with, and how an older version of it is replaced. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { INSTALLED_VERSION } from '../../services/adapters/postgres/upgrade.ts'
import { doctor } from '../../services/app/doctor.ts'
import { upgradeSource } from '../../services/app/init.ts'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'
import { installVersion1 } from '../support/installed.ts'

/** A session of a role that may create in one schema, whose temporary views stand for relations of the catalog. */
async function intruder(
  backup: Backup,
  stands: (name: string) => boolean,
): Promise<{ role: string; client: pg.Client }> {
  const role = `r_${backup.database}`
  await backup.source.query(`CREATE ROLE ${role} LOGIN; GRANT ALL ON SCHEMA public TO ${role}`)
  const url = new URL(backup.sourceUrl)
  url.username = role
  const client = new pg.Client(url.toString())
  client.on('error', () => undefined)
  await client.connect()
  await client.query(
    `CREATE FUNCTION public.gain() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
       IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) THEN EXECUTE 'ALTER ROLE ${role} SUPERUSER'; END IF; RETURN true; END $$`,
  )
  const catalog = await client.query<{ name: string; columns: string }>(
    `SELECT c.relname AS name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
      WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege(c.oid, 'SELECT') GROUP BY 1 HAVING NOT bool_or(a.atttypid = 'anyarray'::regtype) ORDER BY 1`,
  )
  for (const { name, columns } of catalog.rows.filter((row) => stands(row.name)))
    await client.query(
      `CREATE TEMP VIEW ${name} AS SELECT ${columns} FROM pg_catalog.${name} WHERE public.gain()`,
    )
  return { role, client }
}

async function isSuperuser(backup: Backup, role: string): Promise<boolean> {
  const found = await backup.source.query<{ super: boolean }>(
    'SELECT rolsuper AS super FROM pg_roles WHERE rolname = $1',
    [role],
  )
  return found.rows[0]!.super
}

const EVERY_TRIGGER = [
  'CREATE TABLE public.trap (id int PRIMARY KEY, v int)',
  'CREATE TABLE public.bare (v int)',
  'ALTER TABLE public.trap ALTER v TYPE text',
  'ALTER TABLE public.trap DROP COLUMN v',
  "CREATE TYPE public.kind AS ENUM ('a')",
  "ALTER TYPE public.kind RENAME VALUE 'a' TO 'b'",
  'CREATE SEQUENCE public.numbers',
  'CREATE VIEW public.shown AS SELECT * FROM public.trap',
  'DROP TABLE public.trap CASCADE',
]

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('every installed function pins its search path, with temporary objects last', async () => {
    await using backup = await Backup.prepare({ version })
    await backup.init()
    const loose = await backup.source.query<{ name: string }>(
      `SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.pronamespace = 'tidemark'::regnamespace AND NOT (COALESCE(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'])`,
    )
    expect(loose.rows).toEqual([])
  })

  test('version 1 lets a role become superuser: it is refused by name, and not so any more after the upgrade', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: 'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, $$a$$)',
    })
    await backup.init()
    await installVersion1(backup)
    const { role, client } = await intruder(backup, (name) => name === 'pg_namespace')
    try {
      await client.query('CREATE TABLE public.first (id int)')
      // The oracle itself: without this the test would prove nothing.
      expect(await isSuperuser(backup, role)).toBe(true)
      await backup.source.query(`ALTER ROLE ${role} NOSUPERUSER`)
      // Records in the form of version 1 lie in the stream.
      await backup.source.query(
        `ALTER TABLE t ADD COLUMN w int DEFAULT 7; INSERT INTO t VALUES (2, 'b', 8); CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE moods (m mood); INSERT INTO moods VALUES ('sad')`,
      )
      await expect(backup.up()).rejects.toMatchObject({
        code: 'INSTALLATION_OLD',
        next: expect.stringContaining('init --upgrade') as string,
      })
      // And nothing beside it: another finding's fix would cost the slot, and with it what it has kept.
      expect(
        (await doctor(backup.config)).findings.filter((f) => f.level === 'refuse').map((f) => f.code),
      ).toEqual(['INSTALLATION_OLD'])
      expect(await upgradeSource(backup.sourceUrl)).toBe(1)
      for (const sql of EVERY_TRIGGER) await client.query(sql)
      expect(await isSuperuser(backup, role)).toBe(false)
      await client.end()
      await backup.up()
      await backup.source.query(
        `ALTER TABLE t DROP COLUMN v, ADD COLUMN x text DEFAULT 'x'; UPDATE t SET w = 9 WHERE id = 1`,
      )
      await backup.durable()
      const restored = await backup.restore('latest')
      expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
      // Again: nothing changes, and nothing fails.
      expect(await upgradeSource(backup.sourceUrl)).toBeGreaterThan(1)
    } finally {
      await client.end()
      await backup.source.query(`ALTER ROLE ${role} NOSUPERUSER; DROP OWNED BY ${role} CASCADE`)
    }
  })

  test('two upgrades at once: the second one finds what the first one left', async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
    await backup.init()
    await installVersion1(backup)
    const { source } = backup
    await source.query('BEGIN; LOCK TABLE tidemark.installation IN ROW EXCLUSIVE MODE')
    const both = Promise.all([upgradeSource(backup.sourceUrl), upgradeSource(backup.sourceUrl)])
    await expect
      .poll(
        async () =>
          (
            await source.query(
              `SELECT FROM pg_locks WHERE relation = 'tidemark.installation'::regclass AND NOT granted`,
            )
          ).rowCount,
        { timeout: 20_000 },
      )
      .toBe(2)
    await source.query('COMMIT')
    expect((await both).sort()).toEqual([1, INSTALLED_VERSION])
  })

  test('no temporary object, whatever its name, runs as the administrator', async () => {
    await using backup = await Backup.prepare({ version })
    await backup.init()
    // Where a view stands for a class that objects are told by, the functions take another way.
    const byClass = /^pg_(class|type|trigger|policy|constraint|rewrite)$/
    for (const stands of [() => true, (name: string) => !byClass.test(name)]) {
      const { role, client } = await intruder(backup, stands)
      try {
        for (const sql of EVERY_TRIGGER) await client.query(sql)
        expect(await isSuperuser(backup, role)).toBe(false)
      } finally {
        await client.end()
        await backup.source.query(
          `ALTER ROLE ${role} NOSUPERUSER; DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`,
        )
      }
    }
  })
})

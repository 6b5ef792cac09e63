/** What `init` puts into a source: whose rights it runs with, and how an older version of it is replaced. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { INSTALLED_VERSION } from '../../services/engines/postgres/admin/upgrade.ts'
import { doctor } from '../../services/app/operations/doctor.ts'
import { upgradeSource } from '../../services/app/operations/upgrade-source.ts'
import { Backup, digests, shown, testedVersions, oneVersion } from '../support/backup.ts'
import { installVersion } from '../support/installed.ts'

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

async function upgrade(backup: Backup): Promise<number> {
  return (await upgradeSource({ url: backup.sourceUrl })).from
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
    await installVersion(backup, 1)
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
      expect(await upgrade(backup)).toBe(1)
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
      expect(await upgrade(backup)).toBeGreaterThan(1)
    } finally {
      await client.end()
      await backup.source.query(`ALTER ROLE ${role} NOSUPERUSER; DROP OWNED BY ${role} CASCADE`)
    }
  })

  test('an upgrade of version 3: every function is the new one, and the application goes on', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'); CREATE TABLE bare (v int); INSERT INTO bare VALUES (1);
        CREATE TABLE g (id int PRIMARY KEY, v int, d int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO g VALUES (1, 1);
        CREATE TABLE p (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k); CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1, 1)`,
    })
    const { source } = backup
    await backup.init()
    await installVersion(backup, 3)
    await source.query('ALTER TABLE p ADD COLUMN w int DEFAULT 1; ALTER TABLE t ADD COLUMN w int')
    const records = async (): Promise<unknown[]> =>
      (await source.query('SELECT kind, command, facts FROM tidemark.ddl ORDER BY id, xid')).rows
    const before = await records()
    expect(await upgrade(backup)).toBe(3)
    // What an upgrade does to our own objects is no change of the application's schema, nor is what it does again.
    expect(await records()).toEqual(before)
    await upgrade(backup)
    expect(await records()).toEqual(before)
    const triggers = await source.query<{ name: string }>(
      `SELECT evtname AS name FROM pg_event_trigger WHERE evtname LIKE 'tidemark%' ORDER BY 1`,
    )
    expect(triggers.rows.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']),
    )
    const found = await source.query<{ version: number }>('SELECT tidemark.version() AS version')
    expect(found.rows[0]!.version).toBe(INSTALLED_VERSION)
    // What is recorded from here on is recorded by the new functions.
    await source.query(
      'ALTER TABLE p ADD COLUMN x text; UPDATE p SET x = $$x$$; ALTER TABLE t DROP COLUMN v; UPDATE bare SET v = 2; INSERT INTO t VALUES (2, 2)',
    )
  })

  test('an event trigger that is gone or disabled is made again by the upgrade that doctor names', async () => {
    await using backup = await Backup.prepare({ version })
    await backup.init()
    await backup.source.query('DROP EVENT TRIGGER tidemark_drop; ALTER EVENT TRIGGER tidemark_ddl DISABLE')
    const found = async (): Promise<string[]> =>
      (await doctor(backup.config)).findings.flatMap(({ code, fix }) =>
        code === 'EVENT_TRIGGERS' ? [fix] : [],
      )
    expect(await found()).toEqual([expect.stringMatching(/^tidemark init --upgrade /)])
    await upgrade(backup)
    expect(await found()).toEqual([])
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

test.each(oneVersion())(
  'two upgrades at once: the second one finds what the first one left (%s)',
  async (version) => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
    await backup.init()
    await installVersion(backup, 1)
    const { source } = backup
    await source.query('BEGIN; LOCK TABLE tidemark.installation IN ROW EXCLUSIVE MODE')
    const both = Promise.all([upgrade(backup), upgrade(backup)])
    await expect
      .poll(
        async () =>
          (
            await source.query(
              `SELECT FROM pg_locks WHERE relation = 'tidemark.installation'::regclass AND NOT granted`,
            )
          ).rowCount,
        { timeout: 60_000 },
      )
      .toBe(2)
    await source.query('COMMIT')
    expect((await both).sort()).toEqual([1, INSTALLED_VERSION])
  },
)

test.each(oneVersion())(
  'FULL that version 1 gave and did not note: taken back where its record proves it, else named (%s)',
  async (version) => {
    await using backup = await Backup.prepare({
      version,
      setup: 'CREATE TABLE own (id int PRIMARY KEY); ALTER TABLE own REPLICA IDENTITY FULL',
    })
    const { source } = backup
    const identity = async (table: string): Promise<string> =>
      (
        await source.query<{ i: string }>('SELECT relreplident AS i FROM pg_class WHERE oid = $1::regclass', [
          table,
        ])
      ).rows[0]!.i
    await backup.init()
    await installVersion(backup, 1)
    await source.query('CREATE TABLE made (id int NOT NULL, v text); INSERT INTO made VALUES (1, $$a$$)')
    await source.query('ALTER TABLE made ADD PRIMARY KEY (id)')
    expect(await identity('made')).toBe('f')
    await upgrade(backup)
    const found = (await doctor(backup.config)).findings
    expect(found.filter((f) => f.code === 'IDENTITY_UNKNOWN').map((f) => f.fix)).toEqual([
      expect.stringContaining('ALTER TABLE ONLY "public"."own" REPLICA IDENTITY DEFAULT'),
    ])
    expect(found.filter((f) => f.code === 'IDENTITY_NEEDLESS').map((f) => f.what)).toEqual([
      expect.stringContaining('"public"."made"'),
    ])
    await backup.up()
    await backup.until(async () => (await identity('made')) === 'd')
    await source.query("UPDATE made SET v = 'b'; DELETE FROM own")
    await backup.durable()
    expect(await identity('own')).toBe('f')
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  },
)

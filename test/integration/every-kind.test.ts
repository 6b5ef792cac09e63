/** One object of every kind, restored, and both databases dumped by PostgreSQL's own pg_dump: no entry may differ. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import type { Catalog } from '../../services/engines/postgres/catalog/kind.ts'
import { KINDS } from '../../services/engines/postgres/catalog/kinds.ts'
import { readObjects } from '../../services/engines/postgres/catalog/read-objects.ts'
import { openCatalog, SchemaReader } from '../../services/engines/postgres/catalog/read-schema.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { doctor } from '../../services/app/operations/doctor.ts'
import { Backup, serverUrl, testedVersions, withDatabase } from '../support/backup.ts'
import { everyKind, withRoles } from '../support/every-kind.ts'
import { dumpDifferences, findPgDump } from '../support/dump-oracle.ts'

const pgDump = findPgDump()

/** What a target may have of its own: none of it may show in what is restored into it. */
const OF_THE_TARGET = `
  ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO ROLE_C; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO ROLE_C; ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO ROLE_C;
  ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO ROLE_C;
  GRANT ALL ON SCHEMA public TO ROLE_C`

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Kinds that every-kind.sql has no object of: a new kind needs one there. */
async function kindsWithout(url: string): Promise<string[]> {
  const client = await connect({ url, applicationName: 'test', role: 'source' })
  try {
    const version = Number(
      (await client.query<{ v: string }>(`SELECT current_setting('server_version_num') AS v`)).rows[0]!.v,
    )
    const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> =>
      (await client.query<T>(sql)).rows
    const without: string[] = []
    for (const kind of KINDS) {
      const found = await kind.read({ version, rows, hasIdentities: true })
      if (!found.some((object) => object.statements.length > 0)) without.push(kind.title)
    }
    return without
  } finally {
    await client.end()
  }
}

async function inSnapshot<T>(client: pg.Client, action: () => Promise<T>): Promise<T> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()')
  try {
    return await action()
  } finally {
    await client.query('ROLLBACK')
  }
}

/** By class:oid, the statements of everything that could be read. */
async function readEach(
  catalog: Catalog,
): Promise<{ readonly read: ReadonlyMap<string, string>; readonly failed: readonly string[] }> {
  const read = new Map<string, string>()
  const failed: string[] = []
  for (const kind of KINDS) {
    const found = await readObjects(catalog, kind)
    for (const { oid, statements } of found.objects)
      read.set(`${kind.class}:${oid}`, JSON.stringify(statements))
    failed.push(...[...found.failed].map(([oid, why]) => `${kind.class}:${oid} ${why}`))
  }
  return { read, failed }
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('one object of every kind comes back as pg_dump prints it', async (context) => {
    if ('missing' in pgDump) return context.skip(pgDump.missing)
    await withRoles(version, async (roles) => {
      await using backup = await Backup.prepare({ version })
      await backup.source.query(everyKind(version, roles))
      await backup.init()
      // Extensions have tests of their own: not every server brings one.
      expect(await kindsWithout(backup.sourceUrl)).toEqual(['Extensions', 'Functions of extensions'])
      await backup.up()
      await backup.durable()
      const into = await backup.emptyDatabase()
      await query(into, OF_THE_TARGET.replaceAll('ROLE_C', roles['ROLE_C']!))
      const restored = await backup.restore('latest', { into })
      expect(restored.result?.notes.filter((note) => note.endsWith(': not covered'))).toEqual([])
      const found = dumpDifferences(pgDump.path, backup.sourceUrl, restored.url)
      expect(found).toEqual([])
    })
  })
})

/** Everything that every-kind.sql makes outside of schemas, and then those. */
const DROP_ALL = `DO $$ DECLARE d text; BEGIN
  FOR d IN SELECT format('DROP EVENT TRIGGER %I', evtname) FROM pg_event_trigger WHERE evtname NOT LIKE 'tidemark%'
    UNION ALL SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication WHERE pubname NOT LIKE 'tidemark%'
    UNION ALL SELECT format('DROP FOREIGN DATA WRAPPER %I CASCADE', fdwname) FROM pg_foreign_data_wrapper
    UNION ALL SELECT format('DROP ACCESS METHOD %I CASCADE', amname) FROM pg_am WHERE oid >= 16384
    UNION ALL SELECT format('DROP LANGUAGE %I CASCADE', lanname) FROM pg_language WHERE oid >= 16384
    UNION ALL SELECT format('DROP CAST (%s AS %s)', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid >= 16384 AND castmethod <> 'f'
    UNION ALL SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE oid >= 16384 AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'tidemark'
    UNION ALL SELECT format('DROP TABLE public.%I CASCADE', relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
  LOOP EXECUTE d; END LOOP; END $$`

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('what is dropped while it is read fails alone, whatever its kind; no part of it is kept', async () => {
    await withRoles(version, async (roles) => {
      await using backup = await Backup.prepare({ version })
      await backup.source.query(everyKind(version, roles))
      await backup.init()
      const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
      try {
        const catalog = await openCatalog(client)
        const torn = await inSnapshot(client, async () => {
          await backup.source.query(DROP_ALL)
          return readEach(catalog)
        })
        expect(torn.failed.map((key) => key.split(':')[0])).toContain('pg_statistic_ext')
        for (const [key, text] of torn.read) expect(text, key).not.toContain('"sql":null')
      } finally {
        await client.end()
      }
    })
  })

  test('a reading during which objects are dropped is made again, and names them where it may not be', async () => {
    await withRoles(version, async (roles) => {
      await using backup = await Backup.prepare({ version })
      await backup.source.query(everyKind(version, roles))
      await backup.init()
      const client = await connect({ url: backup.sourceUrl, applicationName: 'test', role: 'source' })
      const { oid } = (await query(backup.sourceUrl, 'SELECT oid::int FROM pg_statistic_ext LIMIT 1'))[0]!
      // The snapshot is taken with the first question behind BEGIN.
      const send = client.query.bind(client) as (...args: unknown[]) => unknown
      let isDropped = false
      Object.assign(client, {
        query: async (...args: unknown[]) => {
          const answer = await send(...args)
          if (!isDropped && /pg_current_snapshot/.test(String(args[0]))) {
            isDropped = true
            await backup.source.query(DROP_ALL)
          }
          return answer
        },
      })
      try {
        const once = await new SchemaReader().read(client, { rounds: 0 })
        expect(once.unsettled).toContain(oid)
        expect(once.statements.filter(({ objects }) => objects[0]?.kind === 'statistics')).toEqual([])
        isDropped = false
        const again = await new SchemaReader().read(client)
        expect([
          again.unsettled,
          again.statements.filter(({ objects }) => objects[0]?.schema === 'app'),
        ]).toEqual([[], []])
      } finally {
        await client.end()
      }
    })
  })

  test('what no statement makes is counted, by the catalog that it lies in; what comes with another is not', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TYPE span AS RANGE (SUBTYPE = int); CREATE TABLE t (id int PRIMARY KEY, s span); SELECT lo_create(0), lo_create(0);
        CREATE TABLE twice (v int); INSERT INTO twice VALUES (1), (1)`,
    })
    await expect(backup.source.query('CREATE UNIQUE INDEX CONCURRENTLY half ON twice (v)')).rejects.toThrow(
      /could not create unique index/,
    )
    await backup.init()
    const { notCovered } = await doctor(backup.config)
    expect(notCovered).toEqual([
      '1 relations (invalid indexes among them): not covered',
      '2 large objects: not covered',
    ])
  })
})

test('a NOT NULL of a child keeps the name that its parents do not have', async (context) => {
  const version = testedVersions().at(-1)!
  if (Number(version) < 18) return context.skip('PostgreSQL 18 names such constraints')
  await using backup = await Backup.start({
    version,
    setup: `CREATE TABLE first (id int PRIMARY KEY, a int); ALTER TABLE first ADD CONSTRAINT of_first NOT NULL a NOT VALID;
      CREATE TABLE second (id int PRIMARY KEY, a int CONSTRAINT of_second NOT NULL); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (first, second);
      CREATE TABLE parted (id int PRIMARY KEY, a int) PARTITION BY LIST (id); ALTER TABLE parted ADD CONSTRAINT of_parted NOT NULL a NOT VALID;
      CREATE TABLE part (id int PRIMARY KEY, a int); ALTER TABLE part ADD CONSTRAINT of_part NOT NULL a NOT VALID; ALTER TABLE parted ATTACH PARTITION part FOR VALUES IN (1)`,
  })
  const read = `SELECT conrelid::regclass::text AS of, conname, convalidated FROM pg_constraint WHERE contype = 'n' AND conname LIKE 'of%' ORDER BY 1, 2`
  const before = await query(backup.sourceUrl, read)
  expect(before).toHaveLength(5)
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(restored.result?.unmade).toEqual([])
  expect(await query(restored.url, read)).toEqual(before)
})

test('keys from and to partitioned tables are as valid in every part as they were', async () => {
  await using backup = await Backup.start({
    version: testedVersions()[0]!,
    setup: `CREATE SCHEMA "my s"; CREATE TABLE "my s"."the k" (a int PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE "my s".k1 PARTITION OF "my s"."the k" FOR VALUES FROM (0) TO (10) PARTITION BY LIST (a);
      CREATE TABLE "my s".k2 PARTITION OF "my s".k1 DEFAULT; INSERT INTO "my s"."the k" VALUES (1), (2);
      CREATE TABLE plain (a int PRIMARY KEY REFERENCES "my s"."the k"); INSERT INTO plain VALUES (1);
      CREATE TABLE parted (a int PRIMARY KEY REFERENCES "my s"."the k") PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted DEFAULT; INSERT INTO parted VALUES (2);
      CREATE TABLE broken (a int PRIMARY KEY REFERENCES "my s"."the k"); ALTER TABLE broken DISABLE TRIGGER ALL; INSERT INTO broken VALUES (7)`,
  })
  const read = `SELECT conrelid::regclass::text AS of, confrelid::regclass::text AS to, convalidated FROM pg_constraint WHERE contype = 'f' AND conrelid <> 'broken'::regclass ORDER BY 1, 2`
  const before = await query(backup.sourceUrl, read)
  expect(before).toHaveLength(7)
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(restored.result?.unmade).toMatchObject([
    {
      object: expect.stringContaining('broken') as string,
      instead: expect.stringContaining('NOT VALID') as string,
    },
  ])
  expect(await query(restored.url, read)).toEqual(before)
  expect(
    await query(
      restored.url,
      `SELECT convalidated FROM pg_constraint WHERE contype = 'f' AND conrelid = 'broken'::regclass AND conparentid = 0`,
    ),
  ).toEqual([{ convalidated: false }])
})

const PUBLIC_SCHEMA = `SELECT pg_get_userbyid(n.nspowner) AS owner, n.nspacl::text AS acl FROM pg_namespace n WHERE n.nspname = 'public'`

test('schema public keeps the rights of a source whose version has other ones', async (context) => {
  const [from, to] = [testedVersions()[0]!, testedVersions().at(-1)!]
  if (from === to) return context.skip('there is one version of PostgreSQL here')
  await using backup = await Backup.start({ version: from })
  const name = `t${randomBytes(6).toString('hex')}`
  const into = withDatabase(serverUrl(to), name)
  await query(serverUrl(to), `CREATE DATABASE ${name}`)
  try {
    await backup.durable()
    await backup.restore('latest', { into })
    expect(await query(into, PUBLIC_SCHEMA)).toEqual(await query(backup.sourceUrl, PUBLIC_SCHEMA))
  } finally {
    await query(serverUrl(to), `DROP DATABASE ${name} WITH (FORCE)`)
  }
})

test('roles get attributes and memberships only where it is asked for', async () => {
  const version = testedVersions().at(-1)!
  await withRoles(version, async (roles) => {
    const [a, b] = [roles['ROLE_A']!, roles['ROLE_B']!]
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO ${a}; GRANT SELECT ON t TO ${b}; GRANT ${a} TO ${b} WITH ADMIN OPTION;
        ALTER ROLE ${a} WITH BYPASSRLS CREATEDB CONNECTION LIMIT 7; ALTER ROLE ${a} SET search_path = t, "$user"`,
    })
    const read = `SELECT rolname, rolbypassrls, rolcreatedb, rolconnlimit, rolconfig::text, pg_has_role(oid, '${a}', 'MEMBER WITH ADMIN OPTION') AS member
      FROM pg_roles WHERE rolname IN ('${a}', '${b}') ORDER BY 1`
    const before = await query(backup.sourceUrl, read)
    await backup.durable()
    await backup.stop()
    await query(
      backup.sourceUrl,
      `ALTER ROLE ${a} NOBYPASSRLS NOCREATEDB CONNECTION LIMIT -1; ALTER ROLE ${a} RESET ALL; REVOKE ${a} FROM ${b}`,
    )
    const bare = await query(backup.sourceUrl, read)
    await backup.restore('latest')
    expect(await query(backup.sourceUrl, read)).toEqual(bare)
    await backup.restore('latest', { withRoleAttributes: true })
    expect(await query(backup.sourceUrl, read)).toEqual(before)
  })
})

/** What recording a schema change does in the user's session, how much of it there is, and that nothing hides behind it. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { parsePosition, positionText } from '../../services/core/position.ts'
import { Backup, digests, oneVersion, serverUrl, shown, testedVersions } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'

const PARTITIONED = `
CREATE TABLE p (id int, k int NOT NULL, v text DEFAULT 'x', PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
DO $$ BEGIN FOR i IN 0..19 LOOP EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES FROM (%s) TO (%s)', i, i * 10, i * 10 + 10); END LOOP; END $$;
INSERT INTO p SELECT g, g, 'v' || g FROM generate_series(0, 199) g;`

/** Records that a command makes: how many of each kind, and all of them by name. */
async function recordsOf(
  client: pg.Client,
  command: string,
): Promise<{ readonly counts: Record<string, number>; readonly names: readonly string[] }> {
  // Of its own transaction: what looks after the catalog beside it leaves records of its own.
  await client.query('BEGIN')
  const [own] = (await client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')).rows
  await client.query(`${command}; COMMIT`)
  const { rows } = await client.query<{ kind: string; name: string }>(
    `SELECT kind, concat_ws(' ', command, kind, (facts::jsonb)->>'name', oid) AS name FROM tidemark.ddl WHERE xid = $1 ORDER BY id`,
    [own!.xid],
  )
  const counts: Record<string, number> = {}
  for (const { kind } of rows) counts[kind] = (counts[kind] ?? 0) + 1
  return { counts, names: rows.map(({ name }) => name) }
}

async function equalToSource(backup: Backup): Promise<{ readonly url: string }> {
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  return restored
}

const gapsOf = (backup: Backup): string[] =>
  backup.events.flatMap((event) => (event.event === 'gap' ? [event.table] : []))

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('the session that changes the schema keeps its lastval(), and needs no right on anything of ours', async () => {
    await using backup = await Backup.prepare({ version, setup: 'CREATE SEQUENCE s' })
    await backup.init()
    const role = `r_${backup.database}`
    await backup.source.query(
      `CREATE ROLE ${role} LOGIN; GRANT ALL ON SCHEMA public TO ${role}; GRANT ALL ON SEQUENCE s TO ${role}`,
    )
    const url = new URL(backup.sourceUrl)
    url.username = role
    const app = new pg.Client(url.toString())
    await app.connect()
    try {
      await app.query("SELECT nextval('s'), nextval('s')")
      await app.query(
        'CREATE TABLE t (id int, v text); ALTER TABLE t ALTER v TYPE varchar(5); CREATE VIEW w AS SELECT * FROM t; DROP TABLE t CASCADE',
      )
      expect((await app.query<{ v: string }>('SELECT lastval() AS v')).rows[0]!.v).toBe('2')
    } finally {
      await app.end()
      await backup.source.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)
    }
  })

  test("other people's event triggers see the application's commands, and none of ours", async () => {
    await using backup = await Backup.prepare({
      version,
      setup: `CREATE TABLE seen (tag text); CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (tg_tag); END $$;`,
    })
    await backup.init()
    await backup.source.query(
      'CREATE EVENT TRIGGER see ON ddl_command_end EXECUTE FUNCTION see(); CREATE TABLE bare (a int)',
    )
    await backup.source.query('UPDATE bare SET a = 1')
    expect((await backup.source.query('SELECT tag FROM seen')).rows).toEqual([{ tag: 'CREATE TABLE' }])
    expect(
      (await backup.source.query(`SELECT relreplident FROM pg_class WHERE relname = 'bare'`)).rows,
    ).toEqual([{ relreplident: 'f' }])
  })

  test('a command is recorded once, and of partitions no more than what it reached', async () => {
    await using backup = await Backup.start({ version, setup: PARTITIONED })
    const { source } = backup
    const points: { at: string; rows: string[] }[] = []
    // Every third point is restored, by one version or another.
    const turn = 1 + 3 * (testedVersions().indexOf(version) % 2)
    for (const [index, [command, records]] of [
      ["COMMENT ON TABLE p IS 'all'", { table: 1 }],
      ['ALTER TABLE p ADD COLUMN w int DEFAULT 7, ADD COLUMN u text', { table: 1, descendant: 20 }],
      ['ALTER TABLE p RENAME COLUMN v TO named', { table: 1, descendant: 20 }],
      ['ALTER TABLE p RENAME COLUMN k TO part', { table: 1, descendant: 20 }],
      ['ALTER TABLE p DROP COLUMN u', { table: 1, descendant: 20 }],
      ['ALTER TABLE p DETACH PARTITION p3', { table: 2 }],
      ['ALTER TABLE p3 ADD COLUMN own text', { table: 1 }],
      ['ALTER TABLE p3 DROP COLUMN own', { table: 1 }],
      ['ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (30) TO (40)', { table: 2 }],
      ['CREATE INDEX p_named ON p (named)', { table: 1, descendant: 20 }],
      // The order of a command's parts goes by their OIDs: with some of these they come the other way round.
      ...Array.from(
        { length: 6 },
        (_, i) =>
          [
            `CREATE TABLE plain${i} (id serial PRIMARY KEY, n int UNIQUE)`,
            { table: 1, sequence: 1 },
          ] as const,
      ),
      // The sequence of an identity column is a part of its table.
      ...[
        'CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n bigint GENERATED BY DEFAULT AS IDENTITY)',
        'ALTER TABLE numbered ALTER COLUMN n SET INCREMENT BY 5',
        'ALTER SEQUENCE numbered_id_seq RENAME TO ids',
        'ALTER SEQUENCE ids CACHE 7',
        "COMMENT ON SEQUENCE ids IS 'numbers'",
      ].map((command) => [command, { table: 1 }] as const),
      ['CREATE VIEW newest AS SELECT last_value FROM ids', { other: 1 }],
      ['ALTER TABLE ids RENAME TO numbers', { table: 1, other: 1 }],
    ].entries() as Iterable<[number, readonly [string, Record<string, number>]]>) {
      const { counts, names } = await recordsOf(source, command)
      expect(counts, `${command}: ${names.join(', ')}`).toEqual(records)
      await source.query('UPDATE p SET id = id + 1000 WHERE id % 7 = 1').catch(() => undefined)
      if (index % 6 !== turn) continue
      points.push({ at: positionText(await backup.head()), rows: shown(await digests(backup.sourceUrl)) })
    }
    const { url } = await equalToSource(backup)
    for (const { at, rows } of points) {
      const restored = await backup.restore(at)
      expect(shown(await digests(restored.url)), at).toEqual(rows)
    }
    await expectSameSchema(backup.sourceUrl, url)
    expect(gapsOf(backup)).toEqual([])
  })

  test('a recorded change does not hide one that was made with event triggers off', async () => {
    const off = Number(version) >= 17 ? 'SET event_triggers = off' : undefined
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 20) g;
        CREATE TABLE u (id int PRIMARY KEY, v int); INSERT INTO u VALUES (1, 1); CREATE TABLE calm (id int PRIMARY KEY, v varchar(10)); INSERT INTO calm VALUES (1, 'a'); ${PARTITIONED}`,
    })
    const { source } = backup
    const hidden = async (sql: string): Promise<void> => {
      if (off === undefined)
        for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
      else await source.query(off)
      await source.query(sql)
      if (off === undefined)
        for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
      else await source.query('RESET event_triggers')
    }
    // The recorded change comes at once, before anything could have compared the catalog.
    await hidden('ALTER TABLE t ALTER v TYPE int USING v * 2')
    await source.query('ALTER TABLE t ADD COLUMN w text')
    await hidden('ALTER TABLE u ADD COLUMN x int DEFAULT 5')
    await source.query('INSERT INTO u VALUES (2, 2, 2)')
    await source.query('ALTER TABLE u ADD COLUMN y int')
    await hidden(
      'ALTER TABLE p DETACH PARTITION p4; ALTER TABLE p4 ALTER v TYPE text USING upper(v); ALTER TABLE p ATTACH PARTITION p4 FOR VALUES FROM (40) TO (50)',
    )
    await source.query('ALTER TABLE p ADD COLUMN w int')
    for (const sql of [
      'TRUNCATE calm',
      "INSERT INTO calm VALUES (2, 'b')",
      "ALTER TABLE calm ALTER v SET DEFAULT 'c', ALTER v SET NOT NULL",
    ])
      await source.query(sql)
    await backup.until(() => new Set(gapsOf(backup)).size >= 3)
    expect([...new Set(gapsOf(backup))].sort()).toEqual(['public.p4', 'public.t', 'public.u'])
    await source.query("UPDATE t SET w = 'w' WHERE id < 5; UPDATE u SET y = 3; UPDATE p SET w = 1")
    await backup.durable()
    await backup.until(() => backup.repository.catalog.openGaps.length === 0)
    await equalToSource(backup)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a recorded change of a type does not hide one that was made with event triggers off', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TYPE mood AS ENUM ('sad', 'ok', 'fine'); CREATE TABLE moods (id int PRIMARY KEY, m mood); INSERT INTO moods VALUES (1, 'sad'), (2, 'ok');
        CREATE TYPE pair AS (p int, q text, r int); CREATE TABLE pairs (id int PRIMARY KEY, one pair); INSERT INTO pairs VALUES (1, '(1,a,2)')`,
    })
    const { source } = backup
    await backup.durable()
    const { l: before } = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l'))
      .rows[0]!
    // The catalog is compared up to what was received: what the server writes by itself behind the last commit is not.
    await backup.until(async () => {
      await source.query('UPDATE moods SET m = m')
      return backup.repository.catalog.generation!.checked >= parsePosition(before)
    })
    for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
    await source.query("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TYPE pair DROP ATTRIBUTE q")
    for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
    const between = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l'))
      .rows[0]!.l
    await source.query("ALTER TYPE mood RENAME VALUE 'fine' TO 'good'; ALTER TYPE pair DROP ATTRIBUTE r")
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length >= 2)
    await backup.durable()
    // The gap begins before what nothing told, not where the record is.
    for (const gap of backup.repository.catalog.gaps)
      expect(gap.from < parsePosition(between), gap.reason).toBe(true)
    await equalToSource(backup)
  })

  test('types that were changed with event triggers off: the tables that use them are read again', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE moods (id int PRIMARY KEY, m mood[]); INSERT INTO moods VALUES (1, '{sad}'), (2, '{ok}');
        CREATE TYPE pair AS (p int, q text); CREATE TABLE pairs (id int PRIMARY KEY, one pair); INSERT INTO pairs VALUES (1, '(1,a)');
        CREATE TABLE person (id int PRIMARY KEY, name text); CREATE TABLE past (id int PRIMARY KEY, was person); INSERT INTO past VALUES (1, '(1,a)')`,
    })
    const { source } = backup
    for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
    // Swapped labels are all still there: nothing would fail at a restore.
    await source.query(
      "ALTER TYPE mood RENAME VALUE 'sad' TO 'x'; ALTER TYPE mood RENAME VALUE 'ok' TO 'sad'; ALTER TYPE mood RENAME VALUE 'x' TO 'ok'",
    )
    await source.query('ALTER TYPE pair DROP ATTRIBUTE q, ADD ATTRIBUTE q text')
    await source.query('ALTER TABLE person DROP COLUMN name, ADD COLUMN name text')
    for (const name of TRIGGERS) await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length >= 4)
    expect([...new Set(gapsOf(backup))].sort()).toEqual([
      'public.moods',
      'public.pairs',
      'public.past',
      'public.person',
    ])
    await equalToSource(backup)
  })

  test('without event triggers: TRUNCATE, VACUUM FULL and CLUSTER are no gap, a rewrite that keeps the type is one', async () => {
    const role = `owner_${randomBytes(4).toString('hex')}`
    const admin = new pg.Client(serverUrl(version))
    await admin.connect()
    await admin.query(`CREATE ROLE ${role} LOGIN REPLICATION`)
    try {
      await using backup = await Backup.prepare({ version, user: role, createDatabase: `OWNER ${role}` })
      await backup.source.query(`GRANT ALL ON SCHEMA public TO ${role}`)
      const app = await backup.client()
      await app.query(
        'CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1); INSERT INTO d VALUES (1, 1)',
      )
      await backup.init()
      await backup.up()
      for (const sql of [
        'TRUNCATE a',
        'VACUUM FULL b',
        'CLUSTER c USING c_pkey',
        'INSERT INTO a VALUES (2, 2)',
      ])
        await app.query(sql)
      await app.query('ALTER TABLE d ALTER v TYPE int USING v + 1')
      await backup.until(() => backup.events.some((event) => event.event === 'gap-closed'))
      expect([...new Set(gapsOf(backup))]).toEqual(['public.d'])
      await equalToSource(backup)
    } finally {
      await admin.query(`DROP ROLE ${role}`).catch(() => undefined)
      await admin.end()
    }
  })
})

test.each(oneVersion())(
  'made and dropped between two readings: there at a point between (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')",
    })
    const { source } = backup
    // One transaction each, back to back: no reading of the schema can come between.
    await source.query(
      `CREATE SCHEMA brief; CREATE FUNCTION brief.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2'; CREATE VIEW brief.shown AS SELECT id, brief.twice(id) AS twice FROM t; CREATE MATERIALIZED VIEW brief.kept AS SELECT * FROM brief.shown; CREATE VIEW brief.bare AS SELECT FROM t GROUP BY id`,
    )
    const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!.l
    await source.query('DROP SCHEMA brief CASCADE')
    await source.query(
      'CREATE FUNCTION gone() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; DROP FUNCTION gone()',
    )
    await backup.durable()
    const restored = await backup.restore(at)
    const client = new pg.Client(restored.url)
    await client.connect()
    try {
      expect((await client.query('SELECT * FROM brief.shown')).rows).toEqual([{ id: 1, twice: 2 }])
      expect((await client.query('SELECT * FROM brief.kept')).rows).toEqual([{ id: 1, twice: 2 }])
      expect((await client.query('SELECT FROM brief.bare')).rowCount).toBe(1)
    } finally {
      await client.end()
    }
  },
)

test.each(oneVersion())('rights between two readings are right at a point there (%s)', async (version) => {
  const admin = new pg.Client(serverUrl(version))
  await admin.connect()
  const role = `granted_${randomBytes(4).toString('hex')}`
  await admin.query(`CREATE ROLE ${role}`)
  try {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE t (id int PRIMARY KEY, v text, w text); CREATE TABLE others (id int PRIMARY KEY); CREATE VIEW shown AS SELECT id FROM t; CREATE SEQUENCE q; CREATE SCHEMA side; CREATE SCHEMA side2; CREATE TABLE "a""B" ();
        CREATE TYPE e AS ENUM ('a'); CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT SELECT ON t, shown TO ${role}; GRANT SELECT (w) ON t TO PUBLIC; GRANT ALL ON others TO ${role}`,
    })
    const { source } = backup
    const rights = async (url: string): Promise<unknown> => {
      const client = new pg.Client(url)
      await client.connect()
      try {
        return (
          await client.query(
            `SELECT x.name, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(x.acl) a) AS acl FROM (
               SELECT oid::regclass::text AS name, COALESCE(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl FROM pg_class WHERE relname IN ('t', 'others', 'shown', 'q', 'made', 'inside', 'a"B')
               UNION ALL SELECT attname, attacl FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0
               UNION ALL SELECT proname, COALESCE(proacl, acldefault('f', proowner)) FROM pg_proc WHERE proname = 'f' UNION ALL SELECT typname, COALESCE(typacl, acldefault('T', typowner)) FROM pg_type WHERE typname = 'e'
               UNION ALL SELECT nspname, COALESCE(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname LIKE 'side%') x ORDER BY 1`,
          )
        ).rows
      } finally {
        await client.end()
      }
    }
    await backup.durable()
    const points: { readonly at: string; readonly rights: unknown }[] = []
    for (const sql of [
      `REVOKE SELECT ON t, shown FROM ${role}; GRANT UPDATE (v) ON t TO ${role}; REVOKE SELECT (w) ON t FROM PUBLIC`,
      `REVOKE EXECUTE ON FUNCTION f FROM PUBLIC; GRANT USAGE ON SCHEMA side TO ${role} WITH GRANT OPTION; GRANT USAGE ON SEQUENCE q TO ${role}; REVOKE USAGE ON TYPE e FROM PUBLIC`,
      `BEGIN; CREATE TABLE made (id int PRIMARY KEY); GRANT SELECT ON made TO ${role}; SAVEPOINT s; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ${role}; ROLLBACK TO s; REVOKE UPDATE ON others FROM ${role}; COMMIT`,
      // A table that the transaction made before is nothing that the GRANT wrote.
      `BEGIN; CREATE TABLE other (id int PRIMARY KEY); GRANT INSERT (w) ON t TO ${role}; COMMIT`,
      `GRANT ALL ON t, shown, q TO ${role}; GRANT EXECUTE ON FUNCTION f TO PUBLIC; DROP TABLE made`,
      `CREATE SCHEMA third CREATE TABLE inside (id int) GRANT SELECT ON inside, public."a""B", public.t TO ${role} GRANT REFERENCES ON public.others TO ${role}; GRANT INSERT ON "a""B", OTHERS TO ${role}`,
      `ALTER TABLE t RENAME TO swap; ALTER TABLE others RENAME TO t; ALTER TABLE swap RENAME TO others; REVOKE ALL ON t FROM ${role}; GRANT DELETE ON t TO ${role}`,
      `ALTER SCHEMA side RENAME TO swap; ALTER SCHEMA side2 RENAME TO side; ALTER SCHEMA swap RENAME TO side2; GRANT CREATE ON SCHEMA side TO ${role}`,
    ]) {
      for (const one of sql.split('; ')) await source.query(one)
      const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!
        .l
      points.push({ at, rights: await rights(backup.sourceUrl) })
    }
    await backup.durable()
    for (const point of points) {
      const restored = await backup.restore(point.at)
      expect(await rights(restored.url)).toEqual(point.rights)
      expect(restored.result!.notes.filter((note) => /^(GRANT|REVOKE)/.test(note))).toEqual([])
    }
  } finally {
    await admin.query(`DROP ROLE ${role}`).catch(() => undefined)
    await admin.end()
  }
})

test.each(oneVersion())('TRUNCATE and other columns in one transaction are no gap (%s)', async (version) => {
  await using backup = await Backup.start({
    version,
    setup: `CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 20) g; CREATE TABLE u (a int, b text); INSERT INTO u VALUES (1, 'a'); ${PARTITIONED}`,
  })
  for (const change of [
    'ALTER TABLE t ALTER v SET NOT NULL',
    'ALTER TABLE t ADD COLUMN w int DEFAULT 1, ALTER v DROP NOT NULL',
    'ALTER TABLE t RENAME COLUMN v TO named',
    'ALTER TABLE t DROP COLUMN w',
  ])
    await backup.source.query(
      `BEGIN; TRUNCATE t; ${change}; INSERT INTO t SELECT g, g FROM generate_series(1, 20) g; COMMIT`,
    )
  await backup.source.query(
    `BEGIN; TRUNCATE u; ALTER TABLE u ALTER b SET NOT NULL, ADD COLUMN c int; INSERT INTO u VALUES (1, 'b', 2); COMMIT;
     BEGIN; TRUNCATE p; ALTER TABLE p ALTER v SET NOT NULL, ADD COLUMN w int; INSERT INTO p VALUES (1, 1, 'v', 2); COMMIT`,
  )
  await equalToSource(backup)
  expect(gapsOf(backup)).toEqual([])
})

test.each(oneVersion())('a gap gives all reasons of the command that made it (%s)', async (version) => {
  await using backup = await Backup.start({
    version,
    setup: `CREATE TABLE g (id int PRIMARY KEY, v int, d int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO g VALUES (1, 1);
      CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)`,
  })
  await backup.source.query('ALTER TABLE g ALTER d DROP EXPRESSION, ALTER v TYPE bigint')
  await backup.source.query(
    'ALTER TABLE t ALTER v TYPE text USING v || $$x$$, ADD COLUMN made uuid DEFAULT gen_random_uuid()',
  )
  await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length >= 2)
  const reasons = Object.fromEntries(
    backup.events.flatMap((event) => (event.event === 'gap' ? [[event.table, event.reason]] : [])),
  )
  expect(reasons).toEqual({
    'public.g': 'a generated column became an ordinary one, and its values were never streamed',
    'public.t': expect.stringMatching(
      /rewritten by an expression.*; a column was added whose default/,
    ) as string,
  })
  await equalToSource(backup)
})

const TRIGGERS = ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite']

/** Restores of databases in which something cannot be made as it was: all rows come back, and the rest is told. */
import { TESTER } from '../support/actor.ts'
import { readFile, rm, stat } from 'node:fs/promises'
import pg from 'pg'
import { expect, test } from 'vitest'
import { restore } from '../../services/app/operations/restore.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, serverUrl, shown, oneVersion, withDatabase } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

type Restored = Awaited<ReturnType<Backup['restore']>>

/** Restores, asks the target, and gives the file of what was not made. */
async function restored(
  backup: Backup,
  options: Parameters<Backup['restore']>[1] = {},
  at = 'latest',
): Promise<Restored & { readonly told: readonly string[]; readonly script: string }> {
  const report = await backup.restore(at, options)
  const script = report.unmadeFile === null ? '' : await readFile(report.unmadeFile, 'utf8')
  if (report.unmadeFile !== null) await rm(report.unmadeFile)
  return { ...report, told: report.result!.unmade.map((u) => u.object), script }
}

async function ask<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query<T>(sql)).rows
  } finally {
    await client.end()
  }
}

async function sameRows(backup: Backup, url: string): Promise<void> {
  expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
}

test.each(oneVersion())(
  'checks of parents and domains that some rows break come back as they were (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE p (a int CHECK (a > 0)); CREATE TABLE c (x int) INHERITS (p); CREATE TABLE cc () INHERITS (c); CREATE TABLE lone (a int CHECK (a < 9) NO INHERIT); CREATE TABLE kid () INHERITS (lone);
      INSERT INTO p VALUES (1); INSERT INTO c VALUES (2, 2); INSERT INTO cc VALUES (3, 3); INSERT INTO kid VALUES (100);
      CREATE DOMAIN d AS int; CREATE TABLE t (v d, w d[]); INSERT INTO t VALUES (-1, '{1}'); ALTER DOMAIN d DROP CONSTRAINT IF EXISTS none;
      CREATE DOMAIN loose AS text DEFAULT 'a'')(' NOT NULL CHECK (VALUE <> ''); CREATE TABLE u (v loose); INSERT INTO u VALUES ('x');
      CREATE DOMAIN held AS int CONSTRAINT small CHECK (VALUE < 10); CREATE TABLE h (v held[]); INSERT INTO h VALUES ('{1,2}')`,
    })
    await backup.source.query(
      `CREATE DOMAIN n AS int; CREATE TABLE nt (v n); INSERT INTO nt VALUES (-5); ALTER DOMAIN n ADD CONSTRAINT pos CHECK (VALUE > 0) NOT VALID`,
    )
    await backup.durable()
    const { url, told } = await restored(backup)
    expect(told).toEqual([])
    await sameRows(backup, url)
    const constraints = `SELECT conname, contype, convalidated, coninhcount, conislocal, pg_get_constraintdef(oid) AS def, conrelid::regclass::text AS rel, contypid::regtype::text AS type FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'c' ORDER BY conname, rel, type`
    expect(await ask(url, constraints)).toEqual(await ask(backup.sourceUrl, constraints))
    await expect(ask(url, 'INSERT INTO nt VALUES (-6)')).rejects.toThrow('pos')
    await expect(ask(url, `INSERT INTO h VALUES ('{11}')`)).rejects.toThrow('small')
  },
)

test.each(oneVersion())(
  'a table whose type, access method or key cannot be made: the rows come back, in columns of text (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TYPE mood; CREATE FUNCTION mood_in(cstring) RETURNS mood LANGUAGE internal IMMUTABLE STRICT AS 'int4in'; CREATE FUNCTION mood_out(mood) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
      CREATE TYPE mood (INPUT = mood_in, OUTPUT = mood_out, LIKE = int4); CREATE TABLE moods (id int PRIMARY KEY, m mood); INSERT INTO moods VALUES (1, '5'), (2, NULL);
      CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE other (id int PRIMARY KEY, n int) USING heap2; INSERT INTO other VALUES (1, 7);
      CREATE TABLE plain (id int PRIMARY KEY); INSERT INTO plain VALUES (1)`,
    })
    const { url, told, script } = await restored(backup)
    expect(await ask(url, 'SELECT id, m::text FROM moods ORDER BY id')).toEqual([
      { id: 1, m: '5' },
      { id: 2, m: null },
    ])
    expect(await ask(url, 'SELECT * FROM other')).toEqual([{ id: 1, n: 7 }])
    expect(await ask(url, 'SELECT * FROM plain')).toEqual([{ id: 1 }])
    // Where the schema comes to cover these kinds, nothing is left to tell.
    for (const table of ['moods', 'other'])
      if (told.includes(`table public.${table}`)) expect(script).toContain(`CREATE TABLE "public"."${table}"`)
  },
)

test.each(oneVersion())(
  'rows that break a valid foreign key: NOT VALID, told by their number (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int CONSTRAINT fk REFERENCES parent);
      INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); SET session_replication_role = replica; INSERT INTO child VALUES (2, 666), (3, 666), (4, 777); RESET session_replication_role`,
    })
    const report = await restored(backup)
    expect(report.told).toEqual(['constraint public.child.fk'])
    expect(report.script).toContain('3 rows with 2 keys')
    expect(report.script).toMatch(/VALIDATE CONSTRAINT "fk";/)
    expect(report.script).not.toContain('666')
    await sameRows(backup, report.url)
    expect(await ask(report.url, `SELECT convalidated FROM pg_constraint WHERE conname = 'fk'`)).toEqual([
      { convalidated: false },
    ])
    await expect(ask(report.url, 'INSERT INTO child VALUES (9, 999)')).rejects.toThrow('fk')
  },
)

test.each(oneVersion())(
  'values that name other objects: of a view, of one that was renamed (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t; CREATE TABLE names (id int PRIMARY KEY, r regclass); INSERT INTO names VALUES (1, 't'), (2, 'v');
      CREATE TABLE stale (id int PRIMARY KEY, r regclass DEFAULT 't'::regclass); INSERT INTO stale VALUES (1, 't')`,
    })
    await backup.source.query('ALTER TABLE t RENAME TO t2; INSERT INTO stale VALUES (2, $$v$$)')
    await backup.source.query(`UPDATE names SET r = 't2'::regclass WHERE id = 1`)
    await backup.durable()
    const { url, told } = await restored(backup)
    expect(await ask(url, 'SELECT id, r::text, pg_typeof(r)::text AS type FROM names ORDER BY id')).toEqual([
      { id: 1, r: 't2', type: 'regclass' },
      { id: 2, r: 'v', type: 'regclass' },
    ])
    expect((await ask<{ r: string }>(url, 'SELECT r::text FROM stale ORDER BY id')).length).toBe(2)
    expect(told).toEqual(['column public.stale.r'])
  },
)

test.each(oneVersion())('indexes and keys of partitions that are half there (%s)', async (version) => {
  await using backup = await Backup.start({
    version,
    setup: `CREATE TABLE p (a int, b int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
      CREATE INDEX pi ON ONLY p (b); CREATE INDEX p1i ON p1 (b); ALTER INDEX pi ATTACH PARTITION p1i; INSERT INTO p SELECT g, g FROM generate_series(0, 19) g`,
  })
  const { url, told } = await restored(backup)
  expect(told).toEqual([])
  await sameRows(backup, url)
  const indexes = `SELECT indexrelid::regclass::text AS name, indisvalid, (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = indexrelid) AS parent FROM pg_index WHERE indrelid IN ('p'::regclass, 'p1'::regclass, 'p2'::regclass) ORDER BY 1`
  expect(await ask(url, indexes)).toEqual(await ask(backup.sourceUrl, indexes))
})

test.each(oneVersion())(
  'what depends on a key or on a function is made once that is there (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE k (id int PRIMARY KEY, v text, n int); CREATE VIEW grouped AS SELECT id, v, count(*) FROM k GROUP BY id; INSERT INTO k VALUES (1, 'a', 2);
      CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT max(x.c) FROM (SELECT id, v, count(*) AS c FROM k GROUP BY id) x; END;
      CREATE VIEW over AS SELECT atomic() AS a`,
    })
    const { url, told } = await restored(backup)
    expect(told).toEqual([])
    await sameRows(backup, url)
    expect(await ask(url, 'SELECT * FROM over')).toEqual([{ a: '1' }])
  },
)

test('18: NOT NULL that rows break stays NOT VALID', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE n (id int PRIMARY KEY, a int, b int NOT NULL); INSERT INTO n VALUES (1, NULL, 1); ALTER TABLE n ADD CONSTRAINT nn NOT NULL a NOT VALID`,
  })
  const { url, told } = await restored(backup)
  expect(told).toEqual([])
  await sameRows(backup, url)
  await expect(ask(url, 'INSERT INTO n VALUES (2, NULL, 2)')).rejects.toThrow('null value')
  await expect(ask(url, 'INSERT INTO n VALUES (2, 2, NULL)')).rejects.toThrow('null value')
})

test('rows that their partition no longer takes: a table of its own, told by a try that was interrupted too', async () => {
  await using backup = await Backup.start({
    setup: `CREATE FUNCTION part_of(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2'; CREATE TABLE p (a int, b text) PARTITION BY LIST (part_of(a));
      CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p SELECT g, g::text FROM generate_series(1, 9) g; CREATE INDEX ON p (b)`,
  })
  await backup.source.query(
    `CREATE OR REPLACE FUNCTION part_of(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1 = 3 THEN 7 ELSE $1 % 2 END'`,
  )
  const at = positionText(await backup.durable())
  // The end of the backup stays where it is: another end would be another point.
  await backup.stop()
  const into = await backup.emptyDatabase()
  const stop = new AbortController()
  await expect(
    restore({
      actor: TESTER,
      storeUrl: backup.storeUrl,
      keys: backup.keys,
      at,
      into,
      exceptTables: [],
      dryRun: false,
      signal: stop.signal,
      events: {
        onProgress: (p) => p.stage === 'indexes' && stop.abort(new DOMException('stop', 'AbortError')),
      },
    }),
  ).rejects.toThrow()
  const { told, script, url } = await restored(backup, { into }, at)
  expect(told).toContain('table public.p1')
  expect(script).toContain('ATTACH PARTITION "public"."p1"')
  await sameRows(backup, url)
  expect(await ask(url, 'SELECT count(*)::int AS n FROM p')).toEqual([{ n: 4 }])
})

test('--strict stops at what it cannot make; without it the same restore goes on, and tells all of it again', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (p int CONSTRAINT fk REFERENCES parent); SET session_replication_role = replica; INSERT INTO child VALUES (1); RESET session_replication_role`,
  })
  const into = await backup.emptyDatabase()
  const at = positionText(await backup.durable())
  // The end of the backup stays where it is: another end would be another point.
  await backup.stop()
  await expect(backup.restore(at, { into, strict: true })).rejects.toMatchObject({ code: 'TARGET_FAILED' })
  const { told, url } = await restored(backup, { into }, at)
  expect(told).toEqual(['constraint public.child.fk'])
  await sameRows(backup, url)
})

test('the command: exit code 11, names on standard output, the SQL in a file of its owner alone', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (p int CONSTRAINT fk REFERENCES parent); SET session_replication_role = replica; INSERT INTO child VALUES (1); RESET session_replication_role`,
  })
  const into = await backup.emptyDatabase()
  const place = ['--store', backup.storeUrl, '--keys', backup.keys]
  const answer = await tidemark(['restore', '--at', 'latest', '--into', into, ...place], backup.folder)
  expect([answer.code, answer.stderr]).toEqual([11, expect.stringContaining('SCHEMA_INCOMPLETE')])
  expect(answer.stdout).toContain('not made  constraint public.child.fk')
  expect(answer.stdout).not.toContain('VALIDATE')
  const file = /\S+tidemark-unmade-\w+\.sql/.exec(answer.stderr)![0]
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(await readFile(file, 'utf8')).toContain('VALIDATE CONSTRAINT "fk"')
})

test('a table that is left out takes what refers to it along, as notes', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int CONSTRAINT fk REFERENCES parent); CREATE VIEW v AS SELECT * FROM parent; CREATE VIEW vv AS SELECT * FROM v; INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)`,
  })
  const report = await restored(backup, { exceptTables: ['public.parent'] })
  expect([report.told, report.script]).toEqual([[], ''])
  expect(report.result!.notes.filter((n) => n.includes('left out')).map((n) => n.split(':')[0])).toEqual([
    'view public.v',
    'view public.vv',
    'constraint public.child.fk',
  ])
  expect(await ask(report.url, 'SELECT * FROM child')).toEqual([{ id: 1, p: 1 }])
})

test.each(oneVersion())(
  'a child whose parent is left out is a table of its own, with the values that it generates (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE parent (id int PRIMARY KEY, n int, g int GENERATED ALWAYS AS (n * 3) STORED, t text COLLATE "C");
        CREATE TABLE child (own text) INHERITS (parent); INSERT INTO child (id, n, t, own) VALUES (1, 2, 'a', 'b')`,
    })
    const report = await restored(backup, { exceptTables: ['public.parent'] })
    expect(report.told).toEqual(['table public.child'])
    expect(report.result!.unmade[0]!.instead).toBe('a table of its own')
    expect(await ask(report.url, 'SELECT * FROM child')).toEqual([{ id: 1, n: 2, g: 6, t: 'a', own: 'b' }])
    const [is] = await ask<{ g: string }>(
      report.url,
      `SELECT attgenerated AS g FROM pg_attribute WHERE attrelid = 'child'::regclass AND attname = 'g'`,
    )
    expect(is!.g).toBe('s')
  },
)

test('where protection cannot be made, grants are withheld', async () => {
  const role = `r${Date.now().toString(36)}`
  const outside = new pg.Client(serverUrl('18'))
  await outside.connect()
  await outside.query(`CREATE ROLE ${role}`)
  try {
    await using backup = await Backup.start({
      setup: `CREATE TABLE secret (id int PRIMARY KEY, of name); CREATE TABLE open (id int PRIMARY KEY); CREATE OPERATOR === (LEFTARG = name, RIGHTARG = name, FUNCTION = nameeq);
        CREATE POLICY own ON secret AS RESTRICTIVE USING (of === current_user); CREATE POLICY all_of ON secret USING (true); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; INSERT INTO secret VALUES (1, 'x');
        GRANT SELECT ON secret, open TO ${role}`,
    })
    const { url, told, script } = await restored(backup)
    const grants = await ask<{ t: string }>(
      url,
      `SELECT table_name AS t FROM information_schema.role_table_grants WHERE grantee = '${role}' ORDER BY 1`,
    )
    const policies = await ask<{ n: string }>(url, `SELECT count(*)::text AS n FROM pg_policy`)
    // With the operator restored there is nothing to withhold.
    if (policies[0]!.n === '2') expect(grants.map((g) => g.t)).toEqual(['open', 'secret'])
    else {
      expect(grants.map((g) => g.t)).toEqual(['open'])
      expect(told).toContain('policy public.secret.own')
      expect(script).toContain('GRANT SELECT ON TABLE "public"."secret"')
    }
    await sameRows(backup, url)
  } finally {
    await outside.query(`DROP OWNED BY ${role}`)
    await outside.query(`DROP ROLE ${role}`)
    await outside.end()
  }
})

test('a right that the older server does not know is a note, and the others are given', async () => {
  const role = `r${Date.now().toString(36)}`
  const outside = new pg.Client(serverUrl('18'))
  const older = new pg.Client(serverUrl('14'))
  await Promise.all([outside.connect(), older.connect()])
  const database = `t${role}`
  try {
    await outside.query(`CREATE ROLE ${role}`)
    await older.query(`CREATE ROLE ${role}`)
    await older.query(`CREATE DATABASE ${database}`)
    await using backup = await Backup.start({
      setup: `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); GRANT ALL ON t TO ${role} WITH GRANT OPTION;
        CREATE TABLE kept (id int PRIMARY KEY); REVOKE MAINTAIN ON kept FROM CURRENT_USER; GRANT SELECT, MAINTAIN ON kept TO ${role};
        ALTER DEFAULT PRIVILEGES GRANT SELECT, MAINTAIN ON TABLES TO ${role}`,
    })
    const { told, result } = await restored(backup, { into: withDatabase(serverUrl('14'), database) })
    expect(told).toEqual([])
    expect(
      result!.notes
        .filter((note) => note.startsWith('MAINTAIN'))
        .map((note) => note.split(':')[0])
        .sort(),
    ).toEqual([
      'MAINTAIN on defaultPrivilege postgres',
      'MAINTAIN on table public.kept',
      'MAINTAIN on table public.t',
    ])
    const given = `SELECT table_name || ' ' || string_agg(privilege_type || ' ' || is_grantable, ', ' ORDER BY privilege_type) AS rights FROM information_schema.role_table_grants WHERE grantee = '${role}' GROUP BY table_name ORDER BY table_name`
    const url = withDatabase(serverUrl('14'), database)
    expect((await ask<{ rights: string }>(url, given)).map(({ rights }) => rights)).toEqual([
      'kept SELECT NO',
      't DELETE YES, INSERT YES, REFERENCES YES, SELECT YES, TRIGGER YES, TRUNCATE YES, UPDATE YES',
    ])
  } finally {
    await outside.query(`DROP OWNED BY ${role}`).catch(() => undefined)
    await outside.query(`DROP ROLE ${role}`).catch(() => undefined)
    await older.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)
    await older.query(`DROP ROLE IF EXISTS ${role}`)
    await Promise.all([outside.end(), older.end()])
  }
})

test('where a REVOKE cannot be made, the grants beside it are withheld', async () => {
  const role = `r${Date.now().toString(36)}`
  const outside = new pg.Client(serverUrl('18'))
  await outside.connect()
  await outside.query(`CREATE ROLE ${role}`)
  try {
    await using backup = await Backup.start({
      setup: `CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
        CREATE FUNCTION closed() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION closed() FROM PUBLIC; GRANT EXECUTE ON FUNCTION closed() TO ${role};
        CREATE FUNCTION plain() RETURNS int LANGUAGE sql AS 'SELECT 2'; GRANT EXECUTE ON FUNCTION plain() TO ${role}`,
    })
    // The target's own administrators let nobody revoke.
    const into = await backup.emptyDatabase()
    const refused = `RAISE EXCEPTION 'nobody revokes here'`
    await ask(
      into,
      `CREATE FUNCTION never() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN ${refused}; END $$; CREATE EVENT TRIGGER never ON ddl_command_start WHEN TAG IN ('REVOKE') EXECUTE FUNCTION never()`,
    )
    const { url, told, script } = await restored(backup, { into })
    expect(told).toContain('rights on function public.closed')
    expect(script).toContain('withheld: a REVOKE could not be made')
    expect(script).toMatch(/GRANT EXECUTE ON FUNCTION "public"\."closed"\(\)/)
    const rights = `SELECT has_function_privilege('${role}', 'plain()', 'EXECUTE') AS plain, EXISTS (SELECT FROM pg_proc p, aclexplode(p.proacl) a WHERE p.proname = 'closed' AND a.grantee = '${role}'::regrole) AS closed`
    expect(await ask(url, rights)).toEqual([{ plain: true, closed: false }])
    await sameRows(backup, url)
  } finally {
    await outside.query(`DROP OWNED BY ${role}`)
    await outside.query(`DROP ROLE ${role}`)
    await outside.end()
  }
})

test('an index over a function that its owner declared IMMUTABLE against its extension', async () => {
  await using backup = await Backup.start({
    setup: `CREATE EXTENSION unaccent; ALTER FUNCTION unaccent(text) IMMUTABLE; CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Zoë');
      CREATE INDEX people_plain ON people (unaccent(name)); CREATE MATERIALIZED VIEW empty AS SELECT 1 AS one WITH NO DATA; CREATE MATERIALIZED VIEW filled AS SELECT unaccent(name) AS n FROM people`,
  })
  // Once more behind the reading, and in a transaction of its own.
  await backup.source.query('CREATE EXTENSION fuzzystrmatch')
  await backup.source.query('ALTER FUNCTION soundex(text) VOLATILE')
  await backup.source.query('ALTER FUNCTION soundex(text) IMMUTABLE')
  await backup.source.query('CREATE INDEX people_sound ON people (soundex(name))')
  await backup.durable()
  const { url, told } = await restored(backup)
  expect(told).toEqual([])
  await sameRows(backup, url)
  const state = `SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = 'people_plain'::regclass) AS valid, (SELECT provolatile::text FROM pg_proc WHERE oid = 'unaccent(text)'::regprocedure) AS v, (SELECT array_agg(relispopulated ORDER BY relname) FROM pg_class WHERE relkind = 'm' AND relnamespace = 'public'::regnamespace) AS filled`
  expect(await ask(url, state)).toEqual([{ valid: true, v: 'i', filled: [false, true] }])
})

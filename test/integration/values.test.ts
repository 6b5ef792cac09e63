/**
 * Values of every type come back byte for byte, with the server as oracle: through the base, through the stream, and
 * through an update that leaves a TOASTed value unchanged. Random values with a printed seed.
 */
import { describe, expect, test } from 'vitest'
import { random } from '../../services/demo/chat-traffic.ts'
import { Backup, digests, shown, testedVersions, oneVersion } from '../support/backup.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

const SETUP = `
CREATE EXTENSION hstore;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'we"ird, (one)');
CREATE DOMAIN price AS numeric(12,4) CHECK (value > -1000000);
CREATE DOMAIN word AS text;
CREATE TYPE pair AS (p int, q text);
CREATE TABLE every (
  id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(20,6), m money,
  t text, v varchar(200), c char(8), bin bytea, d date, ts timestamp, tz timestamptz, tm time, tmz timetz, iv interval,
  u uuid, j json, jb jsonb, x xml, inet_ inet, cidr_ cidr, mac macaddr, bits bit(9), vb varbit, pt point, bx box, path_ path, poly polygon, circ circle,
  r int4range, nr numrange, tr tstzrange, mr int4multirange, ia int[], ta text[][], ea mood[], e mood, dom price, w word, comp pair, h hstore, tsv tsvector, tsq tsquery, lsn_ pg_lsn, o oid, rc regclass, jp jsonpath, name_ name, "char_" "char");
CREATE TABLE "weird ""table" ("user-id" bigint PRIMARY KEY, "__proto__" text, "constructor" text, "a""b" text, "имя" text, "select" int);
CREATE TABLE full_identity (id int, big text, n int);
ALTER TABLE full_identity REPLICA IDENTITY FULL;
CREATE TABLE big_key (k text PRIMARY KEY, body text, n int);
ALTER TABLE big_key ALTER COLUMN k SET STORAGE EXTERNAL;
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;`

/** Literals of each column, hostile ones first. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  b: ['true', 'false'],
  i2: ['-32768', '32767', '0'],
  i4: ['-2147483648', '2147483647', '0', '-1'],
  i8: [
    '-9223372036854775808',
    '9223372036854775807',
    '9007199254740993',
    '-9007199254740993',
    '0',
    '1073741824',
    '-1073741825',
    '4398046511104',
  ],
  f4: [
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "'-0'",
    '7.038531e-26',
    '1e-45',
    '3.4028235e38',
    '0.1',
    '16777217',
  ],
  f8: [
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "'-0'",
    '0.30000000000000004',
    '5e-324',
    '1.7976931348623157e308',
    '1e21',
    '123456789012345680',
  ],
  n: ["'NaN'", '1e-100', "'12345678901234567890123456789.000'", '-0.10', '0'],
  n2: ['1.500000', '-99999999999999.123456'],
  m: ["'$1,234.50'", "'-$0.01'"],
  t: [
    "E'\\uFEFFbom'",
    "''",
    "E'\\\\N'",
    "E'tab\\tnew\\nline\\r\\\\back'",
    "'😀👩‍👩‍👧'",
    "repeat('x', 100000)",
    "E'\\x01\\x1f'",
  ],
  v: ["'x  '", "' lead'"],
  c: ["'ab'", "''"],
  bin: ["'\\x'", "'\\x00ff5c0a'", "decode(repeat('00ff', 60000), 'hex')"],
  d: [
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 BC'",
    "'0001-01-01'",
    "'9999-12-31'",
    "'10000-01-01'",
    "'2000-02-29'",
    "'1969-12-31'",
  ],
  ts: [
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 00:00:00 BC'",
    "'0001-01-01 00:00:00'",
    "'9999-12-31 23:59:59.999999'",
    "'1969-12-31 23:59:59.999999'",
    "'294276-12-31 23:59:59.999999'",
    "'2024-06-30 12:00:00.5'",
  ],
  tz: [
    "'infinity'",
    "'-infinity'",
    "'4713-01-02 00:00:00+00 BC'",
    "'0001-01-01 00:00:00+00'",
    "'9999-12-31 23:59:59.999999+00'",
    "'1600-01-01 00:00:00.000001+00'",
    "'2024-03-31 02:30:00+01'",
  ],
  tm: ["'00:00:00'", "'24:00:00'", "'23:59:59.999999'"],
  tmz: ["'12:00:00+05:30'"],
  iv: ["'1 mon 2 days 03:04:05.678901'", "'-178000000 years'", "'0'"],
  u: ["'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
  j: [`'{"a":1, "a":2,"b":12345678901234567890}'`, `'[1,  2]'`],
  jb: [`'{"b":12345678901234567890.123456789, "a": "\\u00e9"}'`, `'null'`],
  x: ["'<a>b</a>'"],
  inet_: ["'10.0.0.1/24'", "'::1'"],
  cidr_: ["'10.0.0.0/8'"],
  mac: ["'08:00:2b:01:02:03'"],
  bits: ["B'101010101'"],
  vb: ["B''", "B'1'"],
  pt: ["'(1.5,-0)'"],
  bx: ["'((0,0),(1,1))'"],
  path_: ["'[(0,0),(1,1)]'"],
  poly: ["'((0,0),(1,1),(2,0))'"],
  circ: ["'<(0,0),1.1>'"],
  r: ["'[1,5)'", "'empty'", "'(,)'"],
  nr: ["'[1.10,)'"],
  tr: [`'["2020-01-01 00:00:00+00",infinity]'`],
  mr: ["'{[1,2),[5,9)}'"],
  ia: ["'{1,NULL,-3}'", "'{}'", "'[0:1]={1,2}'"],
  ta: [`'{{"a b","c,d"},{NULL,"\\"q\\""}}'`],
  ea: [`'{sad,"we\\"ird, (one)"}'`],
  e: ["'sad'", `'we"ird, (one)'`],
  dom: ['1.50', '-0.0001'],
  w: ["'domain text'"],
  comp: [`ROW(1, 'x"y, z')::pair`, 'ROW(NULL, NULL)::pair', `ROW(2, '')::pair`],
  h: [`'a=>1, "b c"=>NULL, d=>"\\"x\\""'`],
  tsv: ["'a:1A fat:2B'"],
  tsq: ["'fat & rat'"],
  lsn_: ["'FFFFFFFF/FFFFFFFF'"],
  o: ['4294967295'],
  rc: ["'pg_class'"],
  jp: ["'$.a[*] ? (@ > 1)'"],
  name_: ["'some name'"],
  char_: ["'x'"],
}

function insert(next: () => number, id: number): string {
  const columns = Object.keys(VALUES)
  const values = columns.map((column) =>
    next() < 0.12 ? 'NULL' : VALUES[column]![Math.floor(next() * VALUES[column]!.length)]!,
  )
  return `INSERT INTO every (id, ${columns.join(', ')}) VALUES (${id}, ${values.join(', ')})`
}

/** One row per column and value, so that every one is tried whatever the seed. */
function exhaustive(from: number): string[] {
  let id = from
  return Object.entries(VALUES).flatMap(([column, values]) =>
    values.map((value) => `INSERT INTO every (id, ${column}) VALUES (${id++}, ${value})`),
  )
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test(`every type round trips (seed ${SEED})`, async () => {
    const next = random(SEED)
    await using backup = await Backup.prepare({ version, setup: SETUP })
    // Role and database settings that would change the text of values must not matter (hazard 43).
    await backup.source.query(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''German''', current_database()); EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());
      EXECUTE format('ALTER DATABASE %I SET intervalstyle = ''iso_8601''', current_database()); EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -3', current_database());
      EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kolkata''', current_database()); EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = ''1s''', current_database()); END $$`)
    for (const statement of exhaustive(1)) await backup.source.query(statement)
    for (let i = 0; i < 30; i++) await backup.source.query(insert(next, 1000 + i))
    await backup.init()
    await backup.up()
    for (const statement of exhaustive(2000)) await backup.source.query(statement)
    for (let i = 0; i < 30; i++) await backup.source.query(insert(next, 3000 + i))
    await backup.source.query('UPDATE every SET i4 = 5 WHERE id % 2 = 0')
    await backup.source.query('UPDATE every SET id = id + 10000 WHERE id % 5 = 0')
    await backup.source.query(
      `INSERT INTO "weird ""table" VALUES (1, 'p', 'c', 'q', 'имя', 2); UPDATE "weird ""table" SET "__proto__" = 'changed'`,
    )
    await backup.source.query(
      `INSERT INTO full_identity SELECT i, repeat(md5(i::text), 500), i FROM generate_series(1, 5) i`,
    )
    await backup.source.query('UPDATE full_identity SET n = n + 1')
    await backup.source.query(
      `INSERT INTO big_key SELECT repeat(md5(i::text), 80), repeat(md5(i::text), 4000), i FROM generate_series(1, 5) i`,
    )
    await backup.source.query('UPDATE big_key SET n = n + 1')
    await backup.source.query('INSERT INTO no_columns DEFAULT VALUES')
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })

  test('a table of plain types loads as binary, and as text where only text can say a value', async () => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE plain (id bigint PRIMARY KEY, a int2, b int, c float4, d float8, e bool, f date, g timestamp, h timestamptz, i uuid, j jsonb, k json, l text, m varchar(9), n char(5), o bytea, p name); CREATE TABLE ancient (id int PRIMARY KEY, at date, n int)',
    })
    await backup.source.query(`INSERT INTO plain VALUES (-9223372036854775808, -5, -2147483648, 'NaN', '-0', true, 'infinity', '-infinity', '9999-12-31 23:59:59.999999+00', gen_random_uuid(), '{"a":1.50}', '{"a": 1}', E'tab\\t\\\\', 'v', 'c', '\\x00ff', 'n'),
      (9007199254740993, 32767, 5, 0.1, 5e-324, false, '0001-01-01', '1600-01-01 00:00:00.000001', '-infinity', NULL, NULL, NULL, '', '', '', '', ''), (1, NULL, NULL, 3.4e38, 1e308, NULL, '1999-12-31', '2000-01-01', '1999-12-31 23:59:59.999999+00', gen_random_uuid(), '[]', '[]', '消息', 'x', 'y', '\\x', 'z')`)
    await backup.source.query(
      "INSERT INTO ancient SELECT i, '2020-01-01', i FROM generate_series(1, 1000) i; INSERT INTO ancient VALUES (5000, '0044-03-15 BC', 1); UPDATE ancient SET n = 7 WHERE id % 3 = 0",
    )
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })
})

test.each(oneVersion())(
  'keys that swap, move in chains, are deleted and used again (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE s (n int PRIMARY KEY, body text); INSERT INTO s SELECT i, repeat(md5(i::text), 3000) FROM generate_series(1, 20) i;`,
    })
    const run = async (sql: string): Promise<void> => void (await backup.source.query(sql))
    await run('UPDATE s SET n = 100 WHERE n = 1')
    await run('UPDATE s SET n = 1 WHERE n = 2')
    await run('UPDATE s SET n = 2 WHERE n = 100')
    await run('BEGIN; UPDATE s SET n = -n; UPDATE s SET n = 21 + n; COMMIT')
    await run('DELETE FROM s WHERE n = 5')
    await run("INSERT INTO s VALUES (5, 'fresh')")
    await run('UPDATE s SET n = 500 WHERE n = 6')
    await run('UPDATE s SET n = 6 WHERE n = 7')
    await run('DELETE FROM s WHERE n = 500')
    await run('BEGIN; SAVEPOINT a; DELETE FROM s; ROLLBACK TO a; COMMIT')
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  },
)

test.each(oneVersion())('SQL_ASCII databases keep bytes that are no UTF-8 (%s)', async (version) => {
  const createDatabase = "ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
  await using backup = await Backup.start({
    version,
    createDatabase,
    setup: `SET client_encoding = SQL_ASCII; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, E'caf\\351');`,
  })
  await backup.source.query("SET client_encoding = SQL_ASCII; INSERT INTO t VALUES (2, E'\\377\\200 tail')")
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test.each(oneVersion())('a sequence gives no value twice after a restore (%s)', async (version) => {
  await using backup = await Backup.start({
    version,
    setup:
      'CREATE TABLE s (id serial PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY, t text); CREATE SEQUENCE alone START 1000 INCREMENT 10;',
  })
  await backup.source.query(
    "INSERT INTO s (t) SELECT 'x' FROM generate_series(1, 50); SELECT nextval('alone'), nextval('alone')",
  )
  await backup.durable()
  await backup.source.query("INSERT INTO s (t) VALUES ('y')")
  await backup.durable()
  const { url } = await backup.restore('latest')
  const pg = await import('pg')
  const client = new pg.default.Client(url)
  client.on('error', () => undefined)
  await client.connect()
  const inserted = (
    await client.query<{ id: number; i: number }>("INSERT INTO s (t) VALUES ('after') RETURNING id, i")
  ).rows[0]!
  const alone = Number((await client.query<{ n: string }>("SELECT nextval('alone') AS n")).rows[0]!.n)
  await client.end()
  expect(inserted.id).toBeGreaterThan(51)
  expect(inserted.i).toBeGreaterThan(51)
  // Exact where a sample lies behind the point, further on where none does; always a value of its own.
  expect(alone).toBeGreaterThanOrEqual(1020)
  expect(alone % 10).toBe(0)
})

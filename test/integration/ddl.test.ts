/**
 * Every kind of schema change that needs no gap: the database is restored after each step and must equal the source,
 * in rows and in schema; only the listed changes may open a gap, and it closes by itself.
 */
import { describe, expect, test } from 'vitest'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'

const SETUP = `
CREATE TABLE m (id bigint PRIMARY KEY, body text, n int DEFAULT 7, v varchar(20));
INSERT INTO m SELECT i, repeat('long text ' || i, CASE WHEN i % 10 = 0 THEN 2000 ELSE 1 END), i, 'v' || i FROM generate_series(1, 200) i;
CREATE TABLE nokey (a int, b text);
INSERT INTO nokey SELECT i % 5, 'x' FROM generate_series(1, 50) i;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE moods (id int PRIMARY KEY, m mood);
INSERT INTO moods VALUES (1, 'sad'), (2, 'ok');`

/** Each with rows before and behind it, so that rows cross the change. */
const STEPS: readonly (readonly [string, readonly string[]])[] = [
  [
    'CREATE',
    ['CREATE TABLE fresh (id serial PRIMARY KEY, t text)', "INSERT INTO fresh (t) VALUES ('a'), ('b')"],
  ],
  [
    'CREATE TABLE AS',
    [
      'CREATE TABLE copied AS SELECT id, body FROM m WHERE id < 20',
      "UPDATE copied SET body = 'changed' WHERE id = 3",
    ],
  ],
  [
    'DROP',
    ['CREATE TABLE doomed (id int PRIMARY KEY)', 'INSERT INTO doomed VALUES (1)', 'DROP TABLE doomed'],
  ],
  [
    'drop and recreate',
    [
      'CREATE TABLE again (id int PRIMARY KEY)',
      'INSERT INTO again VALUES (1)',
      'DROP TABLE again',
      'CREATE TABLE again (name text PRIMARY KEY, x int)',
      "INSERT INTO again VALUES ('one', 1)",
    ],
  ],
  ['RENAME TABLE', ['ALTER TABLE fresh RENAME TO renamed', "INSERT INTO renamed (t) VALUES ('c')"]],
  ['ADD COLUMN', ['ALTER TABLE m ADD COLUMN plain text', "UPDATE m SET plain = 'set' WHERE id = 5"]],
  [
    'ADD COLUMN constant',
    [
      "ALTER TABLE m ADD COLUMN konst int DEFAULT 42, ADD COLUMN word text DEFAULT 'with \\ and ''quote'''",
      'UPDATE m SET konst = 43 WHERE id = 6',
    ],
  ],
  [
    'ADD COLUMN now()',
    ['ALTER TABLE m ADD COLUMN moment timestamptz DEFAULT now()', 'INSERT INTO m (id) VALUES (1000)'],
  ],
  [
    'ADD COLUMN stored generated',
    [
      'ALTER TABLE m ADD COLUMN doubled int GENERATED ALWAYS AS (n * 2) STORED',
      'UPDATE m SET n = 100 WHERE id = 7',
    ],
  ],
  ['DROP COLUMN', ['ALTER TABLE m DROP COLUMN plain', 'UPDATE m SET n = 101 WHERE id = 10']],
  ['RENAME COLUMN', ['ALTER TABLE m RENAME COLUMN word TO phrase', "UPDATE m SET phrase = 'p' WHERE id = 9"]],
  [
    'widening',
    ['ALTER TABLE m ALTER COLUMN konst TYPE bigint', 'UPDATE m SET konst = 5000000000 WHERE id = 20'],
  ],
  [
    'type change without rewrite',
    ['ALTER TABLE m ALTER COLUMN v TYPE text', "UPDATE m SET v = repeat('w', 30) WHERE id = 30"],
  ],
  [
    'defaults, constraints, indexes',
    [
      'ALTER TABLE m ALTER COLUMN n SET DEFAULT 8, ADD CONSTRAINT positive CHECK (n > 0), ADD UNIQUE (id, n)',
      'CREATE INDEX m_v ON m (v) WHERE n > 5',
      'INSERT INTO m (id) VALUES (1001)',
    ],
  ],
  ['enum values', ["ALTER TYPE mood ADD VALUE 'happy'", "INSERT INTO moods VALUES (3, 'happy')"]],
  ['TRUNCATE', ['TRUNCATE nokey', "INSERT INTO nokey VALUES (9, 'after')"]],
  ['VACUUM FULL, CLUSTER', ['VACUUM FULL m', 'CLUSTER m USING m_pkey', 'DELETE FROM m WHERE id = 40']],
  [
    'partitions',
    [
      'CREATE TABLE p (id int, k int, t text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k)',
      'CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)',
      "INSERT INTO p VALUES (1, 1, 'a'), (2, 2, 'b')",
      'CREATE TABLE p2 (k int NOT NULL, extra int, id int NOT NULL, t text)',
      'ALTER TABLE p2 DROP COLUMN extra',
      "INSERT INTO p2 VALUES (11, 3, 'c')",
      'ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)',
      'UPDATE p SET k = 15 WHERE id = 1',
    ],
  ],
  ['DETACH', ['ALTER TABLE p DETACH PARTITION p1', "INSERT INTO p1 VALUES (5, 100, 'free')"]],
  [
    'inheritance',
    [
      'CREATE TABLE parent (id int PRIMARY KEY, t text)',
      'CREATE TABLE child (extra int) INHERITS (parent)',
      "INSERT INTO parent VALUES (1, 'p')",
      "INSERT INTO child VALUES (2, 'c', 3)",
      'CREATE TABLE late_parent (id int)',
      'CREATE TABLE late_child (own text) INHERITS (late_parent)',
      "INSERT INTO late_child VALUES (1, 'x')",
      'ALTER TABLE late_parent ADD COLUMN more int DEFAULT 5',
    ],
  ],
  [
    'identity',
    [
      'ALTER TABLE nokey ADD COLUMN id int',
      'UPDATE nokey SET id = 1',
      'ALTER TABLE nokey ALTER COLUMN id SET NOT NULL, ADD PRIMARY KEY (id)',
      'ALTER TABLE nokey REPLICA IDENTITY DEFAULT',
      "UPDATE nokey SET b = 'keyed'",
    ],
  ],
  [
    'key dropped',
    [
      'ALTER TABLE nokey DROP CONSTRAINT nokey_pkey',
      "UPDATE nokey SET b = 'unkeyed'",
      'DELETE FROM nokey WHERE a = 4',
    ],
  ],
]

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('schema changes without a gap', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const points: { readonly name: string; readonly at: string; readonly expected: readonly string[] }[] = []
    for (const [name, statements] of STEPS) {
      for (const statement of statements) await backup.source.query(statement)
      const at = (await backup.source.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn'))
        .rows[0]!.lsn
      points.push({ name, at, expected: shown(await digests(backup.sourceUrl)) })
    }
    await backup.durable()
    expect(backup.events.filter((event) => event.event === 'gap')).toEqual([])
    for (const { name, at, expected } of points.filter((_, i) => i % 4 === 3)) {
      const restored = await backup.restore(at)
      expect(shown(await digests(restored.url)), `after ${name}`).toEqual(expected)
    }
    const last = await backup.restore('latest')
    expect(shown(await digests(last.url))).toEqual(points.at(-1)!.expected)
    // A column that a parent got after the child had its own keeps its place, and is then the child's own too.
    await expectSameSchema(backup.sourceUrl, last.url, [
      'ALTER TABLE "public"."late_child" DROP COLUMN "more"',
      'ALTER TABLE "public"."late_child" DROP COLUMN "id"',
    ])
  })

  test('renamed enum labels and changed composite types: the tables that use them are read again', async () => {
    await using backup = await Backup.start({
      version,
      setup: `${SETUP} CREATE TYPE pair AS (p int, q text); CREATE TABLE pairs (id int PRIMARY KEY, one pair, many mood[]); INSERT INTO pairs VALUES (1, ROW(1, 'a')::pair, '{sad,ok}')`,
    })
    const before = shown(await digests(backup.sourceUrl))
    const at = (await backup.source.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn'))
      .rows[0]!.lsn
    await backup.source.query("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    await backup.source.query("INSERT INTO moods VALUES (5, 'blue')")
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length === 2)
    await backup.source.query('ALTER TYPE pair ADD ATTRIBUTE r int')
    await backup.source.query("INSERT INTO pairs VALUES (2, ROW(2, 'b', 3)::pair, '{blue}')")
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length === 3)
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    const earlier = await backup.restore(at)
    expect(shown(await digests(earlier.url))).toEqual(before)
  })

  test('what changes the text of stored composite values: the tables that have some are read again', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TYPE pair AS (p int, q text); CREATE TABLE pairs (id int PRIMARY KEY, one pair); INSERT INTO pairs VALUES (1, '(1,a)');
        CREATE TABLE person (id int PRIMARY KEY, name text); CREATE TABLE past (id int PRIMARY KEY, was person[]); INSERT INTO past VALUES (1, '{"(1,a)"}')`,
    })
    const closed = (): number => backup.events.filter((event) => event.event === 'gap-closed').length
    // The attribute that takes the name of a dropped one is another one, within one command as well.
    await backup.source.query('ALTER TYPE pair DROP ATTRIBUTE q, ADD ATTRIBUTE q text')
    await backup.until(() => closed() === 1)
    await backup.source.query('ALTER TABLE person DROP COLUMN name, ADD COLUMN name text')
    await backup.until(() => closed() === 2)
    await backup.source.query('ALTER TABLE person ALTER name SET DEFAULT 1')
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    expect(closed()).toBe(2)
  })

  test('changes that rewrite rows open a gap that closes by itself', async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.source.query('CREATE EXTENSION IF NOT EXISTS pgcrypto').catch(() => undefined)
    const before = await backup.head()
    const changes = [
      'ALTER TABLE m ADD COLUMN dice float8 DEFAULT random()',
      "ALTER TABLE m ALTER COLUMN n TYPE text USING 'n' || n",
      'CREATE UNLOGGED TABLE ul (id int PRIMARY KEY)',
      'INSERT INTO ul VALUES (1), (2)',
      'ALTER TABLE ul SET LOGGED',
      'INSERT INTO ul VALUES (3)',
    ]
    for (const change of changes) await backup.source.query(change)
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length === 3)
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    const inside = backup.repository.catalog.gaps[0]!
    expect(inside.from > before).toBe(true)
    await expect(
      backup.restore(`${inside.from >> 32n}/${(inside.from & 0xffffffffn).toString(16)}`),
    ).rejects.toMatchObject({ code: 'GAP' })
    const without = await backup.restore(
      `${inside.from >> 32n}/${(inside.from & 0xffffffffn).toString(16)}`,
      { exceptTables: ['public.m'] },
    )
    expect(shown(await digests(without.url)).map((line) => line.split(':')[0])).toEqual([
      'public.moods',
      'public.nokey',
    ])
  })
})

/** Columns that look alike and are others: dropped and added again, exchanged by name, made ordinary; rows must not mix. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, shown, testedVersions, oneVersion } from '../support/backup.ts'
import { positionText } from '../../services/core/position.ts'

const SETUP = `
CREATE TABLE keyed (id int PRIMARY KEY, v text, n int);
INSERT INTO keyed SELECT i, 'old' || i, i FROM generate_series(1, 20) i;
CREATE TABLE keyless (a int, v text);
INSERT INTO keyless SELECT i % 4, 'old' FROM generate_series(1, 12) i;`

/** Each entry is one transaction. */
const HISTORY: readonly string[] = [
  `UPDATE keyed SET v = 'before' || id WHERE id < 5; DELETE FROM keyless WHERE a = 3`,
  'ALTER TABLE keyed DROP COLUMN v; ALTER TABLE keyless DROP COLUMN v',
  'ALTER TABLE keyed ADD COLUMN v text; ALTER TABLE keyless ADD COLUMN v text',
  `UPDATE keyed SET v = 'after' || id WHERE id % 2 = 0; INSERT INTO keyed VALUES (100, 7, 'new')`,
  `INSERT INTO keyless VALUES (9, 'new'), (9, NULL); UPDATE keyless SET v = 'touched' WHERE a = 1`,
  // In one transaction, with rows before, between and behind.
  `UPDATE keyed SET v = 'x' WHERE id = 3; ALTER TABLE keyed DROP COLUMN v; UPDATE keyed SET n = n + 1 WHERE id < 4;
   ALTER TABLE keyed ADD COLUMN v text DEFAULT 'given'; UPDATE keyed SET v = 'y' WHERE id = 4`,
  `INSERT INTO keyless VALUES (5, 'kept'); ALTER TABLE keyless DROP COLUMN v, ADD COLUMN v text; INSERT INTO keyless VALUES (6, 'kept'); DELETE FROM keyless WHERE a = 0`,
  // Two columns of one type exchange their names.
  `ALTER TABLE keyed ADD COLUMN w text; UPDATE keyed SET w = 'w' || id`,
  'ALTER TABLE keyed RENAME COLUMN v TO t; ALTER TABLE keyed RENAME COLUMN w TO v; ALTER TABLE keyed RENAME COLUMN t TO w',
  `UPDATE keyed SET v = 'v after' WHERE id = 8; UPDATE keyed SET w = 'w after' WHERE id = 9; DELETE FROM keyed WHERE id = 10`,
  // The key itself is another column than before.
  'ALTER TABLE keyed DROP COLUMN id; ALTER TABLE keyed ADD COLUMN id int',
  'UPDATE keyed SET id = n * 10 WHERE n IS NOT NULL; UPDATE keyed SET id = -1 WHERE id IS NULL',
  'DELETE FROM keyed WHERE id = 80; ALTER TABLE keyed DROP COLUMN n',
  `INSERT INTO keyed (id, v) VALUES (1, 'last'), (1, 'last')`,
]

async function columnsOf(url: string): Promise<readonly string[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const { rows } = await client.query<{ text: string }>(
      `SELECT concat_ws(': ', c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)) AS text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY c.relname ORDER BY 1`,
    )
    return rows.map(({ text }) => text)
  } finally {
    await client.end()
  }
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('a generated column that becomes an ordinary one keeps its values, in the base and in partitions', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE g (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED);
        INSERT INTO g SELECT i, i FROM generate_series(1, 20) i;
        CREATE TABLE p (id int, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p SELECT i, i FROM generate_series(1, 20) i`,
    })
    await backup.source.query('INSERT INTO g VALUES (100, 7)')
    const before = positionText(await backup.head())
    const rows = shown(await digests(backup.sourceUrl))
    await backup.source.query(
      'ALTER TABLE g ALTER COLUMN twice DROP EXPRESSION; ALTER TABLE p ALTER COLUMN twice DROP EXPRESSION',
    )
    await backup.source.query('UPDATE g SET twice = -1 WHERE id < 5; INSERT INTO p VALUES (50, 1, 1)')
    await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length === 2)
    // It is no rewrite again and again.
    await backup.source.query('ALTER TABLE g ADD COLUMN more int; ALTER TABLE p ADD COLUMN more int')
    await backup.durable()
    expect(backup.events.filter((event) => event.event === 'gap')).toHaveLength(2)
    const restored = await backup.restore()
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    const earlier = await backup.restore(before)
    expect(shown(await digests(earlier.url))).toEqual(rows)
    const inside = positionText(backup.repository.catalog.gaps[0]!.from)
    await expect(backup.restore(inside)).rejects.toMatchObject({ code: 'GAP' })
  })
})

test.each(oneVersion())(
  "a child's columns stay in their order, whatever its parents got since (%s)",
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE parent (a int); CREATE TABLE child (b int, c int, a int) INHERITS (parent); CREATE TABLE grandchild (d int, e int) INHERITS (child);
      INSERT INTO grandchild VALUES (1, 2, 3, 4, 5)`,
    })
    const { source } = backup
    await backup.durable()
    await backup.stop()
    // No reading of the schema comes between.
    const points: { readonly at: string; readonly expected: readonly string[] }[] = []
    for (const sql of [
      'ALTER TABLE parent ADD COLUMN c int',
      'ALTER TABLE child ADD COLUMN d int',
      'ALTER TABLE parent ADD COLUMN f int',
      'ALTER TABLE ONLY parent ALTER COLUMN f SET DEFAULT 6; INSERT INTO child VALUES (7, 8, 9, 10, 11)',
    ]) {
      await source.query(sql)
      points.push({ at: positionText(await backup.head()), expected: await columnsOf(backup.sourceUrl) })
    }
    await backup.up()
    await backup.durable()
    for (const { at, expected } of points)
      expect(await columnsOf((await backup.restore(at)).url)).toEqual(expected)
  },
)

/** SET EXPRESSION came with PostgreSQL 17. */
test.each(testedVersions().filter((version) => Number(version) >= 17))(
  "a child's generated column computes as the child says (%s)",
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE elder (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED); CREATE TABLE heir (own int, PRIMARY KEY (id)) INHERITS (elder);
      CREATE TABLE like_it (own int, PRIMARY KEY (id)) INHERITS (elder); CREATE TABLE last (more int, PRIMARY KEY (id)) INHERITS (heir);
      INSERT INTO elder VALUES (1); INSERT INTO heir VALUES (2); INSERT INTO like_it VALUES (3); INSERT INTO last VALUES (4);
      ALTER TABLE ONLY heir ALTER COLUMN g SET EXPRESSION AS (id + 50)`,
    })
    await backup.durable()
    const before = { at: positionText(await backup.head()), expected: shown(await digests(backup.sourceUrl)) }
    await backup.source.query(
      'ALTER TABLE heir ALTER COLUMN g SET EXPRESSION AS (id + 60); ALTER TABLE last ALTER COLUMN g SET EXPRESSION AS (-id); INSERT INTO last VALUES (5), (6)',
    )
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    expect(restored.result?.unmade).toEqual([])
    expect(shown(await digests((await backup.restore(before.at)).url))).toEqual(before.expected)
  },
)

test.each(oneVersion())(
  'a column dropped and added again is another column, at every point (%s)',
  async (version) => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const points: { readonly at: string; readonly expected: readonly string[] }[] = []
    for (const transaction of HISTORY) {
      await backup.source.query(transaction)
      points.push({ at: positionText(await backup.head()), expected: shown(await digests(backup.sourceUrl)) })
    }
    await backup.durable()
    expect(backup.events.filter((event) => event.event === 'gap')).toEqual([])
    for (const [index, { at, expected }] of points.entries()) {
      if (index % 3 !== 1 && index !== points.length - 1) continue
      const restored = await backup.restore(at, index % 2 === 0 ? {} : { memoryBytes: 1000 })
      expect(shown(await digests(restored.url)), HISTORY[index]).toEqual(expected)
    }
  },
)

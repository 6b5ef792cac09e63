/**
 * What names something that got another name, and what was dropped, between two readings of the schema: a restore at a
 * point between has to be what the server itself printed there.
 */
import { describe, expect, test } from 'vitest'
import { Backup, testedVersions } from '../support/backup.ts'
import { dumpEntries, findPgDump } from '../support/dump-oracle.ts'

const SETUP = `
CREATE TABLE t1 (id int PRIMARY KEY, a text, b text); CREATE TABLE t2 (id int PRIMARY KEY, a text, c text, CHECK (c <> a));
CREATE TABLE child (id int PRIMARY KEY, one int REFERENCES t1 (id)); CREATE TABLE guarded (id int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON guarded USING (EXISTS (SELECT FROM t1 WHERE t1.b = 'x'));
CREATE VIEW v1 AS SELECT id, a, b FROM t1; CREATE VIEW v2 AS SELECT c FROM t2; CREATE MATERIALIZED VIEW m1 AS SELECT count(*) AS n FROM t2; CREATE VIEW over AS SELECT * FROM v1;
CREATE TYPE e1 AS ENUM ('a', 'b'); CREATE TYPE e2 AS ENUM ('c'); CREATE TABLE typed (x e1, y e2); CREATE FUNCTION f(x e1) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE DOMAIN d1 AS int CHECK (VALUE > 0); CREATE TABLE small (d d1);
CREATE SEQUENCE q1; CREATE SEQUENCE q2; CREATE TABLE counted (x int DEFAULT nextval('q1'), y int DEFAULT nextval('q2')); CREATE TABLE owner (id serial, other int); ALTER SEQUENCE q1 OWNED BY owner.other;
CREATE TABLE parts (id int, w text) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
CREATE TABLE tended (id int PRIMARY KEY, v text); CREATE INDEX tended_v ON tended (v); CREATE POLICY away ON tended USING (true); CREATE POLICY stays ON tended USING (id = 1);
CREATE TRIGGER away BEFORE UPDATE ON tended FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); CREATE RULE away AS ON DELETE TO tended DO INSTEAD NOTHING;
CREATE STATISTICS st ON a, b FROM t1; CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE uses (n int DEFAULT g()); CREATE CAST (text AS numrange) WITH INOUT`

/** Each a point of its own. */
const CHANGES: readonly string[] = [
  'ALTER TABLE t1 RENAME TO swap; ALTER TABLE t2 RENAME TO t1; ALTER TABLE swap RENAME TO t2',
  'ALTER TABLE t2 RENAME COLUMN a TO swap; ALTER TABLE t2 RENAME COLUMN b TO a; ALTER TABLE t2 RENAME COLUMN swap TO b',
  'ALTER TYPE e1 RENAME TO swap; ALTER TYPE e2 RENAME TO e1; ALTER TYPE swap RENAME TO e2',
  'ALTER SEQUENCE q1 RENAME TO swap; ALTER SEQUENCE q2 RENAME TO q1; ALTER SEQUENCE swap RENAME TO q2',
  'ALTER TABLE owner RENAME TO owning; ALTER DOMAIN d1 RENAME TO d2; ALTER TABLE parts RENAME TO whole',
  'ALTER FUNCTION g() RENAME TO h; ALTER TABLE child RENAME COLUMN one TO other',
  'ALTER TABLE tended ADD COLUMN w int; DROP POLICY away ON tended; DROP TRIGGER away ON tended; DROP RULE away ON tended; DROP INDEX tended_v',
]

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('what names it is right at a point between two readings', { timeout: 300_000 }, async (context) => {
    const pgDump = findPgDump()
    if ('missing' in pgDump) return context.skip(pgDump.missing)
    // Slow enough for no reading to come between.
    await using backup = await Backup.start({ version, setup: SETUP, rollMs: 6000 })
    const { source } = backup
    await backup.durable()
    const points: { readonly at: string; readonly sql: string; readonly entries: Map<string, string> }[] = []
    for (const sql of CHANGES) {
      await source.query(sql)
      const { l: at } = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l'))
        .rows[0]!
      points.push({ at, sql, entries: dumpEntries(pgDump.path, backup.sourceUrl) })
    }
    await backup.durable()
    for (const { at, sql, entries } of points) {
      const restored = await backup.restore(at)
      const got = dumpEntries(pgDump.path, restored.url)
      for (const [key, text] of entries) expect(got.get(key), `${sql}: ${key}`).toEqual(text)
      expect(
        [...got.keys()].filter((key) => !entries.has(key)),
        sql,
      ).toEqual([])
      expect(restored.result!.unmade, sql).toEqual([])
    }
  })
})

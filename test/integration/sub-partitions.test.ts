/** What hangs on a partitioned table and has no rows of its own comes back at every point between two readings of the schema. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, oneVersion } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'

const SETUP = `CREATE TABLE people (id int PRIMARY KEY);
  CREATE TABLE msg (id bigint, at int, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE TABLE msg_1 PARTITION OF msg FOR VALUES FROM (0) TO (10);
  CREATE TABLE msg_2 PARTITION OF msg FOR VALUES FROM (10) TO (20) PARTITION BY HASH (id);
  CREATE TABLE msg_20 PARTITION OF msg_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE TABLE msg_21 PARTITION OF msg_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST (at);
  CREATE UNLOGGED TABLE msg_210 PARTITION OF msg_21 FOR VALUES IN (10, 11);
  CREATE TABLE likes (id int, who int, PRIMARY KEY (id), CONSTRAINT likes_who FOREIGN KEY (who) REFERENCES people) PARTITION BY RANGE (id);
  CREATE TABLE likes_1 PARTITION OF likes FOR VALUES FROM (0) TO (10);
  INSERT INTO msg SELECT g, g % 12, 'x' FROM generate_series(0, 99) g;
  INSERT INTO people VALUES (1), (7); INSERT INTO likes VALUES (1, 1); CREATE TABLE tick (n int PRIMARY KEY, xid text)`

/** Each of them reaches those below, and is followed at once by one that a reading must not know at its point. */
const COMMANDS = [
  'CREATE INDEX msg_at ON msg (at)',
  'ALTER TABLE msg ADD CONSTRAINT at_low CHECK (at < 1000)',
  'ALTER TABLE msg ADD COLUMN w int DEFAULT 7, ALTER v SET NOT NULL',
  'CREATE INDEX msg_w ON msg (w)',
  `CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER seen BEFORE INSERT ON msg FOR EACH ROW EXECUTE FUNCTION seen()`,
  'ALTER TABLE msg ADD CONSTRAINT msg_who FOREIGN KEY (w) REFERENCES people; ALTER TABLE msg DROP CONSTRAINT msg_who',
  'ALTER TABLE msg DROP COLUMN w',
  'ALTER TABLE msg RENAME COLUMN v TO text; ALTER TABLE msg DROP CONSTRAINT at_low',
  'DROP INDEX msg_at',
  // Names no table of those that lose a constraint.
  'DROP TABLE people CASCADE',
]

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('at each point of a migration that no reading of the schema stands behind', {
    timeout: 300_000,
  }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    const { source } = backup
    await backup.durable()
    // In one go, so that no reading comes between.
    await source.query(
      COMMANDS.map(
        (sql, n) => `BEGIN; ${sql}; INSERT INTO tick VALUES (${n}, pg_current_xact_id()::text); COMMIT`,
      ).join('; '),
    )
    await backup.durable()
    const { rows } = await source.query<{ xid: string }>('SELECT xid FROM tick ORDER BY n')
    const reference = await backup.emptyDatabase()
    const client = new pg.Client(reference)
    await client.connect()
    try {
      await client.query(SETUP)
      for (const [n, sql] of COMMANDS.entries()) {
        await client.query(sql)
        const restored = await backup.restore(`xid:${rows[n]!.xid}`)
        expect(restored.result!.unmade, sql).toEqual([])
        await expectSameSchema(reference, restored.url).catch((error: unknown) => {
          throw new Error(`behind ${sql}`, { cause: error })
        })
      }
    } finally {
      await client.end()
    }
  })
})

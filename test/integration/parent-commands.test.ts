/**
 * What a command at a parent reaches of partitions and children is laid over what was known of them: at each point behind it, with
 * what changed without a record before, and with the indexes that were there and hang on the parent's from then on.
 */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, oneVersion } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'
import { unseen } from '../support/unseen.ts'

const SETUP = `CREATE TABLE msg (id bigint, at int, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE TABLE msg_1 PARTITION OF msg FOR VALUES FROM (0) TO (10);
  CREATE TABLE msg_2 PARTITION OF msg FOR VALUES FROM (10) TO (20);
  CREATE TABLE top (id int PRIMARY KEY, v text); CREATE TABLE low (own int PRIMARY KEY) INHERITS (top);
  CREATE INDEX msg_1_gone ON msg_1 (at, v); CREATE INDEX msg_1_told ON msg_1 (id, v); CREATE POLICY gone ON msg_1 USING (id = 1); CREATE POLICY kept ON msg_1 USING (id = 2);
  CREATE TRIGGER kept BEFORE UPDATE ON low FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
  INSERT INTO msg SELECT g, g % 12, 'x' FROM generate_series(0, 99) g; INSERT INTO low VALUES (1, 'x', 2); CREATE TABLE tick (n int PRIMARY KEY, xid text)`

const UNSEEN = [
  'CREATE POLICY made ON msg_1 AS RESTRICTIVE USING (id = 3)',
  'DROP POLICY gone ON msg_1',
  'ALTER POLICY kept ON msg_1 USING (id = 4)',
  'ALTER TABLE msg_1 ENABLE ROW LEVEL SECURITY',
  `COMMENT ON TABLE msg_1 IS 'said'`,
  `COMMENT ON COLUMN msg_1.v IS 'said of v'`,
  `COMMENT ON INDEX msg_1_told IS 'said of an index'`,
  `COMMENT ON CONSTRAINT msg_1_pkey ON msg_1 IS 'said of a key'`,
  'DROP INDEX msg_1_gone',
  'CREATE INDEX msg_1_own ON msg_1 (v, id)',
  'CREATE INDEX msg_1_other ON msg_1 (v, at)',
  'ALTER TABLE msg_1 CLUSTER ON msg_1_told',
  'ALTER TABLE msg_1 SET (fillfactor = 50)',
  `ALTER TABLE msg_1 ALTER v SET DEFAULT 'd'`,
  'ALTER TABLE low DISABLE TRIGGER kept',
  'CREATE TRIGGER made BEFORE UPDATE ON low FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
  'ALTER TABLE low ADD CONSTRAINT own_low CHECK (own < 1000)',
]

const SEEN = `COMMENT ON TABLE tick IS 'read again'`

/** Each is followed at once by the next, so that no reading comes between. */
const BEHIND = [
  'CREATE INDEX msg_at ON msg (at)',
  'ALTER TABLE msg ADD CONSTRAINT at_low CHECK (at < 1000)',
  'ALTER TABLE top ADD CONSTRAINT id_low CHECK (id < 1000)',
  'DROP INDEX msg_1_own',
  'DROP INDEX msg_at',
  'CREATE INDEX msg_at ON msg (at)',
  'ALTER TABLE msg ALTER at SET DEFAULT 5; ALTER TABLE top ALTER v SET NOT NULL',
  'ALTER TABLE msg DROP CONSTRAINT at_low',
  'SELECT 1',
]

const ATTACHED = `CREATE INDEX msg_1_v ON msg_1 (v); CREATE INDEX msg_2_v ON msg_2 (v); CREATE INDEX msg_1_lower ON msg_1 (lower(v), at); ALTER INDEX msg_1_lower ALTER COLUMN 1 SET STATISTICS 77;
  CREATE TABLE apart (id bigint, at int, v text) PARTITION BY HASH (id); CREATE TABLE apart_0 PARTITION OF apart FOR VALUES WITH (MODULUS 1, REMAINDER 0);
  ALTER TABLE apart ALTER id SET NOT NULL, ALTER at SET NOT NULL; CREATE UNIQUE INDEX apart_0_key ON apart_0 (id, at); CREATE INDEX apart_0_v ON apart_0 (v)`

/** None of them names the index that it hangs on another one. */
const ATTACHING = [
  'CREATE INDEX msg_v ON msg (v)',
  'CREATE INDEX msg_lower ON msg (lower(v), at)',
  'CREATE INDEX apart_v ON apart (v)',
  'CREATE INDEX apart_key ON ONLY apart (id, at)',
  'CREATE INDEX apart_0_at ON apart_0 (id, at); ALTER INDEX apart_key ATTACH PARTITION apart_0_at',
  'ALTER TABLE msg ATTACH PARTITION apart FOR VALUES FROM (20) TO (30)',
  'SELECT 1',
]

const HANGING = `SELECT c.relname::text AS index, p.relname::text AS on FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent WHERE c.relkind IN ('i', 'I') ORDER BY 1`

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

/** Runs the commands in one go and compares each point with a database in which they ran up to there. */
async function comparePoints(backup: Backup, before: string, commands: readonly string[]): Promise<void> {
  const { source } = backup
  await source.query(
    commands
      .map((sql, n) => `BEGIN; ${sql}; INSERT INTO tick VALUES (${n}, pg_current_xact_id()::text); COMMIT`)
      .join('; '),
  )
  await backup.durable()
  const { rows } = await source.query<{ xid: string }>('SELECT xid FROM tick ORDER BY n')
  const reference = await backup.emptyDatabase()
  const client = new pg.Client(reference)
  await client.connect()
  try {
    await client.query(before)
    for (const [n, sql] of commands.entries()) {
      await client.query(sql)
      const restored = await backup.restore(`xid:${rows[n]!.xid}`)
      expect(restored.result!.unmade, sql).toEqual([])
      expect(
        restored.result!.notes.filter((note) => /by hand|definitions may/.test(note)),
        sql,
      ).toEqual([])
      expect(await ask(restored.url, HANGING), sql).toEqual(await ask(reference, HANGING))
      await expectSameSchema(reference, restored.url).catch((error: unknown) => {
        throw new Error(`behind ${sql}`, { cause: error })
      })
    }
  } finally {
    await client.end()
  }
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('what changed without a record, and a reading saw, stays behind commands at the parent', {
    timeout: 300_000,
  }, async () => {
    await using backup = await Backup.start({ version, setup: SETUP })
    await backup.durable()
    await unseen(backup.source, UNSEEN)
    // A reading that has this has the others.
    await backup.source.query(SEEN)
    await backup.durable()
    await comparePoints(backup, [SETUP, ...UNSEEN, SEEN].join('; '), BEHIND)
  })

  test('an index that was there hangs on the one that its parent got', { timeout: 300_000 }, async () => {
    await using backup = await Backup.start({ version, setup: `${SETUP}; ${ATTACHED}` })
    await backup.durable()
    await comparePoints(backup, `${SETUP}; ${ATTACHED}`, ATTACHING)
  })
})

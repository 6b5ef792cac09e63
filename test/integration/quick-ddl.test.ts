/**
 * DDL that is faster than anybody can read it: definitions vanish while they are read, and the catalog is never quiet.
 * Capture goes on, rows become durable in their time, and the end comes back as it was.
 */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'

async function equalAt(backup: Backup, at: string): Promise<void> {
  const restored = await backup.restore(at)
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  await expectSameSchema(backup.sourceUrl, restored.url)
  expect(restored.result?.notes.filter((note) => !note.includes('sample'))).toEqual([])
}

/** What `up` said that is not its ordinary work. */
function troubles(backup: Backup): unknown[] {
  return backup.events.filter((event) => event.event === 'retry')
}

// What does not depend on the server's version.
describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a view without columns is a view', async () => {
    await using backup = await Backup.prepare({
      version,
      setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW before AS SELECT FROM t GROUP BY id',
    })
    await backup.init()
    await backup.up()
    await backup.source.query('CREATE VIEW v AS SELECT FROM t GROUP BY id; INSERT INTO t VALUES (1)')
    await backup.durable()
    expect(troubles(backup)).toEqual([])
    const restored = await backup.restore('latest')
    const client = new pg.Client(restored.url)
    await client.connect()
    const found = await client.query(
      "SELECT relname, relnatts::int AS columns FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    await client.end()
    expect(found.rows).toEqual([
      { relname: 'before', columns: 0 },
      { relname: 'v', columns: 0 },
    ])
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('tables, types, indexes and functions that are made, altered and dropped at once', async () => {
    await using backup = await Backup.start({
      version,
      setup: 'CREATE TABLE kept (id int PRIMARY KEY); INSERT INTO kept VALUES (1)',
    })
    await backup.source.query(`DO $$ BEGIN
      FOR i IN 1..100 LOOP
        CREATE TABLE quick (id serial PRIMARY KEY, a int, b text CHECK (b <> ''));
        CREATE INDEX quick_a ON quick (a);
        COMMIT;
        ALTER TABLE quick ALTER a TYPE bigint;
        CREATE TYPE quick_type AS ENUM ('one');
        CREATE FUNCTION quick_fn() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE VIEW quick_view AS SELECT id, a FROM quick;
        COMMIT;
        DROP TABLE quick CASCADE;
        DROP TYPE quick_type;
        DROP FUNCTION quick_fn();
        COMMIT;
      END LOOP;
    END $$`)
    await backup.source.query('CREATE TABLE after (id int PRIMARY KEY); INSERT INTO after VALUES (7)')
    await backup.source.query("INSERT INTO tidemark.marker (name) VALUES ('quiet')")
    await backup.durable()
    expect(troubles(backup)).toEqual([])
    await equalAt(backup, 'marker:quiet')
  }, 240_000)
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('indexes and primary keys dropped and made again in autocommit, by three sessions over many tables', async () => {
    const TABLES = 30
    await using backup = await Backup.start({
      version,
      rollMs: 1000,
      setup: Array.from(
        { length: TABLES },
        (_, i) =>
          `CREATE TABLE t${i} (id int PRIMARY KEY, v int, w text); CREATE INDEX t${i}_v ON t${i} (v); INSERT INTO t${i} SELECT g, g, 'x' FROM generate_series(1, 20) g; CREATE VIEW v${i} AS SELECT id, v FROM t${i};`,
      ).join('\n'),
    })
    const sessions = await Promise.all([1, 2, 3].map(() => backup.client()))
    const over = { yet: false }
    const migrate = async (client: pg.Client, session: number): Promise<void> => {
      for (let i = session; i < TABLES * 2; i += 3) {
        const t = i % TABLES
        for (const sql of [
          `DROP INDEX IF EXISTS t${t}_v`,
          `CREATE INDEX t${t}_v ON t${t} (v)`,
          `ALTER TABLE t${t} DROP CONSTRAINT t${t}_pkey`,
          `ALTER TABLE t${t} ADD PRIMARY KEY (id)`,
        ])
          await client.query(sql)
      }
    }
    const insert = async (): Promise<void> => {
      for (let i = 0; !over.yet; i++) {
        await backup.source.query(`INSERT INTO t${i % TABLES} VALUES (${1000 + i}, ${i}, 'during')`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const inserting = insert()
    await Promise.all(sessions.map((client, i) => migrate(client, i)))
    over.yet = true
    await inserting
    await backup.source.query("INSERT INTO tidemark.marker (name) VALUES ('migrated')")
    await backup.durable()
    expect(troubles(backup)).toEqual([])
    await equalAt(backup, 'marker:migrated')
  }, 240_000)
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a base is taken while indexes come and go', async () => {
    const TABLES = 20
    await using backup = await Backup.prepare({
      version,
      setup: Array.from(
        { length: TABLES },
        (_, i) =>
          `CREATE TABLE t${i} (id int PRIMARY KEY, v int); INSERT INTO t${i} SELECT g, g FROM generate_series(1, 20) g;`,
      ).join('\n'),
    })
    await backup.init()
    const client = await backup.client()
    const over = { yet: false }
    const churn = async (): Promise<void> => {
      for (let i = 0; !over.yet; i = (i + 1) % TABLES)
        for (const sql of [`CREATE INDEX passing ON t${i} (v)`, 'DROP INDEX passing']) await client.query(sql)
    }
    const churning = churn()
    try {
      await backup.up()
      await backup.until(() => backup.events.some((event) => event.event === 'base'))
    } finally {
      over.yet = true
      await churning
    }
    await backup.durable()
    expect(troubles(backup)).toEqual([])
    await equalAt(backup, 'latest')
  })
})

/** Schema changes that nobody recorded, records that are no longer needed, and sources without an administrator. */
import pg from 'pg'
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { removeFromSource } from '../../services/app/operations/init.ts'
import { positionOf, positionText } from '../../services/core/position.ts'
import { Backup, digests, oneVersion, serverUrl, shown, testedVersions } from '../support/backup.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'

async function asAdmin<T>(version: string, action: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(serverUrl(version))
  await client.connect()
  try {
    return await action(client)
  } finally {
    await client.end()
  }
}

async function equalToSource(backup: Backup, at = 'latest'): Promise<{ readonly url: string }> {
  const restored = await backup.restore(at)
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  return restored
}

/** What an INSERT without column names goes by. */
async function columnOrder(url: string): Promise<readonly unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  const found = await client.query(
    `SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS columns, array_agg(a.attinhcount::int ORDER BY a.attnum) FILTER (WHERE c.relname <> 'orphan') AS parents, array_agg(a.attnotnull ORDER BY a.attnum) AS not_null
       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped GROUP BY 1 ORDER BY 1`,
  )
  await client.end()
  return found.rows
}

/** The tables that the ledger has or had a gap of. */
function gapsOf(backup: Backup): string[] {
  return backup.repository.catalog.gaps.flatMap(({ scope }) =>
    scope.kind === 'table' ? [`${scope.schema}.${scope.name}`] : [],
  )
}

function hasClosedGaps(backup: Backup, tables: readonly string[]): boolean {
  const known = new Set(gapsOf(backup))
  expect(tables).toEqual(expect.arrayContaining([...known]))
  return tables.every((table) => known.has(table)) && backup.repository.catalog.openGaps.length === 0
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a schema change that the event trigger did not record becomes a gap, and the table is read again', async () => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE doomed (id int PRIMARY KEY); INSERT INTO t SELECT g, $$a$$ FROM generate_series(1, 50) g',
    })
    const { source } = backup
    await source.query('INSERT INTO other VALUES (1)')
    await backup.durable()
    // What is checked is known once a sample has passed.
    await backup.until(
      () =>
        backup.repository.catalog.generation!.checked > backup.repository.catalog.generation!.consistentPoint,
    )
    const before = positionText(positionOf(backup.repository.catalog.generation!.checked - 1n))
    for (const name of ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite'])
      await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
    await source.query(
      `ALTER TABLE t ALTER COLUMN v TYPE int USING length(v); ALTER TABLE t ADD COLUMN w text DEFAULT 'w'; INSERT INTO t VALUES (100, 1, 'x')`,
    )
    await source.query('CREATE TABLE fresh (id int); INSERT INTO fresh VALUES (1); DROP TABLE doomed')
    for (const name of ['tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite'])
      await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
    const inside = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l'))
      .rows[0]!.l
    await backup.until(() => hasClosedGaps(backup, ['public.doomed', 'public.fresh', 'public.t']))
    await source.query(`UPDATE t SET w = 'later' WHERE id < 10; UPDATE fresh SET id = 2`)
    await backup.durable()
    await equalToSource(backup)
    await expectSameSchema(backup.sourceUrl, (await backup.restore('latest')).url)
    await expect(backup.restore(inside)).rejects.toMatchObject({ code: 'GAP' })
    await backup.restore(before)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('without an administrator: changes of the schema are found by asking', async () => {
    const role = `owner_${randomBytes(4).toString('hex')}`
    await asAdmin(version, (client) => client.query(`CREATE ROLE ${role} LOGIN REPLICATION`))
    {
      await using backup = await Backup.prepare({ version, user: role, createDatabase: `OWNER ${role}` })
      await backup.source.query(`GRANT ALL ON SCHEMA public TO ${role}`)
      const app = await backup.client()
      await app.query(
        'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE bare (a int); CREATE TABLE doomed (id int PRIMARY KEY); CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO t SELECT g, $$a$$ FROM generate_series(1, 50) g; INSERT INTO bare VALUES (1); INSERT INTO p VALUES (1)',
      )
      await backup.init()
      await backup.up()
      await app.query('UPDATE t SET v = v || id; UPDATE bare SET a = 2; INSERT INTO p VALUES (2)')
      await backup.durable()
      await equalToSource(backup)
      await app.query(
        `ALTER TABLE t ADD COLUMN w text DEFAULT now()::text; UPDATE t SET v = 'x' WHERE id = 1; DROP TABLE doomed; CREATE TABLE fresh (a int, b text); INSERT INTO fresh VALUES (1, 'x'), (2, 'y')`,
      )
      await app.query(
        `CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (150)`,
      )
      await app.query('ALTER TABLE bare ALTER a TYPE int USING a + 1')
      await backup.until(() =>
        hasClosedGaps(backup, ['public.bare', 'public.doomed', 'public.fresh', 'public.p2', 'public.t']),
      )
      await app.query(
        `UPDATE fresh SET b = 'changed' WHERE a = 2; DELETE FROM t WHERE id = 5; UPDATE p SET id = id + 10; INSERT INTO bare VALUES (9)`,
      )
      await backup.durable()
      await equalToSource(backup)
      // Somebody else's table: it cannot be published by this role, so nobody knows its rows. Its name is known all the same.
      await backup.source.query(
        'CREATE TABLE strangers (id int PRIMARY KEY); INSERT INTO strangers VALUES (1)',
      )
      await backup.until(() =>
        backup.events.some((event) => event.event === 'untold' && event.tables.includes('public.strangers')),
      )
      // Nobody writes anything: that it is left out stands in the ledger all the same.
      await backup.until(() => gapsOf(backup).includes('public.strangers'))
      const gaps = backup.events.filter((event) => event.event === 'gap-closed').length
      await app.query('ALTER TABLE t ADD COLUMN z int')
      await backup.until(() => backup.events.filter((event) => event.event === 'gap-closed').length > gaps)
      await backup.durable()
      await expect(backup.restore('latest')).rejects.toMatchObject({
        code: 'GAP',
        message: expect.stringContaining('public.strangers') as string,
      })
      await backup.restore('latest', { exceptTables: ['public.strangers'] })
    }
    await asAdmin(version, (client) => client.query(`DROP ROLE ${role}`))
  })
})

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test('up runs as a role that may only replicate and read', async () => {
    const role = `backup_${randomBytes(4).toString('hex')}`
    await asAdmin(version, (client) => client.query(`CREATE ROLE ${role} LOGIN`))
    {
      await using backup = await Backup.prepare({
        version,
        grantTo: role,
        setup:
          'CREATE TABLE t (id serial PRIMARY KEY, v text); CREATE TABLE secret (id int PRIMARY KEY); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; INSERT INTO t (v) SELECT $$a$$ FROM generate_series(1, 50); INSERT INTO secret VALUES (1)',
      })
      await backup.init()
      const limited = new URL(backup.sourceUrl)
      limited.username = role
      await backup.up({ sourceUrl: limited.toString() })
      await backup.source.query(
        `ALTER TABLE t ADD COLUMN w int DEFAULT 5; INSERT INTO t (v) VALUES ('b'); INSERT INTO secret VALUES (2); CREATE TABLE later (a int); INSERT INTO later VALUES (1); UPDATE later SET a = 2; ALTER TABLE t ADD COLUMN x timestamptz DEFAULT clock_timestamp()`,
      )
      await backup.until(() => backup.events.some((event) => event.event === 'gap-closed'))
      await backup.durable()
      await equalToSource(backup)
      const restored = await backup.restore('latest')
      const client = new pg.Client(restored.url)
      await client.connect()
      expect(
        Number((await client.query<{ n: string }>(`SELECT nextval('t_id_seq') AS n`)).rows[0]!.n),
      ).toBeGreaterThan(51)
      await client.end()
      const forger = new pg.Client(limited.toString())
      await forger.connect()
      await expect(
        forger.query(`INSERT INTO tidemark.ddl (xid, command, kind) VALUES ('1', 'x', 'drop')`),
      ).rejects.toThrow(/permission denied/)
      await expect(forger.query(`SELECT tidemark.record_table('x', 't'::regclass)`)).rejects.toThrow(
        /permission denied/,
      )
      await expect(forger.query(`INSERT INTO t (v) VALUES ('no')`)).rejects.toThrow(/permission denied/)
      await forger.end()
      const rights = async (): Promise<unknown> =>
        (
          await backup.source.query(
            `SELECT rolreplication, rolbypassrls, pg_has_role(oid, 'pg_read_all_data', 'MEMBER') AS reads FROM pg_roles WHERE rolname = $1`,
            [role],
          )
        ).rows[0]
      expect(await rights()).toEqual({ rolreplication: true, rolbypassrls: true, reads: true })
      await backup.stop()
      const { left } = await removeFromSource(backup.sourceUrl)
      // Other tests have slots on this server: then it is said instead of done.
      if (left.length > 0) for (const statement of left) await backup.source.query(statement)
      expect(await rights()).toEqual({ rolreplication: false, rolbypassrls: false, reads: false })
    }
    await asAdmin(version, (client) => client.query(`DROP ROLE ${role}`))
  })
})

test.each(oneVersion())(
  'a table that is dropped without a record is told, however soon records are forgotten (%s)',
  async (version) => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE doomed (id int PRIMARY KEY); INSERT INTO doomed VALUES (1); CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p VALUES (1)',
    })
    const { source } = backup
    // What is left of the partition is a record of its parent's command.
    await source.query('ALTER TABLE p ADD COLUMN v int; INSERT INTO t VALUES (1)')
    await backup.durable()
    await source.query('ALTER EVENT TRIGGER tidemark_drop DISABLE')
    // In one transaction: no comparison with the catalog comes between the two.
    await source.query(
      'BEGIN; DROP TABLE doomed; DROP TABLE p1; SELECT tidemark.forget(pg_current_xact_id()); COMMIT',
    )
    await source.query('ALTER EVENT TRIGGER tidemark_drop ENABLE ALWAYS')
    await backup.until(() => hasClosedGaps(backup, ['public.doomed', 'public.p1']))
    await backup.durable()
    await equalToSource(backup)
  },
)

test.each(oneVersion())(
  'a drop that has its record is not told again, whichever of the two transactions began first (%s)',
  async (version) => {
    await using backup = await Backup.prepare({ version })
    await backup.init()
    const early = await backup.client()
    await early.query('BEGIN; SELECT pg_current_xact_id()')
    await backup.source.query('CREATE TABLE young (id int PRIMARY KEY)')
    await early.query('DROP TABLE young; COMMIT')
    // The record of the drop lies below, the table's own above.
    await backup.source.query(
      `SELECT tidemark.forget((SELECT max(xid::xid8::text::bigint)::text::xid8 FROM tidemark.ddl WHERE kind = 'table'))`,
    )
    expect((await backup.source.query('SELECT recorded, failed FROM tidemark.repair()')).rows).toEqual([
      { recorded: null, failed: [] },
    ])
    await backup.source.query('SELECT tidemark.forget(pg_current_xact_id())')
    expect((await backup.source.query('SELECT kind FROM tidemark.ddl WHERE xid IS NOT NULL')).rows).toEqual(
      [],
    )
  },
)

// What does not depend on the server's version.
describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('a schema change that cannot be recorded is said, and nothing counts as checked until it is', async () => {
    await using backup = await Backup.start({
      version,
      rollMs: 2000,
      setup: 'CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)',
    })
    const { source } = backup
    await source.query('INSERT INTO t VALUES (2, 2)')
    await backup.until(
      () =>
        backup.repository.catalog.generation!.checked > backup.repository.catalog.generation!.consistentPoint,
    )
    for (const name of ['tidemark_ddl', 'tidemark_rewrite'])
      await source.query(`ALTER EVENT TRIGGER ${name} DISABLE`)
    await source.query('ALTER TABLE t ALTER v TYPE text USING v::text')
    for (const name of ['tidemark_ddl', 'tidemark_rewrite'])
      await source.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`)
    const changedAt = await backup.head()
    // The recording fails, whatever the reason: here the function that makes it.
    await source.query('ALTER FUNCTION tidemark.record_one(text, oid) RENAME TO record_one_away')
    await source.query(`INSERT INTO t VALUES (3, 'three')`)
    await backup.until(() =>
      backup.events.some((event) => event.event === 'untold' && event.tables.includes('public.t')),
    )
    await source.query(`INSERT INTO t VALUES (4, 'four')`)
    await backup.durable()
    expect(backup.repository.catalog.generation!.checked < changedAt).toBe(true)
    await source.query('ALTER FUNCTION tidemark.record_one_away(text, oid) RENAME TO record_one')
    await source.query(`INSERT INTO t VALUES (5, 'five')`)
    await backup.until(() => backup.events.some((event) => event.event === 'gap-closed'))
    expect(backup.events.findLast((event) => event.event === 'untold')).toEqual({
      event: 'untold',
      tables: [],
    })
    // The gap begins before the change, not where it was noticed at last.
    expect(backup.repository.catalog.gaps[0]!.from < changedAt).toBe(true)
    await backup.durable()
    await equalToSource(backup)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('what was read before a table or a type got another name comes back with the name of then', async () => {
    await using backup = await Backup.start({
      version,
      rollMs: 1500,
      setup: `CREATE TABLE one (a int); CREATE TABLE two (a int); CREATE VIEW v AS SELECT a FROM one; CREATE TYPE e AS ENUM ('x'); CREATE TABLE u (e e)`,
    })
    const { source } = backup
    await backup.durable()
    // No reading of the schema comes between.
    await backup.stop()
    const results =
      (await source.query(`BEGIN; ALTER TABLE one RENAME TO other; ALTER TABLE two RENAME TO one; ALTER TABLE other RENAME TO two; ALTER TYPE e RENAME TO f; COMMIT;
      SELECT pg_current_wal_insert_lsn()::text AS l; BEGIN; CREATE TABLE later (id int); COMMIT`)) as unknown as {
        readonly rows: readonly { readonly l: string }[]
      }[]
    const at = results.find(({ rows }) => rows.length > 0)!.rows[0]!.l
    await backup.up()
    await backup.durable()
    const named = async (url: string): Promise<unknown> => {
      const client = new pg.Client(url)
      await client.connect()
      const { rows } = await client.query(
        `SELECT pg_get_viewdef('v'::regclass) AS v, atttypid::regtype::text AS type FROM pg_attribute WHERE attrelid = 'u'::regclass AND attname = 'e'`,
      )
      await client.end()
      return rows
    }
    const between = await backup.restore(at)
    expect(await named(between.url)).toEqual(await named(backup.sourceUrl))
    expect(between.result!.notes.filter((note) => note.includes('check it by hand'))).toEqual([])
    const whole = (await backup.restore('latest')).result!.notes
    expect(whole.filter((note) => note.includes('check it by hand'))).toEqual([])
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('records are removed from the source once they are durable, and older points keep their schema', async () => {
    await using backup = await Backup.start({
      version,
      rollMs: 300,
      setup: 'CREATE TABLE t (id int PRIMARY KEY)',
    })
    const { source } = backup
    const points: { at: string; rows: string[]; columns: number }[] = []
    for (let i = 0; i < 6; i++) {
      await source.query(
        `ALTER TABLE t ADD COLUMN c${i} text DEFAULT 'd${i}'; CREATE TABLE x${i} (id int PRIMARY KEY); INSERT INTO t (id) VALUES (${i}); INSERT INTO x${i} VALUES (1)`,
      )
      if (i > 0) await source.query(`DROP TABLE x${i - 1}`)
      const at = (await source.query<{ l: string }>('SELECT pg_current_wal_insert_lsn()::text AS l')).rows[0]!
        .l
      points.push({ at, rows: shown(await digests(backup.sourceUrl)), columns: i + 2 })
    }
    await backup.durable()
    // One record of each table and type that is there is all that stays.
    await backup.until(async () => {
      // A quiet stream passes the place of the question with its next heartbeat.
      await backup.durable()
      return (
        (await source.query<{ n: string }>(`SELECT count(*)::text AS n FROM tidemark.ddl`)).rows[0]!.n === '2'
      )
    })
    await source.query('ALTER TABLE t ADD COLUMN last int')
    await backup.durable()
    for (const { at, rows } of points) {
      const restored = await backup.restore(at)
      expect(shown(await digests(restored.url)), `at ${at}`).toEqual(rows)
    }
    await expectSameSchema(backup.sourceUrl, (await backup.restore('latest')).url)
  })
})

describe.each(oneVersion())('PostgreSQL %s', (version) => {
  test('children keep the order of their columns, however they came to inherit', async () => {
    const after = `CREATE TABLE late (b int, a int); ALTER TABLE late INHERIT p; INSERT INTO late VALUES (5, 6);
      CREATE TABLE grown (own int) INHERITS (q); ALTER TABLE q ADD COLUMN more int; INSERT INTO grown VALUES (7, 8, 9, 10)`
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE p (a int, b int); CREATE TABLE q (x int, y int);
        CREATE TABLE made () INHERITS (p); ALTER TABLE made ADD COLUMN own text; INSERT INTO made VALUES (1, 2, 'o');
        CREATE TABLE merged (a int, own text) INHERITS (p); INSERT INTO merged VALUES (1, 2, 'o');
        CREATE TABLE turned (b int, a int); ALTER TABLE turned INHERIT p; INSERT INTO turned VALUES (3, 4);
        CREATE TABLE two (y int, x int) INHERITS (p); ALTER TABLE two INHERIT q; INSERT INTO two VALUES (1, 2, 3, 4);
        CREATE TABLE both_parents (own int) INHERITS (q, p); INSERT INTO both_parents VALUES (1, 2, 3, 4, 5);
        CREATE TABLE origin (id int, n int, g int GENERATED ALWAYS AS (n * 4) STORED); CREATE TABLE strict (own text) INHERITS (origin);
        CREATE TABLE orphan (n int, own text) INHERITS (origin); INSERT INTO orphan (id, n, own) VALUES (1, 2, 'o')`,
    })
    await backup.source.query(after)
    // The parent loses the generated column as well, and the child that has `n` of its own keeps it: as a parent's.
    await backup.source.query(
      "ALTER TABLE origin DROP COLUMN n CASCADE; ALTER TABLE strict ALTER id SET NOT NULL; INSERT INTO orphan (id, n, own) VALUES (3, 4, 'p')",
    )
    await backup.durable()
    const restored = await equalToSource(backup)
    expect(await columnOrder(restored.url)).toEqual(await columnOrder(backup.sourceUrl))
  })
})

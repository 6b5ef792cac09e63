/** Serializable transactions that change the schema beside each other: what commits has its record. */
import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, shown, testedVersions } from '../support/backup.ts'
import { leftOut } from '../support/identities.ts'
import { expectSameSchema } from '../support/schema-oracle.ts'
import { unseen } from '../support/unseen.ts'

const CLIENTS = 3
const ROUNDS = 12

/** Each a transaction of its own, on a table of its client's. */
const COMMANDS = (table: string, round: number): readonly string[] => [
  `ALTER TABLE ${table} ADD COLUMN c${round} int`,
  `INSERT INTO ${table} (c${round}) VALUES (${round})`,
  `ALTER TABLE ${table} RENAME c${round} TO d${round}`,
  `INSERT INTO ${table} (d${round}) VALUES (${round})`,
  `ALTER TABLE ${table} ALTER d${round} SET DEFAULT ${round}`,
  `INSERT INTO ${table} DEFAULT VALUES`,
  `CREATE VIEW v_${table}_${round} AS SELECT d${round} FROM ${table}`,
]

const BEGIN = 'BEGIN ISOLATION LEVEL SERIALIZABLE'

/** Never tried again: without Tidemark none of them would have to be. @returns the transaction that committed */
async function serialized(client: pg.Client, sql: string): Promise<string> {
  await client.query(BEGIN)
  await client.query(sql)
  const { rows } = await client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')
  await client.query('COMMIT')
  return rows[0]!.xid
}

/** What there is of everything that a record compares with what was before, all its own. */
const WORLD = (p: string): string => `
  CREATE TYPE ${p}mood AS ENUM ('calm', 'glad'); CREATE TYPE ${p}pair AS (a int, b int);
  CREATE TABLE ${p}t (id int PRIMARY KEY, v text, m ${p}mood, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
  CREATE VIEW ${p}v AS SELECT v FROM ${p}t; CREATE TABLE ${p}keyless (a int); CREATE TABLE ${p}gone (id int PRIMARY KEY);
  CREATE TABLE ${p}row (id int PRIMARY KEY, a int); CREATE TABLE ${p}named (id int PRIMARY KEY, one ${p}row);
  CREATE TABLE ${p}p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
  CREATE TABLE ${p}p1 PARTITION OF ${p}p FOR VALUES FROM (0) TO (10); CREATE TABLE ${p}p2 PARTITION OF ${p}p FOR VALUES FROM (10) TO (20);
  CREATE FUNCTION ${p}f() RETURNS int LANGUAGE sql AS 'SELECT 1'`

/** One transaction's: each kind of record, and each list that Tidemark keeps in the source. */
const CHANGES = (p: string): readonly string[] => [
  `INSERT INTO ${p}t (id, v, m, n) VALUES (1, 'x', 'calm', 4)`,
  `CREATE TABLE ${p}new (a int)`,
  `INSERT INTO ${p}new VALUES (1)`,
  `ALTER TABLE ${p}t RENAME v TO w`,
  `ALTER TABLE ${p}t ADD c int DEFAULT 7`,
  `UPDATE ${p}t SET c = 8`,
  `ALTER TABLE ${p}row ADD c int`,
  `ALTER TABLE ${p}keyless ADD PRIMARY KEY (a)`,
  `ALTER TABLE ${p}new REPLICA IDENTITY FULL`,
  `DROP TABLE ${p}gone`,
  `ALTER TABLE ${p}p ADD c int`,
  `ALTER TABLE ${p}p DETACH PARTITION ${p}p2`,
  `INSERT INTO ${p}p2 VALUES (99, 'out', 1)`,
  `CREATE INDEX ON ${p}p (v)`,
  `GRANT SELECT ON ${p}t TO PUBLIC`,
  `GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor`,
  `REVOKE EXECUTE ON FUNCTION ${p}f() FROM PUBLIC`,
  `ALTER TYPE ${p}pair RENAME ATTRIBUTE a TO z`,
  `CREATE SEQUENCE ${p}s`,
  `COMMENT ON TABLE ${p}t IS 'told'`,
]
/** Those whose rows the stream does not tell. */
const REREAD = (p: string): readonly string[] => [
  `ALTER TABLE ${p}t ALTER twice DROP EXPRESSION`,
  `ALTER TABLE ${p}t ALTER n TYPE text USING n || '!'`,
  `ALTER TYPE ${p}mood RENAME VALUE 'calm' TO 'quiet'`,
]

const gaps = (backup: Backup): string[] =>
  [...new Set(backup.events.flatMap((event) => (event.event === 'gap' ? [event.table] : [])))].sort()

/** As many as were opened. */
const closed = (backup: Backup): Promise<void> =>
  backup.until(() => {
    const count = (event: string): number => backup.events.filter((one) => one.event === event).length
    return count('gap-closed') >= count('gap')
  })

/** The end comes back as it is at the source. */
async function expectSame(backup: Backup): Promise<void> {
  const restored = await backup.restore('latest')
  expect(restored.result?.unmade).toEqual([])
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  await expectSameSchema(backup.sourceUrl, restored.url)
}

describe.each(testedVersions())('PostgreSQL %s', (version) => {
  test.each(['COMMIT', 'PREPARE TRANSACTION'])(
    'two serializable transactions that both change the schema: %s of both',
    async (end) => {
      await using backup = await Backup.start({ version, setup: `${WORLD('a_')}; ${WORLD('b_')}` })
      const clients = [await backup.client(), await backup.client()]
      for (const client of clients) await client.query(`${BEGIN}; SELECT 1`)
      // GRANT … ON ALL TABLES writes the other one's tables as well: the server itself would let it wait.
      const [a, b] = ['a_', 'b_'].map((p) => CHANGES(p).filter((sql) => !/ALL TABLES/.test(sql)))
      for (const [i, sql] of a!.entries()) {
        await clients[0]!.query(sql)
        await clients[1]!.query(b![i]!)
      }
      for (const [i, client] of clients.entries())
        await client.query(end === 'COMMIT' ? end : `${end} '${backup.database}_${i}'`)
      if (end !== 'COMMIT')
        for (const i of [1, 0]) await backup.source.query(`COMMIT PREPARED '${backup.database}_${i}'`)
      await backup.durable()
      // Tables with values of the other's row type are read again.
      expect(gaps(backup)).toEqual(['public.a_named', 'public.b_named'])
      await closed(backup)
      await expectSame(backup)
    },
  )

  test('one after another, serializable transactions tell what all others do', async () => {
    await using backup = await Backup.start({ version, setup: WORLD('a_') })
    const app = await backup.client()
    for (const sql of CHANGES('a_')) await serialized(app, sql)
    await backup.durable()
    expect(gaps(backup)).toEqual(['public.a_named'])
    await closed(backup)
    // What they could not look at is compared, and nothing of it stays.
    await backup.until(async () => {
      const left = await backup.source.query(
        `SELECT FROM tidemark.unread UNION ALL SELECT FROM tidemark.identity WHERE given = ''`,
      )
      return left.rowCount === 0
    })
    expect(gaps(backup)).toEqual(['public.a_named'])
    for (const sql of REREAD('a_')) await serialized(app, sql)
    await backup.durable()
    expect(gaps(backup)).toEqual(['public.a_named', 'public.a_t'])
    await closed(backup)
    await expectSame(backup)
  })

  test('a change without a record is not hidden by a serializable one with one', async () => {
    await using backup = await Backup.start({
      version,
      setup: `${WORLD('a_')}; ${WORLD('b_')}; ${WORLD('c_')}`,
    })
    const app = await backup.client()
    await backup.durable()
    // No comparison of the catalog comes between.
    await backup.stop()
    await unseen(backup.source, [
      'ALTER TABLE a_t ADD x int',
      `ALTER TYPE b_mood RENAME VALUE 'calm' TO 'quiet'`,
      'ALTER TABLE b_gone ADD c int',
      'ALTER TABLE c_p1 RENAME TO c_first',
      'CREATE TABLE unknown (id int PRIMARY KEY)',
    ])
    for (const sql of [
      'ALTER TABLE a_t ADD c int',
      `ALTER TYPE b_mood ADD VALUE 'new'`,
      'DROP TABLE b_gone',
      'ALTER TABLE c_p ADD c int',
      'ALTER TABLE unknown ADD c int; INSERT INTO unknown VALUES (1)',
    ])
      await serialized(app, sql)
    const { rows } = await backup.source.query<{ at: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS at',
    )
    // What is not told yet stays to be compared.
    await backup.source.query('SELECT tidemark.forget(pg_snapshot_xmin(pg_current_snapshot()))')
    await backup.up()
    await backup.until(() => gaps(backup).length >= 5)
    await backup.durable()
    const told = ['a_t', 'b_gone', 'b_t', 'c_first', 'unknown'].map((name) => `public.${name}`)
    expect(gaps(backup)).toEqual(told)
    await expect(backup.restore(rows[0]!.at)).rejects.toMatchObject({ code: 'GAP' })
    await closed(backup)
    await expectSame(backup)
  })

  test('a serializable transaction that began before a change of its table is told as a gap, and commits', async () => {
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
    const clients = [await backup.client(), await backup.client()]
    for (const client of clients) await client.query(`${BEGIN}; SELECT 1`)
    await clients[1]!.query('ALTER TABLE t ADD b int; COMMIT')
    await clients[0]!.query('ALTER TABLE t ADD a int; INSERT INTO t VALUES (1, 2, 3); COMMIT')
    await backup.until(() => gaps(backup).length > 0)
    await closed(backup)
    await backup.durable()
    await expectSame(backup)
  })

  test.runIf(version === '18')('beside each other with a publication that is a list of tables', async () => {
    await using backup = await Backup.start({
      version,
      setup:
        'CREATE TABLE outside (a int, b int GENERATED ALWAYS AS (a) VIRTUAL); CREATE TABLE a_t (id int PRIMARY KEY); CREATE TABLE b_t (id int PRIMARY KEY)',
    })
    const clients = [await backup.client(), await backup.client()]
    for (const client of clients) await client.query(`${BEGIN}; SELECT 1`)
    // One behind the other: the server lets only one transaction at a time change a publication.
    for (const [i, client] of clients.entries())
      for (const sql of [
        'CREATE TABLE #new (a int PRIMARY KEY)',
        'INSERT INTO #new VALUES (1)',
        'CREATE TABLE #bare (a int)',
        'ALTER TABLE #t ADD v int',
        'ALTER TABLE #t DROP CONSTRAINT #t_pkey',
        'ALTER TABLE #t ADD PRIMARY KEY (id)',
        'INSERT INTO #t VALUES (1, 2)',
        'COMMIT',
      ])
        await client.query(sql.replaceAll('#', ['a_', 'b_'][i]!))
    await backup.until(() => gaps(backup).length > 0)
    await backup.durable()
    expect(gaps(backup)).toEqual(['public.outside'])
    const restored = await backup.restore('latest', { exceptTables: ['public.outside'] })
    expect(shown(await digests(restored.url))).toEqual(
      shown(await digests(backup.sourceUrl)).filter((row) => !row.startsWith('public.outside:')),
    )
  })

  test.runIf(version === '18')(
    'each of them makes the first table that makes the publication a list',
    async () => {
      await using backup = await Backup.start({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
      const clients = [await backup.client(), await backup.client()]
      for (const client of clients) await client.query(`${BEGIN}; SELECT 1`)
      const virtual = (name: string): string =>
        `CREATE TABLE ${name} (a int, b int GENERATED ALWAYS AS (a) VIRTUAL)`
      await clients[0]!.query(`${virtual('first')}; COMMIT`)
      await clients[1]!.query(`${virtual('second')}; INSERT INTO second VALUES (1); COMMIT`)
      await backup.until(async () => (await leftOut(backup)).length === 2)
      // Published without an identity that serves, it would fail.
      await backup.source.query('UPDATE second SET a = 2; INSERT INTO t VALUES (1)')
      await backup.source.query('DROP TABLE first, second')
      await closed(backup)
      await backup.durable()
      await expectSame(backup)
    },
  )

  test('a partition that leaves while others read, in a session that is serializable by default', async () => {
    await using backup = await Backup.start({
      version,
      setup: `CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1, 'x'), (11, 'y'); CREATE TABLE tick (xid text)`,
    })
    await backup.durable()
    const app = await backup.client()
    await app.query("SET default_transaction_isolation = 'serializable'")
    await app.query('ALTER TABLE p DETACH PARTITION p2 CONCURRENTLY')
    await app.query(`INSERT INTO p2 VALUES (15, 'out'); INSERT INTO tick VALUES (pg_current_xact_id()::text)`)
    await app.query('CREATE TABLE behind ()')
    await backup.durable()
    expect(gaps(backup)).toEqual([])
    await expectSame(backup)
    const { rows } = await app.query<{ xid: string }>('SELECT xid FROM tick')
    await app.query('DROP TABLE behind')
    const restored = await backup.restore(`xid:${rows[0]!.xid}`)
    await expectSameSchema(backup.sourceUrl, restored.url)
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  })

  test('what serializable transactions commit beside each other is recorded, and comes back', async () => {
    const tables = Array.from({ length: CLIENTS }, (_, i) => `t${i}`)
    await using backup = await Backup.start({
      version,
      setup: tables.map((table) => `CREATE TABLE ${table} (id serial PRIMARY KEY)`).join(';'),
    })
    const clients = await Promise.all(tables.map(() => backup.client()))
    const committed: { readonly xid: string; readonly sql: string }[] = []
    await Promise.all(
      tables.map(async (table, i) => {
        for (let round = 0; round < ROUNDS; round++)
          for (const sql of COMMANDS(table, round))
            committed.push({ sql, xid: await serialized(clients[i]!, sql) })
      }),
    )
    const { rows } = await backup.source.query<{ xid: string }>('SELECT DISTINCT xid FROM tidemark.ddl')
    const recorded = new Set(rows.map(({ xid }) => xid))
    const changes = committed.filter(({ sql }) => !sql.startsWith('INSERT'))
    expect(changes.filter(({ xid }) => !recorded.has(xid)).map(({ sql }) => sql)).toEqual([])
    await backup.durable()
    expect(backup.events.filter(({ event }) => event === 'gap')).toEqual([])
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    expect(restored.result?.unmade).toEqual([])
  })

  test('what is asked of the text of a command is asked whatever strings mean there', async () => {
    await using backup = await Backup.start({ version, setup: 'CREATE TABLE t (id int PRIMARY KEY, a text)' })
    const app = await backup.client()
    const notices: string[] = []
    app.on('notice', (notice) => notices.push(notice.message ?? ''))
    await app.query('SET standard_conforming_strings = off')
    await app.query('ALTER TABLE t ALTER a TYPE varchar(30)')
    await app.query('ALTER TABLE t ALTER a TYPE jsonb USING to_jsonb(a)')
    await app.query(
      'CREATE TABLE u (LIKE t); GRANT SELECT ON u TO PUBLIC; ALTER TABLE u REPLICA IDENTITY FULL; DROP TABLE u',
    )
    expect(notices).toEqual([])
  })
})

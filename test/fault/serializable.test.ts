/** Serializable transactions that change the schema beside each other: what commits has its record. */
import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'

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

/** Tried again where it cannot be serialized, as whoever uses this isolation does. @returns the transaction that committed */
async function serialized(client: pg.Client, sql: string): Promise<string> {
  for (let left = 200; ; left--)
    try {
      await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
      await client.query(sql)
      const { rows } = await client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')
      await client.query('COMMIT')
      return rows[0]!.xid
    } catch (error) {
      await client.query('ROLLBACK')
      if ((error as { code?: string }).code !== '40001' || left === 0) throw error
    }
}

describe.each(oneVersion())('PostgreSQL %s', (version) => {
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

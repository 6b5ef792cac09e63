/**
 * A copy and the log behind it make the table: nothing is missing, nothing there twice, whoever writes meanwhile. The server's own
 * table at the end is the oracle.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { dumpBinlog } from '../../services/engines/mysql/binlog/dump.ts'
import { readExecuted } from '../../services/engines/mysql/binlog/executed.ts'
import { NULL_VALUE, readImage } from '../../services/engines/mysql/binlog/rows.ts'
import { readTransactions } from '../../services/engines/mysql/binlog/transactions.ts'
import { openSnapshot } from '../../services/engines/mysql/copy/snapshot.ts'
import { type ExecutedGtids, withGtid } from '../../services/engines/mysql/events/gtid.ts'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { readValue } from '../../services/engines/mysql/values/value.ts'
import { random } from '../support/dice.ts'
import { type Flavour, startMysql, whyNoMysql } from '../support/parts/mysql.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const LARGEST = 1 << 26
const KEYS = 40
const TABLES = ['a', 'b']

type Rows = Map<string, string>

/** Random changes, several to a transaction, until told to end. */
async function write(url: string, seed: number, over: { yet: boolean }): Promise<number> {
  const next = random(seed)
  const { connection } = await connect(url)
  let done = 0
  for (; !over.yet; done++) {
    await connection.query('BEGIN')
    for (let i = 1 + next(4); i > 0; i--) {
      const [table, id] = [TABLES[next(2)]!, next(KEYS)]
      // The key's order: two writers never wait for each other in a circle for long; who loses begins again.
      const sql =
        next(3) === 0
          ? `DELETE FROM ${table} WHERE id = ${id}`
          : `INSERT INTO ${table} VALUES (${id}, ${next(1000)}) ON DUPLICATE KEY UPDATE v = v + 1`
      await connection.query(sql).catch((error: unknown) => {
        if (!(error instanceof Error && 'code' in error && error.code === 'ER_LOCK_DEADLOCK')) throw error
      })
    }
    await connection.query(next(8) === 0 ? 'ROLLBACK' : 'COMMIT')
  }
  await connection.end()
  return done
}

async function ended(writers: Promise<unknown>, over: { yet: boolean }): Promise<void> {
  over.yet = true
  await Promise.allSettled([writers])
}

/** Applies what the log has behind a set, until the server's own set is reached. */
async function catchUp(
  url: string,
  from: ExecutedGtids,
  to: string,
  tables: ReadonlyMap<string, Rows>,
): Promise<void> {
  const session = await connect(url)
  const request = { executed: from, serverId: 4242, heartbeatMs: 1000, largest: LARGEST }
  let known = from
  if (known.set.toString() === to) return session.connection.end()
  const events = dumpBinlog(session, request, new AbortController().signal)
  for await (const item of readTransactions(events, LARGEST)) {
    if (item.kind === 'begin') known = withGtid(known, item.begin.gtid)
    if (item.kind === 'untold') throw new Error('rows that nobody knows')
    if (item.kind === 'end' && known.set.toString() === to) return
    if (item.kind !== 'rows') continue
    const { table, rows } = item
    const held = tables.get(table.table)
    const offsets = new Int32Array(4)
    const values = (present: Uint8Array): string[] => {
      const { bytes } = readImage(rows.rows, table, present, offsets)
      return table.columns.map((column, i) => {
        const at = offsets[2 * i]!
        return at === NULL_VALUE ? 'null' : readValue(column, bytes, at, offsets[2 * i + 1]!).toString()
      })
    }
    while (rows.rows.left > 0) {
      const before = rows.before === undefined ? undefined : values(rows.before)
      const after = rows.after === undefined ? undefined : values(rows.after)
      // What is changed must be there as the log says it was: else something is missing, or there already.
      if (before !== undefined) {
        expect(held?.get(before[0]!)).toBe(before[1])
        held?.delete(before[0]!)
      }
      if (after !== undefined) {
        expect(held?.has(after[0]!)).toBe(false)
        held?.set(after[0]!, after[1]!)
      }
    }
  }
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)

  test.skipIf(why !== undefined)(
    `copies at any time, and the log behind each (seed ${SEED})`,
    { timeout: 600_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
      const over = { yet: false }
      try {
        await using bench = await startMysql(flavour, folder)
        const url = await bench.database('chat')
        const { connection, server } = await connect(url)
        for (const table of TABLES)
          await connection.query(`CREATE TABLE ${table} (id int PRIMARY KEY, v int)`)
        const writers = Promise.all([1, 2, 3].map((n) => write(url, SEED + n, over)))
        // Before the server goes, whatever happened.
        await using _ = { [Symbol.asyncDispose]: () => ended(writers, over) }
        const names = TABLES.map((name) => ({ schema: 'chat', name }))
        const copies: { executed: ExecutedGtids; tables: Map<string, Rows> }[] = []
        for (let i = 0; i < 12; i++) {
          const snapshot = await openSnapshot(url, names, LARGEST)
          const tables = new Map<string, Rows>()
          for (const name of names) {
            const rows: Rows = new Map()
            for await (const [id, v] of snapshot.rows(name)) rows.set(String(id), String(v))
            tables.set(name.name, rows)
          }
          copies.push({ executed: snapshot.executed, tables })
          await snapshot.close()
        }
        over.yet = true
        expect((await writers).every((done) => done > 0)).toBe(true)
        const end = (await readExecuted({ connection, server })).set.toString()
        for (const { executed, tables } of copies) {
          await catchUp(url, executed, end, tables)
          for (const name of TABLES) {
            const [rows] = await connection.query(`SELECT id, v FROM ${name} ORDER BY id`)
            const source = (rows as { id: number; v: number }[]).map(({ id, v }) => [String(id), String(v)])
            expect([...tables.get(name)!].sort(([a], [b]) => Number(a) - Number(b))).toEqual(source)
          }
        }
        expect(new Set(copies.map(({ executed }) => executed.set.toString())).size).toBeGreaterThan(3)
        await connection.end()
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  )
})

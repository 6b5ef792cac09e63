/**
 * Every type of MariaDB and MySQL, as the binlog brings it and as the server itself prints it: the server decides. Rows are
 * inserted, read from the log by their GTIDs, and compared byte by byte.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import { describe, expect, test } from 'vitest'
import { dumpBinlog } from '../../services/engines/mysql/binlog/dump.ts'
import { readExecuted } from '../../services/engines/mysql/binlog/executed.ts'
import { EVENT } from '../../services/engines/mysql/events/event.ts'
import type { ExecutedGtids } from '../../services/engines/mysql/events/gtid.ts'
import {
  ABSENT,
  NULL_VALUE,
  readImage,
  readRowsEvent,
  requireColumns,
} from '../../services/engines/mysql/binlog/rows.ts'
import { readTableMap, type TableMap } from '../../services/engines/mysql/events/table-map.ts'
import { openSnapshot } from '../../services/engines/mysql/copy/snapshot.ts'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { readValue } from '../../services/engines/mysql/values/value.ts'
import { BOTH, BYTES, type Case, MARIADB, MARIADB_BYTES, MYSQL } from '../support/mysql-types.ts'
import { type Flavour, type MysqlBench, startMysql, whyNoMysql } from '../support/parts/mysql.ts'

/** As the log brought it, in the order of the ids. */
type Value = string | Buffer | null

const LAST = 'over_and_out'

/** The second column of every table of the database, up to the table that ends it. */
async function logged(url: string, from: ExecutedGtids): Promise<Map<string, Value[]>> {
  const session = await connect(url)
  const found = new Map<string, Value[]>()
  const maps = new Map<number, TableMap>()
  const request = { executed: from, serverId: 4242, heartbeatMs: 1000, largest: 1 << 26 }
  for await (const event of dumpBinlog(session, request, new AbortController().signal)) {
    if (event.type === EVENT.tableMap) {
      const map = readTableMap(event.body)
      maps.set(map.id, map)
    }
    if (event.type !== EVENT.writeRows && event.type !== EVENT.writeRowsV1) continue
    const rows = readRowsEvent(event.body, 'write', event.type === EVENT.writeRows)
    const table = requireColumns(rows, maps.get(rows.tableId))
    if (table.table === LAST) return found
    expect(table.columns.map(({ name }) => name)).toEqual(['id', 'v'])
    expect(table.primaryKey).toEqual([0])
    const offsets = new Int32Array(2 * table.columns.length)
    const values = found.get(table.table) ?? []
    found.set(table.table, values)
    while (rows.rows.left > 0) {
      const { bytes } = readImage(rows.rows, table, rows.after!, offsets)
      expect(offsets[2]).not.toBe(ABSENT)
      values.push(
        offsets[2] === NULL_VALUE ? null : readValue(table.columns[1]!, bytes, offsets[2]!, offsets[3]!),
      )
    }
  }
  throw new Error('the log ended')
}

/** What the server says of the same rows. */
async function printed(
  connection: mysql.Connection,
  table: string,
  expression: string,
): Promise<(string | null)[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT HEX(${expression}) AS shown FROM ${table} ORDER BY id`,
  )
  return rows.map((row) => (row['shown'] as string | null)?.toLowerCase() ?? null)
}

function shownAs(type: string): string {
  // The server itself prints six digits of a FLOAT and loses the others.
  if (type === 'float') return 'CAST(v + 0e0 AS CHAR)'
  if (type === 'json') return 'CAST(CAST(v AS CHAR CHARACTER SET utf8mb4) AS BINARY)'
  return type.startsWith('bit') ? 'v' : 'CAST(v AS BINARY)'
}

function hexOf(value: Value): string | null {
  return value === null ? null : Buffer.from(value as string, 'utf8').toString('hex')
}

const float = (hex: string | null): number | null =>
  hex === null ? null : Math.fround(Number(Buffer.from(hex, 'hex').toString()))

async function compare(bench: MysqlBench, cases: readonly Case[]): Promise<void> {
  const url = await bench.database('matrix')
  const session = await connect(url)
  const { connection } = session
  try {
    const from = await readExecuted(session)
    const names = cases.map((_, i) => `m${i}`)
    for (const [i, [type, ...values]] of cases.entries()) {
      await connection.query(`CREATE TABLE ${names[i]} (id int PRIMARY KEY AUTO_INCREMENT, v ${type} NULL)`)
      for (const value of [...values, 'NULL'])
        await connection.query(`INSERT IGNORE INTO ${names[i]} (v) VALUES (${value})`)
    }
    await connection.query(`CREATE TABLE ${LAST} (id int)`)
    await connection.query(`INSERT INTO ${LAST} VALUES (1)`)
    const found = await logged(url, from)
    for (const [i, [type, ...values]] of cases.entries()) {
      const own = found.get(names[i]!)?.map(hexOf) ?? []
      const server = await printed(connection, names[i]!, shownAs(type))
      expect(server, type).toHaveLength(values.length + 1)
      if (type === 'float') expect(own.map(float), type).toEqual(server.map(float))
      else if (type.startsWith('bit'))
        expect(
          own.map((hex) => hex && BigInt(`0x${hex}`)),
          type,
        ).toEqual(server.map((hex) => hex && BigInt(`0x${hex}`)))
      else expect(own, type).toEqual(server)
    }
    // A copy of the table has the very bytes that the log had.
    const tables = names.map((name) => ({ schema: 'matrix', name }))
    const snapshot = await openSnapshot(url, tables, 1 << 26)
    for (const [i, [type]] of cases.entries()) {
      const copied: (string | null)[] = []
      for await (const [, value] of snapshot.rows(tables[i]!)) copied.push(hexOf(value!))
      expect(copied, type).toEqual(found.get(names[i]!)?.map(hexOf))
    }
    await snapshot.close()
  } finally {
    await connection.end()
  }
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)

  test.skipIf(why !== undefined)(
    'what the log says of every type is what the server prints',
    { timeout: 600_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
      try {
        await using bench = await startMysql(flavour, folder)
        await compare(bench, [
          ...BOTH,
          ...BYTES,
          ...(flavour === 'mariadb' ? [...MARIADB, ...MARIADB_BYTES] : MYSQL),
        ])
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  )
})

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
import { type Flavour, type MysqlBench, startMysql, whyNoMysql } from '../support/parts/mysql.ts'

/** A type and values of it, as SQL. */
type Case = readonly [type: string, ...values: string[]]

const BOTH: readonly Case[] = [
  ['tinyint', '-128', '127', '0'],
  ['tinyint unsigned', '255', '0'],
  ['smallint', '-32768', '32767'],
  ['smallint unsigned', '65535'],
  ['mediumint', '-8388608', '8388607'],
  ['mediumint unsigned', '16777215'],
  ['int', '-2147483648', '2147483647'],
  ['int unsigned', '4294967295'],
  ['bigint', '-9223372036854775808', '9223372036854775807', '9007199254740993'],
  ['bigint unsigned', '18446744073709551615', '9007199254740993'],
  ['float', '0.1', '-3.40282e38', '1e-30', '16777216', '0', '1.17549e-38', '123456.7'],
  [
    'double',
    '0.1',
    '1e15',
    '1e14',
    '123456789012345680',
    '1e-14',
    '1e-15',
    '-1.7976931348623157e308',
    '5e-324',
    '0',
    '-0e0',
  ],
  [
    'decimal(65,30)',
    '-12345678901234567890123456789012345.123456789012345678901234567890',
    '0.000000000000000000000000000001',
    '-0.5',
    '0',
  ],
  ['decimal(10,0)', '-1', '9999999999', '0'],
  ['decimal(5,5)', '0.12345', '-0.00001'],
  ['decimal(9,2) unsigned', '1.10'],
  ['decimal(18,9)', '-123456789.987654321', '10'],
  ['date', `'0000-00-00'`, `'2017-00-01'`, `'9999-12-31'`, `'2024-02-29'`],
  ['datetime', `'0000-00-00 00:00:00'`, `'9999-12-31 23:59:59'`, `'2017-00-00 00:00:01'`],
  ['datetime(3)', `'2020-01-02 03:04:05.678'`],
  ['datetime(6)', `'2020-01-02 03:04:05.000001'`],
  ['timestamp null', `'1970-01-01 00:00:01'`, `'2038-01-19 03:14:07'`, `'0000-00-00 00:00:00'`],
  ['timestamp(1) null', `'2020-01-02 03:04:05.1'`],
  ['timestamp(6) null', `'2020-01-02 03:04:05.123456'`],
  ['time', `'-01:00:00'`, `'838:59:59'`, `'-838:59:59'`, `'00:00:00'`],
  ['time(1)', `'-00:00:00.1'`, `'12:34:56.7'`, `'-12:34:56.9'`],
  ['time(3)', `'-00:00:00.001'`, `'-12:34:56.999'`],
  ['time(6)', `'-00:00:00.000001'`, `'12:00:00.999999'`],
  ['year', `'0000'`, '1901', '2155'],
  ['char(5)', `'ab'`, `''`, `'a  '`],
  ['char(255)', `repeat('é', 255)`],
  ['varchar(10)', `'é€😀'`, `' a '`],
  ['varchar(300)', `repeat('é', 300)`],
  ['tinytext', `'t'`],
  ['text', `'body'`, `''`],
  ['longtext', `repeat('a', 70000)`],
  ['binary(4)', `x'00ff0000'`, `x'61'`, `x'00000000'`],
  ['varbinary(300)', `x'00ff80'`, `x'6100'`],
  ['blob', `x'0001fe'`, `''`],
  ['mediumblob', `repeat(x'ff', 300)`],
  [`enum('a,b','c','it''s','é')`, `'a,b'`, '3', `'é'`, `'no label'`],
  [`set('x','y','it''s','é')`, `'x,it''s'`, `''`, '15'],
  ['varchar(10) character set latin1', `_latin1 x'8099e9'`],
  [`enum('é','b') character set latin1`, `'é'`],
  ['varchar(10) character set gbk', `_gbk x'c4e3'`],
  ['char(10) character set utf8mb3', `'é'`],
  ['text character set ucs2', `_ucs2 x'00e9'`],
  ['varchar(9) character set utf16', `_utf16 x'd83dde00'`],
]

const MARIADB: readonly Case[] = [
  ['json', `'{"a": [1, 2.50], "b": null}'`],
  ['text compressed', `repeat('compress me ', 100)`, `'s'`, `''`],
  ['varchar(500) compressed', `repeat('abc', 100)`],
  ['varbinary(500) compressed', `repeat(x'00ff', 200)`],
]

const MYSQL: readonly Case[] = [
  [
    'json',
    `'{"a": 1, "b": [1, 2.5, null, true, "x\\\\"y"], "c": {"d": -5, "e": 18446744073709551615}}'`,
    `'[]'`,
    `'{}'`,
    `'"s"'`,
    `'1e100'`,
    `'1.0'`,
    `'70000'`,
    `'-70000'`,
    `'{"ctl": "\\\\u0001\\\\n\\\\t\\\\u001f/é😀"}'`,
    `JSON_OBJECT('d', CAST('1.23' AS DECIMAL(5,2)), 't', CAST('-10:11:12.5' AS TIME(1)), 'dt', CAST('2020-01-02 03:04:05' AS DATETIME), 'da', CAST('2020-01-02' AS DATE), 'bin', CAST(x'00ff' AS BINARY))`,
    `(SELECT JSON_ARRAYAGG(n) FROM (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 900) SELECT n * 100000 AS n FROM r) s)`,
    `JSON_OBJECT('long', repeat('x', 70000), 'more', JSON_ARRAY(1, 70000, 'y'))`,
  ],
]

/** Types whose value is bytes by themselves: compared as the server's own bytes. */
const BYTES: readonly Case[] = [
  ['bit(1)', `b'1'`, `b'0'`],
  ['bit(10)', `b'1000000001'`],
  ['bit(64)', `x'8000000000000001'`],
  ['point', `ST_GeomFromText('POINT(1 2)')`],
  ['geometry', `ST_GeomFromText('LINESTRING(1 2,3 4)', 4326)`],
]
/** Kept as bytes in an order of their own; text is the server's. */
const MARIADB_BYTES: readonly Case[] = [
  ['inet6', `'2001:db8::1'`, `'::'`],
  ['uuid', `'123e4567-e89b-12d3-a456-426614174000'`],
]

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

/**
 * The binlog of real servers as transactions: where each ends, what cannot be taken as rows, and that whoever stops at a GTID and
 * begins again behind it misses nothing and gets nothing twice.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dumpBinlog } from '../../services/engines/mysql/binlog/dump.ts'
import { readExecuted } from '../../services/engines/mysql/binlog/executed.ts'
import { type ExecutedGtids, type Gtid, withGtid } from '../../services/engines/mysql/events/gtid.ts'
import { NULL_VALUE, readImage } from '../../services/engines/mysql/binlog/rows.ts'
import { type BinlogItem, readTransactions } from '../../services/engines/mysql/binlog/transactions.ts'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { readValue } from '../../services/engines/mysql/values/value.ts'
import { type Flavour, type MysqlBench, startMysql, whyNoMysql } from '../support/parts/mysql.ts'

const LARGEST = 1 << 26

/** One line for each thing that happens: what a reader of the log learns. */
function shown(item: BinlogItem): string[] {
  switch (item.kind) {
    case 'begin':
      return [`begin${item.begin.xa === undefined ? '' : ` ${item.begin.xa.step}`}`]
    case 'rows': {
      const { table, rows } = item
      const found: string[] = []
      const offsets = new Int32Array(2 * table.columns.length)
      const image = (present: Uint8Array): string => {
        const { bytes } = readImage(rows.rows, table, present, offsets)
        return table.columns
          .map((column, i) => {
            const at = offsets[2 * i]!
            return at === NULL_VALUE ? 'null' : readValue(column, bytes, at, offsets[2 * i + 1]!).toString()
          })
          .join(',')
      }
      while (rows.rows.left > 0) {
        const images = [rows.before, rows.after].filter((one) => one !== undefined).map(image)
        found.push(`${rows.kind} ${table.table} ${images.join(' -> ')}`)
      }
      return found
    }
    case 'statement':
      return [`statement ${item.words.replace(/ \/\*.*$/, '')}`]
    case 'untold':
      return [`untold ${item.why}${item.table === undefined ? '' : ` ${item.table.table}`}`]
    case 'end': {
      const { outcome } = item
      const how = outcome.kind === 'decided' ? (outcome.commits ? 'commits' : 'rolls back') : outcome.kind
      return ['prepared', 'decided'].includes(outcome.kind)
        ? [`${how} ${'xid' in outcome ? outcome.xid : ''}`]
        : [how]
    }
    case 'xa start':
    case 'quiet':
      return []
  }
}

/** Everything from `from` on, up to the insert into `last`. */
async function history(
  url: string,
  from: ExecutedGtids,
): Promise<{ lines: string[]; gtids: Gtid[]; times: bigint[] }> {
  const session = await connect(url)
  const lines: string[] = []
  const gtids: Gtid[] = []
  const times: bigint[] = []
  const request = { executed: from, serverId: 4242, heartbeatMs: 1000, largest: LARGEST }
  const events = dumpBinlog(session, request, new AbortController().signal)
  for await (const item of readTransactions(events, LARGEST)) {
    lines.push(...shown(item))
    if (item.kind === 'begin') gtids.push(item.begin.gtid)
    if (item.kind === 'end') times.push(item.committedAt)
    if (item.kind === 'end' && lines.some((line) => line.startsWith('write last ')))
      return { lines, gtids, times }
  }
  throw new Error('the log ended')
}

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)
  let folder: string
  let bench: MysqlBench

  beforeAll(async () => {
    if (why !== undefined) return
    folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
    bench = await startMysql(flavour, folder)
  }, 600_000)
  afterAll(async () => {
    if (why !== undefined) return
    await bench[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** What the log says of some statements, each by itself. */
  async function after(
    name: string,
    setup: readonly string[],
    statements: readonly string[],
  ): Promise<string[]> {
    const url = await bench.database(name)
    const session = await connect(url)
    const { connection } = session
    try {
      for (const sql of [...setup, 'CREATE TABLE last (id int)']) await connection.query(sql)
      const from = await readExecuted(session)
      for (const sql of [
        ...statements,
        'SET SESSION sql_log_bin = 1',
        'ROLLBACK',
        'INSERT INTO last VALUES (1)',
      ])
        await connection.query(sql)
      const { lines, gtids } = await history(url, from)
      // Whoever begins behind any of the transactions gets the rest, and nothing twice.
      let known = from
      for (const [i, gtid] of gtids.slice(0, -1).entries()) {
        known = withGtid(known, gtid)
        expect((await history(url, known)).gtids).toEqual(gtids.slice(i + 1))
      }
      return lines.slice(0, -3)
    } finally {
      await connection.end()
    }
  }

  test.skipIf(why !== undefined)('rows and their ends', async () => {
    const lines = await after(
      'plain',
      ['CREATE TABLE t (id int PRIMARY KEY, v varchar(10))'],
      [
        `INSERT INTO t VALUES (1, 'a'), (2, NULL)`,
        'BEGIN',
        `UPDATE t SET v = 'b' WHERE id = 2`,
        'DELETE FROM t WHERE id = 1',
        'COMMIT',
        'BEGIN',
        `INSERT INTO t VALUES (3, 'never')`,
        'ROLLBACK',
        'ALTER TABLE t ADD COLUMN w int',
        'INSERT INTO t VALUES (4, NULL, 5)',
        'TRUNCATE t',
      ],
    )
    expect(lines).toEqual([
      ...['begin', 'write t 1,a', 'write t 2,null', 'committed'],
      ...['begin', 'update t 2,null -> 2,b', 'delete t 1,a', 'committed'],
      ...['begin', 'statement ALTER TABLE T ADD COLUMN W INT', 'committed'],
      ...['begin', 'write t 4,null,5', 'committed'],
      ...['begin', 'statement TRUNCATE T', 'committed'],
    ])
  })

  test.skipIf(why !== undefined)(
    'what no row tells is told as that, whatever a session had set',
    async () => {
      const partial = flavour === 'mysql' ? ['SET SESSION binlog_row_value_options = PARTIAL_JSON'] : []
      const lines = await after(
        'untold',
        [
          `CREATE TABLE t (id int PRIMARY KEY, v varchar(10), j json)`,
          `INSERT INTO t VALUES (1, 'a', '{"long": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "n": 1}')`,
        ],
        [
          'SET SESSION binlog_row_image = MINIMAL',
          `UPDATE t SET v = 'b' WHERE id = 1`,
          'SET SESSION binlog_row_image = FULL',
          'SET SESSION binlog_format = STATEMENT',
          `UPDATE t SET v = 'c' WHERE id = 1`,
          'SET SESSION binlog_format = ROW',
          ...partial,
          ...(flavour === 'mysql' ? [`UPDATE t SET j = JSON_SET(j, '$.n', 2)`] : []),
        ],
      )
      expect(lines).toEqual([
        ...['begin', 'untold partial row image t', 'committed'],
        ...['begin', 'untold statement', 'committed'],
        ...(flavour === 'mysql' ? ['begin', 'untold partial JSON t', 'committed'] : []),
      ])
    },
  )

  test.skipIf(why !== undefined)('XA: prepared rows are neither until they are decided', async () => {
    const lines = await after(
      'xa',
      ['CREATE TABLE t (id int PRIMARY KEY)'],
      [
        ...[
          `XA START 'one', 'b', 7`,
          'INSERT INTO t VALUES (1)',
          `XA END 'one', 'b', 7`,
          `XA PREPARE 'one', 'b', 7`,
        ],
        `XA COMMIT 'one', 'b', 7`,
        ...[
          `XA START 'two'`,
          'INSERT INTO t VALUES (2)',
          `XA END 'two'`,
          `XA PREPARE 'two'`,
          `XA ROLLBACK 'two'`,
        ],
        ...[`XA START 'three'`, 'INSERT INTO t VALUES (3)', `XA END 'three'`, `XA COMMIT 'three' ONE PHASE`],
      ],
    )
    const [one, two] = [
      `${Buffer.from('one').toString('hex')}:62:7`,
      `${Buffer.from('two').toString('hex')}::1`,
    ]
    const [prepare, decide] = flavour === 'mariadb' ? [' prepare', ' decide'] : ['', '']
    expect(lines).toEqual([
      ...[`begin${prepare}`, 'write t 1', `prepared ${one}`, `begin${decide}`, `commits ${one}`],
      ...[`begin${prepare}`, 'write t 2', `prepared ${two}`, `begin${decide}`, `rolls back ${two}`],
      ...['begin', 'write t 3', 'committed'],
    ])
  })

  test.skipIf(why !== undefined)('compressed transactions, statements and rows', async () => {
    const on =
      flavour === 'mysql'
        ? 'SET SESSION binlog_transaction_compression = ON'
        : 'SET GLOBAL log_bin_compress = ON'
    const off = flavour === 'mysql' ? [] : ['SET GLOBAL log_bin_compress = OFF']
    const long = 'x'.repeat(3000)
    const lines = await after(
      'packed',
      ['CREATE TABLE t (id int PRIMARY KEY, v text)'],
      [
        on,
        `INSERT INTO t VALUES (1, '${long}'), (2, '${long}')`,
        `UPDATE t SET v = CONCAT(v, 'y')`,
        'DELETE FROM t WHERE id = 2',
        `ALTER TABLE t COMMENT '${'c'.repeat(1000)}'`,
        ...off,
      ],
    )
    expect(lines).toEqual([
      ...['begin', `write t 1,${long}`, `write t 2,${long}`, 'committed'],
      ...['begin', `update t 1,${long} -> 1,${long}y`, `update t 2,${long} -> 2,${long}y`, 'committed'],
      ...['begin', `delete t 2,${long}y`, 'committed'],
      ...[
        'begin',
        `statement ALTER TABLE T COMMENT '${'C'.repeat(200 - "ALTER TABLE T COMMENT '".length)}`,
        'committed',
      ],
    ])
  })

  test.skipIf(why !== undefined)(
    'a transaction of many megabytes, in files that roll on meanwhile',
    async () => {
      const url = await bench.database('large')
      const session = await connect(url)
      const { connection } = session
      try {
        await connection.query('CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, v longtext)')
        await connection.query('CREATE TABLE last (id int)')
        const from = await readExecuted(session)
        await connection.query('BEGIN')
        for (let i = 0; i < 3; i++)
          await connection.query(`INSERT INTO t (v) VALUES (REPEAT('z', 3000000)), ('short')`)
        await connection.query('COMMIT')
        await connection.query('FLUSH BINARY LOGS')
        await connection.query(`INSERT INTO t (v) VALUES ('behind')`)
        await connection.query('INSERT INTO last VALUES (1)')
        const { lines, times } = await history(url, from)
        expect(lines.map((line) => line.length)).toEqual([
          5,
          ...Array.from({ length: 3 }, () => [3_000_010, 15]).flat(),
          9,
          5,
          16,
          9,
          5,
          12,
          9,
        ])
        const now = BigInt(Date.now()) * 1000n
        for (const time of times) expect(Math.abs(Number(now - time))).toBeLessThan(600_000_000)
      } finally {
        await connection.end()
      }
    },
  )
})

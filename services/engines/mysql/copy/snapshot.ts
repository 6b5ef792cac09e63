/**
 * One consistent view of some tables, and the exact set of transactions that is in it. What is in the set must not be applied
 * again, all else of those tables must: nothing lost, nothing twice (hazard 70).
 */
import type mysql from 'mysql2/promise'
import { TidemarkError } from '../../../core/errors.ts'
import { readExecuted } from '../binlog/executed.ts'
import { type ExecutedGtids, MariadbGtids } from '../events/gtid.ts'
import { connect, type OpenSession, takeLine } from '../session/connect.ts'
import type { PacketLine } from '../session/packets.ts'
import { queryRows } from '../session/result-rows.ts'
import { quoteTable, type TableName } from '../dialect/names.ts'
import { type CopyColumn, floatOf, readColumns } from './table-columns.ts'

/** A value as the binlog's readers give it, in the column's own bytes. */
type CopiedRow = readonly (Buffer | null)[]

export interface TablesSnapshot {
  readonly executed: ExecutedGtids
  /** As they are selected. */
  columns(table: TableName): readonly CopyColumn[]
  /** Once for each table, one after the other. */
  rows(table: TableName): AsyncGenerator<CopiedRow>
  close(): Promise<void>
}

/** Seconds that a lock is waited for: whoever comes behind it waits as long. */
const LOCK_WAIT_SECONDS = 3

/**
 * @param largest bytes of the largest row
 * @throws TidemarkError SOURCE_UNREACHABLE, SOURCE_UNSUITABLE
 */
export async function openSnapshot(
  url: string,
  tables: readonly TableName[],
  largest: number,
): Promise<TablesSnapshot> {
  const session = await connect(url)
  try {
    const columns = new Map<string, readonly CopyColumn[]>()
    for (const table of tables) columns.set(quoteTable(table), await readColumns(session.connection, table))
    // Text comes in its own character set, byte by byte.
    await session.connection.query('SET character_set_results = NULL')
    const executed = await beginView(session, url, tables)
    return new Snapshot(executed, columns, takeLine(session, largest))
  } catch (error) {
    await session.connection.end().catch(() => undefined)
    throw error
  }
}

/** Begins one view of these tables in a session that is read on. @throws TidemarkError as `openSnapshot` */
export async function beginView(
  session: OpenSession,
  url: string,
  tables: readonly TableName[],
): Promise<ExecutedGtids> {
  await session.connection.query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ')
  return session.server.flavour === 'mariadb'
    ? await beginMariadb(session)
    : await beginMysql(session, url, tables)
}

/** MariaDB tells where in the log a snapshot stands; nobody has to wait. */
async function beginMariadb({ connection }: OpenSession): Promise<ExecutedGtids> {
  await connection.query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT BINLOG_GTID_POS(f.VARIABLE_VALUE, p.VARIABLE_VALUE) AS gtids FROM information_schema.SESSION_STATUS f, information_schema.SESSION_STATUS p
      WHERE f.VARIABLE_NAME = 'BINLOG_SNAPSHOT_FILE' AND p.VARIABLE_NAME = 'BINLOG_SNAPSHOT_POSITION'`,
  )
  const text: unknown = rows[0]?.['gtids']
  if (typeof text !== 'string')
    throw new TidemarkError(
      'SOURCE_UNSUITABLE',
      'the server does not say where in its binlog a snapshot stands',
      {
        next: 'log_bin and binlog_format = ROW in my.cnf',
      },
    )
  return { flavour: 'mariadb', set: MariadbGtids.parse(text) }
}

/**
 * While the tables are locked against writing no transaction of theirs can end: the set that is read meanwhile and the snapshot
 * agree on all that ended before. Readers are not held up, and writers only until both are there.
 */
async function beginMysql(
  session: OpenSession,
  url: string,
  tables: readonly TableName[],
): Promise<ExecutedGtids> {
  const lock = await connect(url)
  const { connection: locker } = lock
  try {
    await locker.query(`SET SESSION lock_wait_timeout = ${LOCK_WAIT_SECONDS}`)
    if (tables.length > 0)
      await locker.query(`LOCK TABLES ${tables.map((table) => `${quoteTable(table)} READ`).join(', ')}`)
    await session.connection.query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')
    return await readExecuted(lock)
  } catch (error) {
    throw isLockTimeout(error) ? held(tables) : error
  } finally {
    // The locks go with it.
    await locker.end().catch(() => undefined)
  }
}

function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ER_LOCK_WAIT_TIMEOUT'
}

function held(tables: readonly TableName[]): TidemarkError {
  const [one] = tables
  return new TidemarkError(
    'SOURCE_UNREACHABLE',
    `a transaction that is open holds ${one === undefined ? 'a table' : quoteTable(one)}${tables.length > 1 ? ' or another table' : ''}: a copy can begin when it ends`,
  )
}

class Snapshot implements TablesSnapshot {
  readonly executed: ExecutedGtids
  readonly #columns: ReadonlyMap<string, readonly CopyColumn[]>
  readonly #line: PacketLine

  constructor(
    executed: ExecutedGtids,
    columns: ReadonlyMap<string, readonly CopyColumn[]>,
    line: PacketLine,
  ) {
    this.executed = executed
    this.#columns = columns
    this.#line = line
  }

  columns(table: TableName): readonly CopyColumn[] {
    return this.#columns.get(quoteTable(table)) ?? []
  }

  async *rows(table: TableName): AsyncGenerator<CopiedRow> {
    const columns = this.columns(table)
    const sql = `SELECT ${columns.map(({ expression }) => expression).join(', ')} FROM ${quoteTable(table)}`
    for await (const { bytes, offsets } of queryRows(this.#line, sql))
      yield columns.map(({ isFloat }, i) => {
        const at = offsets[2 * i]!
        if (at < 0) return null
        const value = bytes.subarray(at, offsets[2 * i + 1])
        return isFloat ? floatOf(value) : value
      })
  }

  close(): Promise<void> {
    this.#line.close()
    return Promise.resolve()
  }
}

/**
 * Copies one range of one table under an exported snapshot: a short transaction that imports the snapshot, locks the
 * table and makes sure that it is still the one that the snapshot saw, and copies.
 */
import { TidemarkError } from '../../../core/errors.ts'
import { type TableVersion } from '../../../core/relation.ts'
import { quoteLiteral, quoteName, quoteTable } from '../dialect/quote.ts'
import { rowTooLarge } from '../../../core/row-limit.ts'
import { ByteSink } from '../../../core/byte-sink.ts'
import type { TupleEncoder } from './tuple-encoder.ts'
import { type CatalogNow, pinTable, proveName, type SeenTable, TableMoved } from '../snapshot/pinned-table.ts'
import { sqlState } from '../session/session.ts'
import type { WireSession } from '../session/wire-session.ts'

export interface CopyRange {
  readonly snapshot: string
  readonly table: TableVersion & SeenTable
  readonly from: number
  /** Exclusive; undefined for "to the end". */
  readonly to: number | undefined
}

/** A row of the table is larger than what is taken. */
export class RowRefused extends Error {}

/** A line of this size makes a block by itself. */
const LARGE_LINE = 1024 * 1024

/** The columns that are stored: all but generated ones, which a restore computes again. */
export function storedColumns(table: TableVersion): readonly string[] {
  return table.columns.filter((column) => column.isStored).map((column) => column.name)
}

/**
 * @param onBlock gets encoded Row records as they fill; where it returns a promise the socket waits for it
 * @throws TableMoved, RowRefused
 */
export async function copyRange(
  session: WireSession,
  range: CopyRange,
  now: CatalogNow,
  encoder: TupleEncoder,
  limits: { readonly blockBytes: number; readonly largestRow: number },
  onBlock: (bytes: Buffer, rows: number) => Promise<void> | undefined,
): Promise<number> {
  const { table } = range
  await session.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    await session.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(range.snapshot)}`)
    await pinTable((sql) => session.query(sql), table, now)
    const columns = storedColumns(table)
    const { blockBytes, largestRow } = limits
    const sink = new ByteSink(blockBytes + 64 * 1024)
    let rows = 0
    let total = 0
    const upper = range.to === undefined ? '' : ` AND ctid < '(${range.to},0)'::tid`
    const select = `SELECT ${columns.map(quoteName).join(', ')} FROM ONLY ${quoteTable(table)} WHERE ctid >= '(${range.from},0)'::tid${upper}`
    const hand = (bytes: Buffer, count: number): void => {
      const wait = onBlock(bytes, count)
      if (wait === undefined) return
      session.pause()
      // A failure reaches the caller of onBlock by itself; here it only must not leave the socket paused.
      wait.then(
        () => session.resume(),
        () => session.close(),
      )
    }
    const flush = (): void => {
      if (rows > 0) hand(sink.take(), rows)
      total += rows
      rows = 0
    }
    const onLine = (buffer: Buffer, start: number, end: number): void => {
      if (end - start >= LARGE_LINE) {
        flush()
        const own = new ByteSink(encoder.room(end - start))
        encoder.copyLine(own, buffer, start, end - 1)
        hand(own.view(), 1)
        total++
        return
      }
      // A table without columns still has rows: its lines are empty.
      if (columns.length > 0) encoder.copyLine(sink, buffer, start, end - 1)
      rows++
      if (sink.at >= blockBytes) flush()
    }
    await session.copyOut(`COPY (${select}) TO STDOUT`, onLine, {
      limit: largestRow,
      onRefused: (_, bytes) => {
        throw new RowRefused(rowTooLarge(bytes, largestRow))
      },
    })
    flush()
    await proveName((sql) => session.query(sql), table)
    await session.query('COMMIT')
    return total
  } catch (error) {
    if (!session.isClosed) await session.query('ROLLBACK')
    if (error instanceof TableMoved || error instanceof RowRefused) throw error
    if (sqlState(error) === '42501')
      throw new TidemarkError(
        'SOURCE_PRIVILEGE',
        `no right to read ${quoteTable(table)}, or row-level security filters it`,
        { cause: error, next: `GRANT SELECT ON ${quoteTable(table)} to the role, or ALTER ROLE … BYPASSRLS` },
      )
    throw error
  }
}

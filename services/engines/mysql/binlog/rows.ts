/**
 * Rows events: which columns a row has, which are NULL, and where the bytes of the others lie. What is absent is told apart from
 * NULL: with a partial row image a column that is not there is not known (hazard 53).
 */
import { TidemarkError } from '../../../core/errors.ts'
import { valueBytes } from '../values/value-bytes.ts'
import { ByteCursor } from '../events/byte-cursor.ts'
import type { TableMap } from '../events/table-map.ts'

/** Where a column's bytes lie. `at` is -1 where it is NULL, and -2 where the image does not have it. */
export const NULL_VALUE = -1
export const ABSENT = -2

/** A row as offsets into the event: two for each column, from and to. Used again for the next row. */
export interface RowImage {
  readonly bytes: Buffer
  readonly offsets: Int32Array
}

interface RowsHeader {
  readonly tableId: number
  /** The statement's last event: table ids are given out again behind it. */
  readonly endsStatement: boolean
  /** The statement does not look at foreign keys: nothing cascades. */
  readonly noForeignKeys: boolean
}

export type RowsKind = 'write' | 'update' | 'delete'

const STATEMENT_END = 0x01
const NO_FOREIGN_KEYS = 0x02

export interface RowsEvent extends RowsHeader {
  readonly kind: RowsKind
  /** Columns that the images have: before (update, delete) and after (write, update). */
  readonly before: Uint8Array | undefined
  readonly after: Uint8Array | undefined
  readonly count: number
  readonly rows: ByteCursor
}

/**
 * @param hasExtra version 2 of the event, with a part of variable length in its header
 * @throws TidemarkError PROTOCOL
 */
export function readRowsEvent(body: Buffer, kind: RowsKind, hasExtra: boolean): RowsEvent {
  const cursor = new ByteCursor(body)
  const tableId = cursor.uint(6)
  const flags = cursor.uint(2)
  // Its length counts itself.
  if (hasExtra) cursor.take(cursor.uint(2) - 2)
  const count = cursor.lengthEncoded()
  const bitmap = (): Uint8Array => Uint8Array.from(cursor.slice((count + 7) >> 3))
  const first = bitmap()
  const second = kind === 'update' ? bitmap() : undefined
  return {
    kind,
    tableId,
    endsStatement: (flags & STATEMENT_END) !== 0,
    noForeignKeys: (flags & NO_FOREIGN_KEYS) !== 0,
    before: kind === 'write' ? undefined : first,
    after: kind === 'write' ? first : second,
    count,
    rows: cursor,
  }
}

/** Whether an image has every column of its table. */
export function isFull(present: Uint8Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (((present[i >> 3]! >> (i & 7)) & 1) === 0) return false
  return true
}

/**
 * Reads the next image of a row.
 *
 * @param offsets room for two numbers a column
 * @throws TidemarkError PROTOCOL
 */
export function readImage(
  cursor: ByteCursor,
  table: TableMap,
  present: Uint8Array,
  offsets: Int32Array,
): RowImage {
  const { columns } = table
  let count = 0
  for (let i = 0; i < columns.length; i++) count += (present[i >> 3]! >> (i & 7)) & 1
  const nulls = cursor.take((count + 7) >> 3)
  let bit = 0
  for (let i = 0; i < columns.length; i++) {
    if (((present[i >> 3]! >> (i & 7)) & 1) === 0) {
      offsets[2 * i] = ABSENT
      continue
    }
    const isNull = ((cursor.bytes[nulls + (bit >> 3)]! >> (bit & 7)) & 1) === 1
    bit++
    if (isNull) {
      offsets[2 * i] = NULL_VALUE
      continue
    }
    const length = valueBytes(columns[i]!, cursor.bytes, cursor.at, cursor.end)
    offsets[2 * i] = cursor.take(length)
    offsets[2 * i + 1] = cursor.at
  }
  return { bytes: cursor.bytes, offsets }
}

/** The table that rows are of must have as many columns as the event says. */
export function requireColumns(event: RowsEvent, table: TableMap | undefined): TableMap {
  if (table === undefined)
    throw new TidemarkError('PROTOCOL', 'the binlog has rows of a table that it did not name before')
  if (event.count !== table.columns.length)
    throw new TidemarkError('PROTOCOL', 'the binlog has rows with other columns than their table')
  return table
}

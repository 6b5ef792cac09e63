/**
 * Whether a table's rows can be carried over a change of its schema without reading the table again, and how each
 * column's value comes about. Pure; the writer uses it to record gaps, the rebuild to build its fold stages.
 */
import type { CatalogColumn } from './catalog-table.ts'

/** Bits of pg_event_trigger_table_rewrite_reason() (PostgreSQL manual, "Event Trigger Functions"). */
const REWRITE = { persistence: 1, default: 2, column: 4, accessMethod: 8 } as const

const INT2 = 21
const INT4 = 23
const INT8 = 20

/** What a rewrite has to know of a column that was. */
export type ColumnType = Pick<CatalogColumn, 'attnum' | 'typeOid' | 'typmod'>

/** A wider integer: the same text, the same stored bytes. */
function isWidening(from: ColumnType, to: CatalogColumn): boolean {
  return (
    (from.typeOid === INT2 && (to.typeOid === INT4 || to.typeOid === INT8)) ||
    (from.typeOid === INT4 && to.typeOid === INT8)
  )
}

function sameType(a: ColumnType, b: CatalogColumn): boolean {
  return a.typeOid === b.typeOid && a.typmod === b.typmod
}

/**
 * What a table's record says against the one before it, whether or not a rewrite came with it.
 *
 * @returns undefined when the rows carry over, else the reason why the table must be read again
 */
export function assessAlteration(
  before: readonly { readonly attnum: number; readonly generated?: string | undefined }[],
  after: readonly CatalogColumn[],
): string | undefined {
  const old = new Map(before.map((column) => [column.attnum, column]))
  for (const column of after) {
    const was = old.get(column.attnum)
    // ALTER COLUMN … DROP EXPRESSION: the rows keep what was computed, and neither stream nor base ever had it.
    if ((was?.generated ?? '') !== '' && column.generated === '')
      return 'a generated column became an ordinary one, and its values were never streamed'
  }
  return undefined
}

/**
 * @param plain the statement was an ALTER TABLE of its own without USING: a changed integer type is then a widening
 * @returns undefined when the rows carry over, else the reasons why the table must be read again: one command may have several
 */
export function assessRewrite(
  reason: number,
  plain: boolean,
  before: readonly ColumnType[],
  after: readonly CatalogColumn[],
): string | undefined {
  const old = new Map(before.map((column) => [column.attnum, column]))
  const has = (bits: number): boolean => (reason & bits) !== 0
  const reasons = [
    has(REWRITE.persistence) ? 'the table changed between logged and unlogged' : undefined,
    has(REWRITE.column) ? assessColumns(plain, old, after) : undefined,
    has(REWRITE.default | REWRITE.column) ? assessAdded(old, after) : undefined,
  ].filter((text) => text !== undefined)
  return reasons.length === 0 ? undefined : reasons.join('; ')
}

type ColumnsBefore = ReadonlyMap<number, ColumnType>

function assessColumns(
  plain: boolean,
  old: ColumnsBefore,
  after: readonly CatalogColumn[],
): string | undefined {
  if (!plain) return 'a column was rewritten by an expression, or its type changed what its values say'
  let widened = false
  for (const column of after) {
    const was = old.get(column.attnum)
    if (was === undefined || column.generated !== '' || sameType(was, column)) continue
    if (!isWidening(was, column)) return 'a column changed to a type that rewrites its values'
    widened = true
  }
  return widened ? undefined : 'a column was rewritten'
}

function assessAdded(old: ColumnsBefore, after: readonly CatalogColumn[]): string | undefined {
  for (const column of after) {
    if (old.has(column.attnum) || column.generated !== '') continue
    if (column.identity !== '') return 'an identity column was added to rows that were there'
    if (column.hasDefault !== false && column.missing === undefined)
      return 'a column was added whose default differs from row to row'
  }
  return undefined
}

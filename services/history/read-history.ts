/** A table's changes between two points, in commit order, as plain objects: for people and for JSON lines. */
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, type Position, positionText } from '../core/position.ts'
import { OPERATIONS, type Operation } from '../core/transaction.ts'
import { ByteSource } from '../core/byte-source.ts'
import { impossibleKey, mayHold } from '../formats/key-range.ts'
import type { SegmentIndex } from '../formats/segment-index.ts'
import { formatInstant } from '../formats/temporal.ts'
import { textOfField } from '../formats/value-printer.ts'
import type { Repository } from '../repository/repository.ts'
import type { ResolvedPoint } from './point.ts'
import { readIndex } from './read-index.ts'
import type { RowLayout } from './row-layout.ts'
import { type ChangeBlock, ChangeCursor, changeBlocks } from './segment-reader.ts'

export interface HistoryLine {
  readonly position: string
  readonly ordinal: number
  readonly xid: number | null
  readonly committedAt: string | null
  readonly table: string
  readonly operation: Operation
  /** Column to server text; null is null, `unchanged` columns are named apart. */
  readonly old: Record<string, string | null> | null
  readonly new: Record<string, string | null> | null
  readonly unchanged: readonly string[]
}

/**
 * Changes with from < position <= to.
 *
 * @param key the leading columns of the replica identity, or all of them, as the server prints them: only changes of rows
 *   that have or had this key. Blocks that cannot hold it are not opened
 */
export async function* readHistory(
  repository: Repository,
  table: { readonly schema: string; readonly name: string },
  from: ResolvedPoint,
  to: ResolvedPoint,
  key: readonly string[] = [],
): AsyncGenerator<HistoryLine> {
  for await (const entry of to.generation.segments.segments(
    (c) => comparePositions(c.to, from.position) > 0 && comparePositions(c.from, to.position) < 0,
  )) {
    const index = await readIndex(repository, entry)
    const oids = new Set(
      index.tables.filter((t) => t.schema === table.schema && t.name === table.name).map((t) => t.oid),
    )
    if (oids.size === 0) continue
    const transactions = new Map(index.transactions.map((t) => [t.position, t]))
    const blocks: ChangeBlock[] = []
    for await (const block of changeBlocks(
      repository,
      entry.body,
      (oid) => oids.has(oid),
      neededBlocks(index, entry.body.objects.length, oids, key),
    ))
      blocks.push(block)
    const lines: { position: Position; ordinal: number; line: HistoryLine }[] = []
    for (const block of blocks) {
      const cursor = new ChangeCursor(block)
      while (cursor.next()) {
        if (
          comparePositions(cursor.position, from.position) <= 0 ||
          comparePositions(cursor.position, to.position) > 0
        )
          continue
        const transaction = transactions.get(cursor.position)
        const unchanged: string[] = []
        const line: HistoryLine = {
          position: positionText(cursor.position),
          ordinal: cursor.ordinal,
          xid: transaction?.transactionId ?? null,
          committedAt: transaction === undefined ? null : formatInstant(transaction.committedAt),
          table: `${block.layout.relation.schema}.${block.layout.relation.name}`,
          operation: OPERATIONS[cursor.operation]!,
          old: cursor.old.start < 0 ? null : values(block.layout, cursor.buffer, cursor.old, undefined),
          new: cursor.new.start < 0 ? null : values(block.layout, cursor.buffer, cursor.new, unchanged),
          unchanged,
        }
        if (hasKey(block.layout, line, key))
          lines.push({ position: cursor.position, ordinal: cursor.ordinal, line })
      }
    }
    lines.sort((a, b) => comparePositions(a.position, b.position) || a.ordinal - b.ordinal)
    for (const { line } of lines) yield line
  }
}

const KEY_FORM =
  'the same with --key and the leading values of the replica identity, as the server prints them; without --key every row is told'

/**
 * For each object, which of its blocks may hold what is wanted. The index has them in their order.
 *
 * @throws TidemarkError USAGE where no row can have this key
 */
function neededBlocks(
  index: SegmentIndex,
  objects: number,
  oids: ReadonlySet<number>,
  key: readonly string[],
): boolean[][] {
  const needed = Array.from({ length: objects }, (): boolean[] => [])
  for (const block of index.blocks) {
    const isWanted = oids.has(index.tables[block.table]!.oid)
    const wrong = isWanted && key.length > 0 ? impossibleKey(block.keys, key) : undefined
    if (wrong !== undefined)
      throw new TidemarkError('USAGE', `--key can fit no row: ${wrong}`, { next: KEY_FORM })
    needed[block.object]?.push(isWanted && (key.length === 0 || mayHold(block.keys, key)))
  }
  return needed
}

/** A TRUNCATE concerns every key. */
function hasKey(layout: RowLayout, line: HistoryLine, key: readonly string[]): boolean {
  if (key.length === 0 || line.operation === 'truncate') return true
  const names = layout.relation.columns.filter((column) => column.key).map((column) => column.name)
  const has = (row: Record<string, string | null> | null): boolean =>
    row !== null && key.every((text, i) => row[names[i] ?? ''] === text)
  return has(line.old) || has(line.new)
}

/** Without a prototype: a column may be named __proto__ (hazard 46). */
function values(
  layout: RowLayout,
  buffer: Buffer,
  slice: { readonly start: number; readonly end: number },
  unchanged: string[] | undefined,
): Record<string, string | null> {
  const out = Object.create(null) as Record<string, string | null>
  const source = new ByteSource(buffer, slice.start, slice.end)
  for (const [i, column] of layout.relation.columns.entries()) {
    const field = textOfField(source, layout.kinds[i]!)
    if (field.state === 'value' || field.state === 'null') out[column.name] = field.text
    else if (field.state === 'unchanged') unchanged?.push(column.name)
  }
  return out
}

/** A table's changes between two points, in commit order, as plain objects: for people and for JSON lines. */
import { compareLsn, formatLsn } from '../core/position.ts'
import { OPERATIONS, type Operation } from '../core/transaction.ts'
import { ByteSource } from '../formats/byte-source.ts'
import { formatInstant } from '../formats/temporal.ts'
import { textOfField } from '../formats/value-printer.ts'
import type { Repository } from '../repository/repository.ts'
import { readIndex, type ResolvedPoint } from './point.ts'
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

/** Changes with from < position <= to. */
export async function* readHistory(repository: Repository, table: { readonly schema: string; readonly name: string }, from: ResolvedPoint, to: ResolvedPoint): AsyncGenerator<HistoryLine> {
  for await (const entry of to.generation.segments.segments((c) => compareLsn(c.to, from.lsn) > 0 && compareLsn(c.from, to.lsn) < 0)) {
    const index = await readIndex(repository, entry)
    const oids = new Set(index.tables.filter((t) => t.schema === table.schema && t.name === table.name).map((t) => t.oid))
    if (oids.size === 0) continue
    const transactions = new Map(index.transactions.map((t) => [t.lsn, t]))
    const blocks: ChangeBlock[] = []
    for await (const block of changeBlocks(repository, entry.body, (oid) => oids.has(oid))) blocks.push(block)
    const lines: { lsn: bigint; ordinal: number; line: HistoryLine }[] = []
    for (const block of blocks) {
      const cursor = new ChangeCursor(block)
      while (cursor.next()) {
        if (compareLsn(cursor.lsn, from.lsn) <= 0 || compareLsn(cursor.lsn, to.lsn) > 0) continue
        const transaction = transactions.get(cursor.lsn)
        const unchanged: string[] = []
        const line: HistoryLine = {
          position: formatLsn(cursor.lsn),
          ordinal: cursor.ordinal,
          xid: transaction?.xid ?? null,
          committedAt: transaction === undefined ? null : formatInstant(transaction.committedAt),
          table: `${block.layout.relation.schema}.${block.layout.relation.name}`,
          operation: OPERATIONS[cursor.operation]!,
          old: cursor.old.start < 0 ? null : values(block.layout, cursor.buffer, cursor.old, undefined),
          new: cursor.new.start < 0 ? null : values(block.layout, cursor.buffer, cursor.new, unchanged),
          unchanged,
        }
        lines.push({ lsn: cursor.lsn, ordinal: cursor.ordinal, line })
      }
    }
    lines.sort((a, b) => (a.lsn < b.lsn ? -1 : a.lsn > b.lsn ? 1 : a.ordinal - b.ordinal))
    for (const { line } of lines) yield line
  }
}

/** Without a prototype: a column may be named __proto__ (hazard 46). */
function values(layout: RowLayout, buffer: Buffer, slice: { readonly start: number; readonly end: number }, unchanged: string[] | undefined): Record<string, string | null> {
  const out = Object.create(null) as Record<string, string | null>
  const source = new ByteSource(buffer, slice.start, slice.end)
  for (const [i, column] of layout.relation.columns.entries()) {
    const field = textOfField(source, layout.kinds[i]!)
    if (field.state === 'value' || field.state === 'null') out[column.name] = field.text
    else if (field.state === 'unchanged') unchanged?.push(column.name)
  }
  return out
}

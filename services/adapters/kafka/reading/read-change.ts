/** Changes as they lie in records, and what units say of them. */
import { parsePosition } from '../../../core/position.ts'
import type { ChangeShape, LogPlace, RecordRow, TransactionPart } from '../../../core/transaction.ts'
import { ByteSource } from '../../../core/byte-source.ts'
import { ChangeWalk } from '../../../formats/change-walk.ts'
import { escapedTextOfField } from '../../../formats/value-printer.ts'
import type { Unit, UnitTransaction } from '../records/unit.ts'

/** One change as it lies in a record: its bytes without the wire format's head. */
export interface ReadChange {
  readonly ordinal: number
  readonly shape: ChangeShape
  readonly bytes: Buffer
}

/** A transaction's part as its unit describes it, without the rows. */
export function outlineOf(unit: Unit, entry: UnitTransaction, place: LogPlace): TransactionPart {
  const total = unit.entries.reduce((sum, other) => sum + (other.kind === 'transaction' ? other.count : 0), 0)
  return {
    kind: 'changes',
    head: {
      timeline: entry.timeline,
      position: parsePosition(entry.lsn),
      transactionId: entry.xid,
      committedAt: entry.committedAt,
    },
    changes: NO_CHANGES,
    counts: [],
    end: entry.end === null ? undefined : parsePosition(entry.end),
    resume: entry.resume ?? undefined,
    ddl: [],
    place,
    outline: {
      changes: entry.count,
      bytes: total === 0 ? 0 : Math.round((unit.bytes * entry.count) / total),
      hasDdl: unit.ddl.includes(entry.lsn),
    },
  }
}

const NO_CHANGES = {
  bytes: Buffer.alloc(0),
  offsets: new Uint32Array(1),
  shapeOf: new Uint16Array(0),
  shapes: [],
  count: 0,
}

/** By ordinal; a TRUNCATE stands in every lane and counts once for each of its tables. */
export function inOrder(changes: readonly ReadChange[]): ReadChange[] {
  const sorted = [...changes].sort((a, b) => a.ordinal - b.ordinal)
  return sorted.filter((change, i) => {
    for (let k = i - 1; k >= 0 && sorted[k]!.ordinal === change.ordinal; k--)
      if (sorted[k]!.shape === change.shape) return false
    return true
  })
}

/** Index in OPERATIONS: behind two varints. */
export function operationOf(bytes: Buffer): number {
  let at = 0
  while (bytes[at++]! >= 128) {}
  while (bytes[at++]! >= 128) {}
  return bytes[at]! >> 1
}

/** A record's row as the source gave it. */
export function recordRow(change: ReadChange): RecordRow {
  const walk = new ChangeWalk(change.shape)
  walk.read(change.bytes, 0, change.bytes.length)
  return new Map(
    change.shape.relation.columns.map((column, i) => [
      column.name,
      escapedTextOfField(
        new ByteSource(change.bytes, walk.newFields[i]!, walk.newFields[i + 1]!),
        column.kind,
      ),
    ]),
  )
}

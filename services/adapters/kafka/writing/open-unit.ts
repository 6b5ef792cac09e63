/** The unit being filled: records by topic-partition, and what stands between them. */
import type { ControlRecord, TransactionPart } from '../../../core/transaction.ts'
import { ORIGIN, type Position, positionText } from '../../../core/position.ts'
import { controlJson } from '../records/control-json.ts'
import type { TableRecord, TableRecords } from '../records/table-records.ts'
import type { UnitEntry } from '../records/unit.ts'

/** Above this a change goes out in pieces: below the broker's default for one batch (1 MiB). */
const PIECE_BYTES = 700 * 1024

export interface PendingRecord extends TableRecord {
  readonly piece: number
  readonly pieces: number
  readonly table: TableRecords
  /** The commit's time in microseconds. */
  readonly committed: string
}

export interface PendingPartition {
  readonly topic: string
  readonly partition: number
  readonly records: PendingRecord[]
  bytes: number
}

export class OpenUnit {
  readonly entries: UnitEntry[] = []
  readonly partitions = new Map<string, PendingPartition>()
  bytes = 0
  /** Commit LSNs of transactions that change the schema. */
  readonly ddl: string[] = []
  /** Of the unit's own record, about. */
  recordBytes = 0
  /** End of the last transaction that ends in it. */
  end: Position = ORIGIN
  /** The fullest partition: its records make one batch, which the broker limits. */
  fullest = 0

  get isEmpty(): boolean {
    return this.entries.length === 0
  }

  control(record: ControlRecord): void {
    const json = controlJson(record)
    this.entries.push({ kind: 'control', json })
    this.bytes += json.length
    this.recordBytes += json.length
  }

  /** @param first index of the part's first change in its transaction */
  part(part: TransactionPart, first: number, tables: readonly TableRecords[]): void {
    const { bytes, offsets, shapeOf, count } = part.changes
    const committed = String(part.head.committedAt)
    for (let i = 0; i < count; i++) {
      const table = tables[shapeOf[i]!]!
      for (const record of table.of(bytes, offsets[i]!, offsets[i + 1]!)) {
        const pieces = Math.max(1, Math.ceil(record.value.length / PIECE_BYTES))
        for (let piece = 0; piece < pieces; piece++) {
          const value =
            pieces === 1
              ? record.value
              : record.value.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES)
          this.#add({ ...record, value, piece, pieces, table, committed })
        }
      }
    }
    const { head } = part
    const last = this.entries.at(-1)
    const end = part.end === undefined ? null : positionText(part.end)
    const resume = part.resume ?? null
    if (part.end !== undefined) this.end = part.end
    if (part.ddl.length > 0) this.ddl.push(positionText(head.position))
    const position = positionText(head.position)
    if (last?.kind === 'transaction' && last.lsn === position && last.end === null)
      this.entries[this.entries.length - 1] = { ...last, count: last.count + count, end, resume }
    else
      this.entries.push({
        kind: 'transaction',
        lsn: position,
        xid: head.transactionId,
        committedAt: head.committedAt,
        timeline: head.timeline,
        first,
        count,
        end,
        resume,
      })
    this.bytes += 100
    this.recordBytes += 60
  }

  #add(record: PendingRecord): void {
    const key = `${record.table.topic}\0${record.lane}`
    let partition = this.partitions.get(key)
    if (partition === undefined) {
      partition = { topic: record.table.topic, partition: record.lane, records: [], bytes: 0 }
      this.partitions.set(key, partition)
    }
    partition.records.push(record)
    const size = record.value.length + record.key.length + 100
    partition.bytes += size
    this.bytes += size
    this.fullest = Math.max(this.fullest, partition.bytes)
  }
}

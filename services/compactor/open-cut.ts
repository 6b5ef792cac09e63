/** The cut being filled: whole transactions that one ledger entry will name. */
import type { Randomness } from '../core/clock.ts'
import type { Position } from '../core/position.ts'
import {
  changeCount,
  type ControlRecord,
  encodedBytes,
  type GapNotice,
  hasDdl,
  type LogPlace,
  type SchemaChange,
  type SchemaFacts,
  type TransactionPart,
} from '../core/transaction.ts'
import type { IndexedTable, IndexedTransaction } from '../formats/segment-index.ts'
import { type BuiltSegment, type CompressionGate, SegmentBuilder } from './segment-builder.ts'

type Counts = [number, number, number, number, number]

export class OpenCut {
  /** Exclusive: where the cut before ended. */
  readonly from: Position
  readonly openedAt: number
  builder: SegmentBuilder
  /** Segments already finished, of a transaction too large for one. */
  readonly finished: Promise<BuiltSegment>[] = []
  readonly transactions: IndexedTransaction[] = []
  readonly schemas: (SchemaFacts | SchemaChange)[] = []
  readonly gaps: GapNotice[] = []
  readonly markers: { readonly at: Position; readonly name: string }[] = []
  sequences: (ControlRecord & { kind: 'sequences' }) | undefined
  /** Up to here every schema change has its record. */
  checked: Position | undefined
  hasDdl = false
  rawBytes = 0
  changes = 0
  timeline = 1
  /** Of its last transaction. */
  resume: string | undefined
  /** Where the log has its first and its last part. */
  firstPlace: LogPlace | undefined
  place: LogPlace | undefined
  /** When its first transaction arrived, on the monotonic clock. */
  firstAt: number | undefined
  readonly tables: IndexedTable[] = []
  readonly #tableIndex = new Map<string, number>()
  readonly #gate: CompressionGate
  #counts = new Map<number, Counts>()

  constructor(from: Position, openedAt: number, gate: CompressionGate) {
    this.from = from
    this.openedAt = openedAt
    this.#gate = gate
    this.builder = new SegmentBuilder(gate)
  }

  /** Finishes the segment being filled and begins the next: of a transaction too large for one. Returns its index. */
  nextSegment(randomness: Randomness): number {
    const built = this.builder.finish(randomness.bytes(16))
    built.catch(() => undefined)
    this.finished.push(built)
    this.builder = new SegmentBuilder(this.#gate)
    return this.finished.length - 1
  }

  get isEmpty(): boolean {
    return this.transactions.length === 0 && this.rawBytes === 0
  }

  tableIndex(relation: { readonly oid: number; readonly schema: string; readonly name: string }): number {
    const key = `${relation.oid}\0${relation.schema}\0${relation.name}`
    let index = this.#tableIndex.get(key)
    if (index === undefined) {
      index = this.tables.length
      this.tables.push({ oid: relation.oid, schema: relation.schema, name: relation.name })
      this.#tableIndex.set(key, index)
    }
    return index
  }

  add(part: TransactionPart, now: number): void {
    this.firstAt ??= now
    this.builder.add(part.changes)
    this.rawBytes += encodedBytes(part)
    this.changes += changeCount(part)
    this.timeline = part.head.timeline
    this.firstPlace ??= part.place
    this.place = part.place
    if (hasDdl(part)) this.hasDdl = true
    for (const { shape, rows } of part.counts) {
      const table = this.tableIndex(shape.relation)
      const held = this.#counts.get(table)
      if (held === undefined) this.#counts.set(table, [table, rows[0], rows[1], rows[2], rows[3]])
      else for (let i = 0; i < 4; i++) held[i + 1]! += rows[i]!
    }
    if (part.end === undefined) return
    this.resume = part.resume
    this.transactions.push({
      position: part.head.position,
      end: part.end,
      transactionId: part.head.transactionId,
      committedAt: part.head.committedAt,
      counts: [...this.#counts.values()],
    })
    this.#counts = new Map()
  }
}

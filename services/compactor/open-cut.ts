/** The cut being filled: whole transactions that one ledger entry will name. */
import type { Lsn } from '../core/position.ts'
import type { ControlRecord, GapNotice, LogPlace, SchemaFacts, TransactionPart } from '../core/transaction.ts'
import type { IndexedTable, IndexedTransaction } from '../formats/segment-index.ts'
import { type BuiltSegment, type CompressionGate, SegmentBuilder } from './segment-builder.ts'

type Counts = [number, number, number, number, number]

export class OpenCut {
  /** Exclusive: where the cut before ended. */
  readonly from: Lsn
  readonly openedAt: number
  builder: SegmentBuilder
  /** Segments already finished, of a transaction too large for one. */
  readonly finished: Promise<BuiltSegment>[] = []
  readonly transactions: IndexedTransaction[] = []
  readonly schemas: SchemaFacts[] = []
  readonly gaps: GapNotice[] = []
  readonly markers: { readonly at: Lsn; readonly name: string }[] = []
  sequences: (ControlRecord & { kind: 'sequences' }) | undefined
  hasDdl = false
  rawBytes = 0
  changes = 0
  timeline = 1
  place: LogPlace | undefined
  /** When its first transaction arrived, on the monotonic clock. */
  firstAt: number | undefined
  readonly tables: IndexedTable[] = []
  readonly #tableIndex = new Map<string, number>()
  #counts = new Map<number, Counts>()

  constructor(from: Lsn, openedAt: number, gate: CompressionGate) {
    this.from = from
    this.openedAt = openedAt
    this.builder = new SegmentBuilder(gate)
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
    this.rawBytes += part.changes.bytes.length
    this.changes += part.changes.count
    this.timeline = part.head.timeline
    this.place = part.place
    if (part.ddl.length > 0) this.hasDdl = true
    for (const { shape, rows } of part.counts) {
      const table = this.tableIndex(shape.relation)
      const held = this.#counts.get(table)
      if (held === undefined) this.#counts.set(table, [table, rows[0], rows[1], rows[2], rows[3]])
      else for (let i = 0; i < 4; i++) held[i + 1]! += rows[i]!
    }
    if (part.endLsn === undefined) return
    this.transactions.push({ lsn: part.head.lsn, endLsn: part.endLsn, xid: part.head.xid, committedAt: part.head.committedAt, counts: [...this.#counts.values()] })
    this.#counts = new Map()
  }
}

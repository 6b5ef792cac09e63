/**
 * Brings units back from Kafka as the transactions that went in. For each progress record it reads exactly the records
 * that the unit wrote: their ids, their dense numbers and their count prove that none is missing and none is another's.
 */
import type Cluster from 'kafkajs/src/cluster/index.js'
import { TidemarkError } from '../../core/errors.ts'
import { compareLsn, type Lsn, parseLsn } from '../../core/position.ts'
import type { ChangeCount, ChangeShape, LogItem, LogPlace, RawDdlRecord, TransactionPart } from '../../core/transaction.ts'
import { ByteSource } from '../../formats/byte-source.ts'
import { changeShape, shapeOfSchema } from '../../formats/change-schema.ts'
import { ChangeWalk } from '../../formats/change-walk.ts'
import { textOfField } from '../../formats/value-printer.ts'
import { kindOf } from '../../formats/value-kind.ts'
import { parseControl } from './control-json.ts'
import { HEAD_BYTES } from './log-tail.ts'
import { PartitionReader } from './partition-reader.ts'
import type { Registry } from './registry.ts'
import { decodeUnit, HEADER, parseStamp, type Unit, type UnitPartition, type UnitTransaction } from './unit.ts'

export interface UnitReaderOptions {
  readonly cluster: Cluster
  readonly registry: Registry
  readonly topic: string
  readonly generation: number
  /** Names the log in the ledger. */
  readonly log: string
  /** Transactions that commit at or before this are in the store already. */
  readonly after: Lsn
  readonly from: bigint
  readonly at: bigint
  /** All items of the unit at this offset have been taken. */
  readonly onDone?: (offset: bigint) => void
  readonly onForeign?: (place: { readonly topic: string; readonly partition: number; readonly offset: string }) => void
}

/** One change's record, or its pieces. */
interface OwnRecord {
  readonly values: (Buffer | null)[]
  readonly pieces: number
  /** The shape's id, from the record's stamp. */
  readonly shape: string
}

/** One change as it lies in a record: its bytes without the wire format's head. */
interface ReadChange {
  readonly ordinal: number
  readonly shape: ChangeShape
  readonly bytes: Buffer
}

export class UnitReader {
  readonly #options: UnitReaderOptions
  readonly #known = new Map<string, UnitPartition>()
  readonly #readers = new Map<string, PartitionReader>()
  readonly #shapes = new Map<string, { readonly shape: ChangeShape }>()
  #from: bigint
  #term = 0
  #ddl: RawDdlRecord[] = []
  /** Offset of the last unit whose items have all been handed out. */
  done = -1n

  constructor(options: UnitReaderOptions) {
    this.#options = options
    this.#from = options.from
  }

  /** @throws TidemarkError LOG_HOLE where records are missing */
  async *read(signal: AbortSignal): AsyncIterable<LogItem> {
    const { cluster, topic, generation, at, from } = this.#options
    const transactions = new PartitionReader(cluster, topic, 0, from, HEADER)
    for (;;) {
      const record = await transactions.following(signal)
      if (record.value === null || record.stamp === undefined) {
        this.#options.onForeign?.({ topic, partition: 0, offset: String(record.offset) })
        continue
      }
      const unit = decodeUnit(record.value.subarray(HEAD_BYTES))
      if (unit.full) this.#from = record.offset
      if (record.offset < at || unit.generation !== generation) {
        for (const partition of unit.partitions) this.#note(partition)
      } else {
        if (unit.term < this.#term) throw new TidemarkError('LOG_HOLE', 'a unit of an older writer lies behind one of a newer: the fencing of the log failed')
        this.#term = unit.term
        yield* this.#items(unit, record.offset, signal)
      }
      this.done = record.offset
      this.#options.onDone?.(record.offset)
    }
  }

  #note(partition: UnitPartition): void {
    this.#known.set(keyOf(partition), partition)
  }

  async *#items(unit: Unit, offset: bigint, signal: AbortSignal): AsyncIterable<LogItem> {
    const changes = new Map<string, ReadChange[]>()
    // In the store already: the records need not even be there any more.
    const stored = unit.entries.every((entry) => entry.kind === 'control' || compareLsn(parseLsn(entry.lsn), this.#options.after) <= 0)
    const written = stored ? [] : unit.partitions.filter((p) => p.number > (this.#known.get(keyOf(p))?.number ?? 0))
    const read = await Promise.all(written.map((partition) => this.#partition(unit, partition, signal)))
    for (const records of read) for (const record of records) await this.#change(record, changes)
    for (const partition of unit.partitions) this.#note(partition)
    const place: LogPlace = { log: this.#options.log, from: this.#from, at: offset }
    const taken = new Map<string, number>()
    for (const sorted of changes.values()) sorted.splice(0, sorted.length, ...inOrder(sorted))
    for (const entry of unit.entries) {
      if (entry.kind === 'control') {
        const control = parseControl(entry.json)
        yield control
        continue
      }
      if (stored) continue
      // A control record may stand between two pieces of one transaction.
      const from = taken.get(entry.lsn) ?? 0
      taken.set(entry.lsn, from + entry.count)
      const part = this.#part(entry, (changes.get(entry.lsn) ?? []).slice(from, from + entry.count), place)
      // In the store already: a restart reads its unit again.
      if (compareLsn(part.head.lsn, this.#options.after) > 0) yield part
    }
  }

  /** The unit's records in one partition, proven complete by their numbers. */
  async #partition(unit: Unit, partition: UnitPartition, signal: AbortSignal): Promise<OwnRecord[]> {
    const key = keyOf(partition)
    const before = this.#known.get(key)
    let reader = this.#readers.get(key)
    if (reader === undefined) {
      reader = new PartitionReader(this.#options.cluster, partition.topic, partition.partition, before === undefined ? 0n : before.offset + 1n, HEADER)
      this.#readers.set(key, reader)
    }
    let number = before?.number ?? 0
    const own: OwnRecord[] = []
    for (const record of await reader.upTo(partition.offset, signal)) {
      const stamp = parseStamp(record.stamp)
      if (stamp === undefined) {
        this.#options.onForeign?.({ topic: partition.topic, partition: partition.partition, offset: String(record.offset) })
        continue
      }
      if (stamp.generation !== unit.generation || stamp.term !== unit.term || stamp.unit !== unit.unit) continue
      if (stamp.number !== number + 1) throw this.#hole(partition, `number ${number + 1} is missing, ${stamp.number} is there`)
      number = stamp.number
      if (stamp.isLink) continue
      if (stamp.piece === 0) own.push({ values: [record.value], shape: stamp.shape, pieces: stamp.pieces })
      else {
        // Pieces lie one behind the other: nobody else's record of this unit comes between them.
        const begun = own.at(-1)
        if (begun === undefined || begun.values.length !== stamp.piece || begun.pieces !== stamp.pieces) throw this.#hole(partition, `a piece of a change without the one before it, at number ${stamp.number}`)
        begun.values.push(record.value)
      }
    }
    if (number !== partition.number) throw this.#hole(partition, `it ends at number ${number}, its unit says ${partition.number}`)
    return own
  }

  #hole(partition: UnitPartition, what: string): TidemarkError {
    return new TidemarkError('LOG_HOLE', `${partition.topic}/${partition.partition}: ${what}`)
  }

  async #change({ values, pieces, shape: wanted }: OwnRecord, into: Map<string, ReadChange[]>): Promise<void> {
    const value = values.length === 1 ? values[0]! : Buffer.concat(values.map((part) => part ?? Buffer.alloc(0)))
    if (values.length !== pieces || value === null || value.length <= HEAD_BYTES || value[0] !== 0) throw new TidemarkError('LOG_FOREIGN', 'a record of ours without its change')
    const { shape } = await this.#shape(value.readInt32BE(1), wanted)
    const bytes = value.subarray(HEAD_BYTES)
    const source = new ByteSource(bytes)
    const lsn = formatKey(source.bigLong())
    const change = { ordinal: source.long(), shape, bytes }
    const held = into.get(lsn)
    if (held === undefined) into.set(lsn, [change])
    else held.push(change)
  }

  /** By the registry's id, and proven to be the shape that the record was written in. */
  async #shape(id: number, wanted: string): Promise<{ readonly shape: ChangeShape }> {
    let found = this.#shapes.get(wanted)
    if (found === undefined) {
      const { relation, text } = shapeOfSchema(JSON.parse(await this.#options.registry.schema(id)))
      found = { shape: changeShape(relation, text) }
      if (found.shape.id !== wanted) throw new TidemarkError('LOG_REFUSED', `the registry gives another schema for id ${id} than the one that was registered: it lost its schemas`, { next: 'restore the registry\'s storage; or tidemark up --new-generation' })
      this.#shapes.set(wanted, found)
    }
    return found
  }

  #part(entry: UnitTransaction, changes: readonly ReadChange[], place: LogPlace): TransactionPart {
    if (changes.length !== entry.count) throw new TidemarkError('LOG_HOLE', `the transaction at ${entry.lsn} has ${changes.length} changes in its unit, which says ${entry.count}`)
    const shapes = [...new Set(changes.map((change) => change.shape))]
    const index = new Map(shapes.map((shape, i) => [shape, i]))
    const offsets = new Uint32Array(changes.length + 1)
    const shapeOf = new Uint16Array(changes.length)
    const rows = shapes.map(() => [0, 0, 0, 0] as [number, number, number, number])
    for (const [i, change] of changes.entries()) {
      const slot = index.get(change.shape)!
      offsets[i + 1] = offsets[i]! + change.bytes.length
      shapeOf[i] = slot
      const operation = operationOf(change.bytes)
      rows[slot]![operation]!++
      if (operation === 0 && change.shape.relation.schema === 'tidemark' && change.shape.relation.name === 'ddl') this.#ddl.push(ddlRecord(change))
    }
    const ddl = entry.end === null ? [] : this.#ddl
    if (entry.end !== null) this.#ddl = []
    return {
      kind: 'changes',
      head: { timeline: entry.timeline, lsn: parseLsn(entry.lsn), xid: entry.xid, committedAt: entry.committedAt },
      changes: { bytes: Buffer.concat(changes.map((change) => change.bytes)), offsets, shapeOf, shapes, count: changes.length },
      counts: shapes.map((shape, i): ChangeCount => ({ shape, rows: rows[i]! })),
      endLsn: entry.end === null ? undefined : parseLsn(entry.end),
      ddl,
      place,
    }
  }
}

/** By ordinal; a TRUNCATE stands in every lane and counts once for each of its tables. */
function inOrder(changes: readonly ReadChange[]): ReadChange[] {
  const sorted = [...changes].sort((a, b) => a.ordinal - b.ordinal)
  return sorted.filter((change, i) => {
    for (let k = i - 1; k >= 0 && sorted[k]!.ordinal === change.ordinal; k--) if (sorted[k]!.shape === change.shape) return false
    return true
  })
}

function keyOf(partition: { readonly topic: string; readonly partition: number }): string {
  return `${partition.topic}\0${partition.partition}`
}

function formatKey(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

/** Index in OPERATIONS: behind two varints. */
function operationOf(bytes: Buffer): number {
  let at = 0
  while (bytes[at++]! >= 128) {}
  while (bytes[at++]! >= 128) {}
  return bytes[at]! >> 1
}

/** A row of tidemark.ddl as the assembler gives it. */
function ddlRecord(change: ReadChange): RawDdlRecord {
  const walk = new ChangeWalk(change.shape)
  walk.read(change.bytes, 0, change.bytes.length)
  const fields = new Map(
    change.shape.relation.columns.map((column, i) => [column.name, textOfField(new ByteSource(change.bytes, walk.newFields[i]!, walk.newFields[i + 1]!), kindOf(column.typeOid)).text]),
  )
  const text = (name: string): string => fields.get(name) ?? ''
  return { id: text('id'), xid: text('xid'), command: text('command'), kind: text('kind'), oid: fields.get('oid') ?? null, facts: fields.get('facts') ?? null }
}

/**
 * Brings units back from Kafka as the transactions that went in. For each progress record it reads exactly the records
 * that the unit wrote: their ids, their dense numbers and their count prove that none is missing and none is another's.
 */
import type { RecordWords } from '../../../core/ports/dialect.ts'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { comparePositions, ORIGIN, parsePosition, type Position } from '../../../core/position.ts'
import type {
  ChangeCount,
  ChangeShape,
  LogItem,
  LogPlace,
  RecordRow,
  TransactionPart,
} from '../../../core/transaction.ts'
import { ByteSource } from '../../../core/byte-source.ts'
import { shapeWrittenAs } from '../../../formats/change-schema.ts'
import type { KafkaFetcher } from '../client/client.ts'
import { parseControl } from '../records/control-json.ts'
import { HEAD_BYTES } from './log-tail.ts'
import { fetchTogether, PartitionReader } from './partition-reader.ts'
import { recordRow, inOrder, operationOf, outlineOf, type ReadChange } from './read-change.ts'
import type { Registry } from '../registry/registry.ts'
import { UnitChain } from './unit-chain.ts'
import { type OwnRecord, ownRecords } from './unit-records.ts'
import {
  decodeUnit,
  HEADER,
  isOurs,
  type Unit,
  unitName,
  type UnitPartition,
  type UnitTransaction,
} from '../records/unit.ts'

export interface UnitReaderOptions {
  readonly fetcher: KafkaFetcher
  readonly registry: Registry
  /** What the source was acknowledged with: with the store alone it can send again what the log cannot give back. */
  readonly acknowledge: 'segment' | 'log'
  readonly topic: string
  readonly generation: number
  /** The backup's id: what has another one is passed over. */
  readonly stream: string
  /** Transactions that commit at or before this are in the store already. */
  readonly after: Position
  readonly place: LogPlace
  /** The first offset that the topic still has: what retention took before the place is stored, and missed by nobody. */
  readonly low?: bigint
  /** Reads from some unit on, whatever lies before it: somebody else has proven that. */
  readonly isPart?: boolean
  /** Brings what units say of their transactions, and not the rows. */
  readonly outline?: boolean
  /** All items of the unit at this offset have been taken. */
  readonly onDone?: (offset: bigint) => void
  readonly onForeign?: (place: {
    readonly topic: string
    readonly partition: number
    readonly offset: string
  }) => void
  /** Whose inserted rows are records of schema changes. */
  readonly records: Pick<RecordWords, 'holds'>
  readonly clock: Clock
}

/** Some of the log's transactions: those that commit behind `after`, up to and with `to`; they lie in units `first` to `last`. */
export interface UnitRange {
  readonly first: bigint
  readonly last: bigint
  readonly after: Position
  readonly to: Position
}

/** Keys and heads of records come to their values' bytes. */
const RECORD_HEADS = 256 * 1024

interface ReadUnit {
  readonly offset: bigint
  readonly items: readonly LogItem[]
}

export class UnitReader {
  readonly #options: UnitReaderOptions
  readonly #known = new Map<string, UnitPartition>()
  readonly #readers = new Map<string, PartitionReader>()
  readonly #shapes = new Map<string, { readonly shape: ChangeShape }>()
  readonly #transactions: PartitionReader
  #from: bigint
  readonly #chain: UnitChain
  /** The last unit of the last range: the next one may begin in it. */
  #kept: { readonly offset: bigint; readonly parts: readonly TransactionPart[] } | undefined
  #ddl: RecordRow[] = []
  readonly #strangers = new Set<string>()
  /** Offset of the last unit whose items have all been handed out. */
  done = -1n

  constructor(options: UnitReaderOptions) {
    this.#options = options
    const { place, isPart, low = place.from } = options
    this.#from = low > place.from ? low : place.from
    this.#chain = new UnitChain({
      ...options,
      ...place,
      isPart: isPart === true,
      isTrimmed: low > place.at && place.unit !== '',
    })
    this.#transactions = this.#open({ topic: options.topic, partition: 0, first: this.#from })
  }

  /** @throws TidemarkError LOG_HOLE where records are missing */
  async *read(signal: AbortSignal): AsyncIterable<LogItem> {
    const { after } = this.#options
    const { at, unit } = this.#options.place
    const next = (): Promise<ReadUnit> => this.#unit(signal, (offset) => offset >= at || unit === '', after)
    for (let ahead = next(); ; ) {
      const { offset, items } = await ahead
      // The next unit is fetched while this one is worked on.
      ahead = next()
      ahead.catch(() => undefined)
      yield* items
      this.done = offset
      this.#options.onDone?.(offset)
    }
  }

  /**
   * Whole transactions of a range, without the control records, which are not even parsed. Ranges may only go forward: the next
   * one begins at the last unit of this one, or behind it.
   *
   * @throws TidemarkError LOG_HOLE where records are missing
   */
  async *range(range: UnitRange, signal: AbortSignal): AsyncIterable<TransactionPart> {
    const isWanted = (part: TransactionPart): boolean =>
      comparePositions(part.head.position, range.after) > 0 &&
      comparePositions(part.head.position, range.to) <= 0
    if (this.#kept?.offset === range.first) yield* this.#kept.parts.filter(isWanted)
    if (this.done >= range.last) return
    const next = (): Promise<ReadUnit> =>
      this.#unit(signal, (offset) => offset >= range.first, ORIGIN, range.last)
    for (let ahead: Promise<ReadUnit> | undefined = next(); ahead !== undefined; ) {
      const { offset, items }: ReadUnit = await ahead
      if (offset > range.last)
        throw new TidemarkError(
          'LOG_HOLE',
          `${this.#options.topic}: the unit at offset ${range.last} is gone`,
        )
      ahead = offset < range.last ? next() : undefined
      ahead?.catch(() => undefined)
      const parts = items.filter((item) => item.kind === 'changes')
      this.#kept = { offset, parts }
      this.done = offset
      for (const part of parts) if (isWanted(part)) yield part
    }
  }

  /** The next unit, with its items where it is wanted and counts. */
  async #unit(
    signal: AbortSignal,
    isWanted: (offset: bigint) => boolean,
    after: Position,
    last?: bigint,
  ): Promise<ReadUnit> {
    const { unit, offset } = await this.#nextUnit(signal, last)
    if (isWanted(offset) && this.#chain.counts(unit))
      return { offset, items: await this.#items(unit, offset, after, last, signal) }
    for (const partition of unit.partitions) this.#pass(partition)
    return { offset, items: [] }
  }

  /** Whether a range that begins there can be read by this reader. */
  reaches(first: bigint): boolean {
    return this.done < first || this.#kept?.offset === first
  }

  /** @param last where a unit is known to be: what is read until then is not waited for without end */
  async #nextUnit(
    signal: AbortSignal,
    last: bigint | undefined,
  ): Promise<{ readonly unit: Unit; readonly offset: bigint }> {
    for (;;) {
      const record = await (last === undefined
        ? this.#transactions.following(signal)
        : this.#transactions.before(last, signal))
      if (record.value === null || record.stamp === undefined) {
        this.#options.onForeign?.({ topic: this.#options.topic, partition: 0, offset: String(record.offset) })
        continue
      }
      const unit = decodeUnit(record.value.subarray(HEAD_BYTES), record.stamp)
      const { stream, place } = this.#options
      if (!isOurs(unit, record.offset, { stream, idsFrom: place.idsFrom })) {
        this.#stranger(unit, record.offset)
        continue
      }
      this.#chain.check(unit, record.offset)
      if (unit.full) this.#from = record.offset
      return { unit, offset: record.offset }
    }
  }

  /** Another backup writes into these topics: its units are passed over, and said once. */
  #stranger(unit: Unit, offset: bigint): void {
    if (this.#strangers.has(unit.stream)) return
    this.#strangers.add(unit.stream)
    this.#options.onForeign?.({ topic: this.#options.topic, partition: 0, offset: String(offset) })
  }

  /** Its records are somebody else's work. */
  #pass(partition: UnitPartition): void {
    this.#note(partition)
    this.#readers.get(keyOf(partition))?.skip(partition.offset)
  }

  #note(partition: UnitPartition): void {
    this.#known.set(keyOf(partition), partition)
  }

  async #items(
    unit: Unit,
    offset: bigint,
    after: Position,
    last: bigint | undefined,
    signal: AbortSignal,
  ): Promise<LogItem[]> {
    const items: LogItem[] = []
    const changes = new Map<string, ReadChange[]>()
    // In the store already: the records need not even be there any more.
    const stored = unit.entries.every(
      (entry) => entry.kind === 'control' || comparePositions(parsePosition(entry.lsn), after) <= 0,
    )
    const outline = this.#options.outline === true
    const written = stored || outline ? [] : unit.partitions.filter((p) => p.records > 0)
    // Twice an even share: rows are spread unevenly, and a batch comes whole or not at all.
    const bytesEach =
      offset === last ? Math.round((2 * unit.bytes) / Math.max(1, written.length)) + RECORD_HEADS : undefined
    await fetchTogether(
      this.#options.fetcher,
      written.map((partition) => ({ reader: this.#readerOf(partition), offset: partition.offset })),
      bytesEach,
    )
    const read = await Promise.all(
      written.map((partition) =>
        ownRecords({
          reader: this.#readerOf(partition),
          unit,
          partition,
          before: this.#known.get(keyOf(partition)),
          signal,
          onForeign: this.#options.onForeign,
        }),
      ),
    )
    for (const records of read) for (const record of records) await this.#change(record, changes)
    for (const partition of unit.partitions) this.#note(partition)
    const place: LogPlace = { ...this.#options.place, from: this.#from, at: offset, unit: unitName(unit) }
    const taken = new Map<string, number>()
    for (const sorted of changes.values()) sorted.splice(0, sorted.length, ...inOrder(sorted))
    for (const entry of unit.entries) {
      if (entry.kind === 'control') {
        // Who builds a range is given its rows alone: what control records say is the leader's to know.
        if (last === undefined) items.push(parseControl(entry.json))
        continue
      }
      if (stored) continue
      // A control record may stand between two pieces of one transaction.
      const from = taken.get(entry.lsn) ?? 0
      taken.set(entry.lsn, from + entry.count)
      const part = outline
        ? outlineOf(unit, entry, place)
        : this.#part(entry, (changes.get(entry.lsn) ?? []).slice(from, from + entry.count), place)
      // In the store already: a restart reads its unit again.
      if (comparePositions(part.head.position, after) > 0) items.push(part)
    }
    return items
  }

  #readerOf(partition: UnitPartition): PartitionReader {
    const key = keyOf(partition)
    let reader = this.#readers.get(key)
    if (reader === undefined) {
      reader = this.#open(partition)
      this.#readers.set(key, reader)
    }
    return reader
  }

  #open({ topic, partition, first }: Pick<UnitPartition, 'topic' | 'partition' | 'first'>): PartitionReader {
    const { fetcher, clock } = this.#options
    return new PartitionReader(fetcher, topic, partition, first, HEADER, { clock })
  }

  async #change(
    { values, pieces, shape: wanted }: OwnRecord,
    into: Map<string, ReadChange[]>,
  ): Promise<void> {
    const value =
      values.length === 1 ? values[0]! : Buffer.concat(values.map((part) => part ?? Buffer.alloc(0)))
    if (values.length !== pieces || value === null || value.length <= HEAD_BYTES || value[0] !== 0)
      throw new TidemarkError('LOG_FOREIGN', 'a record of ours without its change')
    const { shape } = await this.#shape(value.readInt32BE(1), wanted)
    const bytes = value.subarray(HEAD_BYTES)
    const source = new ByteSource(bytes)
    const position = formatKey(source.bigLong())
    const change = { ordinal: source.long(), shape, bytes }
    const held = into.get(position)
    if (held === undefined) into.set(position, [change])
    else held.push(change)
  }

  /** By the registry's id, and proven to be the shape that the record was written in. */
  async #shape(id: number, wanted: string): Promise<{ readonly shape: ChangeShape }> {
    let found = this.#shapes.get(wanted)
    if (found === undefined) {
      const text = await this.#options.registry.schema(id)
      const shape = text === undefined ? undefined : shapeIn(text)
      if (shape?.id !== wanted) throw this.#schemaLost(id)
      found = { shape }
      this.#shapes.set(wanted, found)
    }
    return found
  }

  /** Sent again, it is registered again; where the source no longer has it, only the registry's own storage can help. */
  #schemaLost(id: number): TidemarkError {
    const { registry, acknowledge } = this.#options
    const what = `the schema registry at ${registry.place} lost its schemas: id ${id} is not what records in the log were written by`
    if (acknowledge === 'segment') return new TidemarkError('LOG_HOLE', what)
    return new TidemarkError('LOG_REFUSED', what, {
      next: "restore the registry's storage, then start up again; where it is gone: tidemark up --new-generation",
    })
  }

  #part(entry: UnitTransaction, changes: readonly ReadChange[], place: LogPlace): TransactionPart {
    if (changes.length !== entry.count)
      throw new TidemarkError(
        'LOG_HOLE',
        `the transaction at ${entry.lsn} has ${changes.length} changes in its unit, which says ${entry.count}`,
      )
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
      if (operation === 0 && this.#options.records.holds(change.shape.relation))
        this.#ddl.push(recordRow(change))
    }
    const ddl = entry.end === null ? [] : this.#ddl
    if (entry.end !== null) this.#ddl = []
    return {
      kind: 'changes',
      head: {
        timeline: entry.timeline,
        position: parsePosition(entry.lsn),
        transactionId: entry.xid,
        committedAt: entry.committedAt,
      },
      changes: {
        bytes: Buffer.concat(changes.map((change) => change.bytes)),
        offsets,
        shapeOf,
        shapes,
        count: changes.length,
      },
      counts: shapes.map((shape, i): ChangeCount => ({ shape, rows: rows[i]! })),
      end: entry.end === null ? undefined : parsePosition(entry.end),
      resume: entry.resume ?? undefined,
      ddl,
      place,
    }
  }
}

function keyOf(partition: { readonly topic: string; readonly partition: number }): string {
  return `${partition.topic}\0${partition.partition}`
}

function formatKey(position: bigint): string {
  return `${(position >> 32n).toString(16).toUpperCase()}/${(position & 0xffffffffn).toString(16).toUpperCase()}`
}

/** Undefined where it is a schema of something else: ids were given out again. */
function shapeIn(text: string): ChangeShape | undefined {
  try {
    return shapeWrittenAs(JSON.parse(text))
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError) return undefined
    throw error
  }
}

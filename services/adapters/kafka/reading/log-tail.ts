/**
 * Reads the topic of transactions to its end: where the log stands, without touching a row. The log is believed only where it
 * shows the last unit that is known of it, at its place: one that was shortened or made anew ends with an older unit, and
 * whoever went on behind that would chain over a hole.
 */
import { laterPoint, type StreamPoint } from '../../../core/ports/source.ts'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { laterPosition, ORIGIN, parsePosition, type Position } from '../../../core/position.ts'
import type { LogPlace } from '../../../core/transaction.ts'
import type { KafkaFetcher } from '../client/client.ts'
import { type PartitionEnd, type PartitionEnds, partitionKey } from '../topics/partition-ends.ts'
import { PartitionReader } from './partition-reader.ts'
import { decodeUnit, HEADER, isOurs, type Unit, unitName, type UnitPartition } from '../records/unit.ts'

/** The wire format's head. */
export const HEAD_BYTES = 5
/** What keeps committed records from being read ends with its transaction: after a minute of ours, by the broker's word. */
const HELD_TRIES = 20
const HELD_PAUSE_MS = 100

export interface TailUnit {
  readonly term: number
  readonly unit: number
  readonly previous: string
  readonly offset: bigint
}

export interface LogTail {
  /** End of the last complete transaction in the log. */
  readonly complete: StreamPoint
  /** A transaction that is in the log in part: up to and with this many of its changes. */
  readonly open: { readonly position: Position; readonly through: number } | undefined
  /** The last committed unit, and its offset in the topic of transactions. */
  readonly last: TailUnit | undefined
  readonly partitions: ReadonlyMap<string, UnitPartition>
}

export interface TailReaderOptions {
  readonly fetcher: KafkaFetcher
  readonly ends: PartitionEnds
  readonly topic: string
  readonly generation: number
  readonly stream: string
  readonly place: LogPlace
  /** Whether the store has the transaction that commits there: its records need not be in the log any more. */
  readonly isStored: (position: Position) => boolean
  readonly clock: Clock
}

/** Of a log that holds nothing yet. */
export const NO_TAIL: LogTail = {
  complete: { position: ORIGIN, resume: undefined },
  open: undefined,
  last: undefined,
  partitions: new Map(),
}

export class TailReader {
  readonly #options: TailReaderOptions
  readonly #partitions = new Map<string, UnitPartition>()
  /** By partition: the last offset that a unit of ours wrote there, and its newest transaction. */
  readonly #written = new Map<string, { readonly offset: bigint; readonly position: Position }>()
  #complete: StreamPoint = { position: ORIGIN, resume: undefined }
  #open: LogTail['open']
  #last: TailUnit | undefined
  /** What the log has to show. */
  #expected: { readonly name: string; readonly offset: bigint } | undefined

  constructor(options: TailReaderOptions) {
    this.#options = options
    const { unit, at } = options.place
    if (unit !== '') this.#expected = { name: unit, offset: at }
  }

  /**
   * Goes on from the last unit that is known, which it has to see again.
   *
   * @throws TidemarkError LOG_HOLE where the log no longer has what it had
   */
  async read(signal: AbortSignal): Promise<LogTail> {
    const { fetcher, topic, place, clock } = this.#options
    const end = await this.#end(signal)
    const start = this.#last === undefined ? place.from : this.#last.offset
    const reader = new PartitionReader(fetcher, topic, 0, start > end.low ? start : end.low, HEADER, {
      clock,
    })
    // Retention took it, and it stood before what is left: readers prove by the chain what follows.
    let isProven = this.#expected === undefined || end.low > this.#expected.offset
    if (isProven && this.#expected !== undefined) this.#last ??= namedUnit(this.#expected)
    for (;;) {
      const record = await this.#next(reader, end, signal)
      const expected = this.#expected
      if (!isProven && (record === undefined || record.offset > expected!.offset)) throw this.#shortened(end)
      if (record === undefined) break
      if (record.value === null || record.stamp === undefined) continue
      const unit = decodeUnit(record.value.subarray(HEAD_BYTES), record.stamp)
      if (!isOurs(unit, record.offset, { stream: this.#options.stream, idsFrom: place.idsFrom })) continue
      if (!isProven && record.offset === expected!.offset) {
        if (unitName(unit) !== expected!.name) throw this.#shortened(end)
        isProven = true
      }
      this.#apply(unit, record.offset)
    }
    if (this.#last !== undefined) this.#expected = { name: unitName(this.#last), offset: this.#last.offset }
    await this.#proveRecords(signal)
    return { complete: this.#complete, open: this.#open, last: this.#last, partitions: this.#partitions }
  }

  /** A unit that this process committed: from now on the log has to show it. */
  committed(unit: Unit, offset: bigint): void {
    this.#apply(unit, offset)
    this.#expected = { name: unitName(unit), offset }
  }

  async #end(signal: AbortSignal): Promise<PartitionEnd> {
    const { topic, ends } = this.#options
    const end = (await ends.of([topic], signal)).get(partitionKey({ topic, partition: 0 }))
    if (end === undefined && this.#expected === undefined)
      throw new TidemarkError('LOG_UNREACHABLE', `${topic} is not there`)
    if (end === undefined || (this.#expected !== undefined && end.high <= this.#expected.offset))
      throw this.#shortened(end)
    return end
  }

  /** Undefined at the end; what others' open transactions hold back is waited for. */
  async #next(reader: PartitionReader, end: PartitionEnd, signal: AbortSignal) {
    for (let left = HELD_TRIES; ; left--) {
      const record = await reader.available(signal)
      if (record !== undefined || reader.next >= end.high) return record
      if (left <= 0)
        throw new TidemarkError(
          'LOG_UNREACHABLE',
          `${this.#options.topic} cannot be read beyond offset ${reader.next}: a transaction is open there`,
        )
      await this.#options.clock.sleep(HELD_PAUSE_MS, signal)
    }
  }

  #shortened(end: PartitionEnd | undefined): TidemarkError {
    const { topic } = this.#options
    const { name, offset } = this.#expected!
    return new TidemarkError(
      'LOG_HOLE',
      `${topic} had unit ${name} at offset ${offset}, and ${end === undefined ? 'is not there' : `ends at ${end.high} without it`}: it was shortened or made anew`,
    )
  }

  /** Records that the store does not have yet have to be there; where others are gone, their partition goes on from its end. */
  async #proveRecords(signal: AbortSignal): Promise<void> {
    const { ends, isStored } = this.#options
    const found = await ends.of(
      [...this.#partitions.values()].map(({ topic }) => topic),
      signal,
    )
    for (const [key, partition] of this.#partitions) {
      const high = found.get(key)?.high ?? 0n
      const written = this.#written.get(key)
      if (written !== undefined && written.offset >= high && !isStored(written.position))
        throw new TidemarkError(
          'LOG_HOLE',
          `${partition.topic}/${partition.partition} had records up to offset ${written.offset}, and ends at ${high}: it was shortened or made anew`,
        )
      if (partition.offset >= high) this.#partitions.set(key, { ...partition, offset: high - 1n })
    }
  }

  #apply(unit: Unit, offset: bigint): void {
    for (const partition of unit.partitions) this.#partitions.set(partitionKey(partition), partition)
    this.#last = { term: unit.term, unit: unit.unit, previous: unit.previous, offset }
    const { generation, place } = this.#options
    if (unit.generation !== generation || unit.term < place.since) return
    let newest = ORIGIN
    for (const entry of unit.entries) {
      if (entry.kind !== 'transaction') continue
      const position = parsePosition(entry.lsn)
      newest = laterPosition(newest, position)
      if (entry.end === null) this.#open = { position, through: entry.first + entry.count }
      else {
        this.#open = undefined
        this.#complete = laterPoint(this.#complete, {
          position: parsePosition(entry.end),
          resume: entry.resume ?? undefined,
        })
      }
    }
    for (const partition of unit.partitions)
      if (partition.records > 0)
        this.#written.set(partitionKey(partition), { offset: partition.offset, position: newest })
  }
}

function namedUnit({ name, offset }: { readonly name: string; readonly offset: bigint }): TailUnit {
  const [term, unit] = name.split('.').map(Number)
  return { term: term ?? 0, unit: unit ?? 0, previous: '', offset }
}

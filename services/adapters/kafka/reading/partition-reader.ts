/**
 * Reads one topic-partition from a given offset, committed records only. Which records were aborted follows from the
 * broker's list and the control records (KIP-98, "Consumer"), not from the client's own filter, which lets some through.
 */
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { FetchedPartition, KafkaFetcher } from '../client/client.ts'
import { DamagedBatchError } from '../client/damaged-batch.ts'
import { answerOf, kafkaError } from '../client/errors.ts'
import { STREAM_HEADER } from '../records/unit.ts'

export interface LogRecord {
  readonly offset: bigint
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly stamp: Buffer | undefined
  /** Whose it is, as its header says. */
  readonly stream: Buffer | undefined
}

/** For each partition, and there may be hundreds; the broker sends at least one batch. */
const FETCH_BYTES = 1024 * 1024
const WAIT_MS = 500
/** Of one fetch for many partitions. */
const TOGETHER_BYTES = 8 * 1024 * 1024
const ABORT = 0
/** A topic that moves is absent for a moment; each try asks for the metadata again. */
const ABSENT_TRIES = 10
const ABSENT_PAUSE_MS = 400
/** A batch that came damaged is asked for again before its broker's disk is taken to be: the way here may have done it. */
const DAMAGED_TRIES = 3
const DAMAGED_PAUSE_MS = 200
/** Empty answers, one after the other, until a partition that ends too early is believed: a new leader learns its end within half a minute. */
const SHORT_TRIES = 120
/**
 * For so long a transaction may keep written records from being read until it is said: ours are over after a minute, by the broker's
 * word. One that hangs ends by an operator's.
 */
const HELD_MS = 120_000

export class PartitionReader {
  readonly topic: string
  readonly partition: number
  readonly #fetcher: KafkaFetcher
  readonly #header: string
  /** The next offset to fetch. */
  next: bigint
  readonly #records: LogRecord[] = []
  readonly #aborting = new Set<string>()
  /** Since when fetches find nothing but records that a transaction holds back. */
  #heldSince: number | undefined
  readonly #shortTries: number
  readonly #clock: Clock

  constructor(
    fetcher: KafkaFetcher,
    topic: string,
    partition: number,
    from: bigint,
    header: string,
    { shortTries = SHORT_TRIES, clock }: { readonly shortTries?: number; readonly clock: Clock },
  ) {
    this.#clock = clock
    this.#shortTries = shortTries
    this.#fetcher = fetcher
    this.topic = topic
    this.partition = partition
    this.next = from
    this.#header = header
  }

  /**
   * The committed records up to and with an offset that is known to be written; waits for them.
   *
   * @throws TidemarkError LOG_HOLE where the partition does not reach that far any more
   */
  async upTo(offset: bigint, signal: AbortSignal): Promise<LogRecord[]> {
    for (let tries = 0; this.next <= offset; ) tries = await this.#towards(offset, tries, signal)
    let count = 0
    while (count < this.#records.length && this.#records[count]!.offset <= offset) count++
    return this.#records.splice(0, count)
  }

  /** Returns how many fetches brought nothing, one after the other. @throws TidemarkError LOG_HOLE where that is so for too long */
  async #towards(offset: bigint, tries: number, signal: AbortSignal): Promise<number> {
    const before = this.next
    const { high } = await this.#fetch(signal, WAIT_MS, true)
    if (this.next > before || high > offset) return 0
    if (tries + 1 < this.#shortTries) return tries + 1
    throw new TidemarkError(
      'LOG_HOLE',
      `${this.topic}/${this.partition} had records up to offset ${offset}, and ends at ${high}: it was shortened or made anew`,
    )
  }

  /** Passes over everything up to and with an offset; what was aborted beyond it, the broker says again. */
  skip(offset: bigint): void {
    const first = this.#records.findIndex((record) => record.offset > offset)
    this.#records.splice(0, first < 0 ? this.#records.length : first)
    if (this.next > offset) return
    this.next = offset + 1n
    this.#aborting.clear()
  }

  /** The next committed record, as soon as there is one. */
  async following(signal: AbortSignal): Promise<LogRecord> {
    while (this.#records.length === 0) await this.#fetch(signal)
    return this.#records.shift()!
  }

  /**
   * The next committed record on the way to an offset that is known to have one; waits for it.
   *
   * @throws TidemarkError LOG_HOLE where the partition does not reach that far any more, or has none there
   */
  async before(offset: bigint, signal: AbortSignal): Promise<LogRecord> {
    for (let tries = 0; this.#records.length === 0; ) {
      if (this.next > offset)
        throw new TidemarkError(
          'LOG_HOLE',
          `${this.topic}/${this.partition} had a record at offset ${offset}, and has none there any more: it was shortened or made anew`,
        )
      tries = await this.#towards(offset, tries, signal)
    }
    return this.#records.shift()!
  }

  /** The next committed record that is there already; undefined at the end of what is committed. */
  async available(signal: AbortSignal): Promise<LogRecord | undefined> {
    while (this.#records.length === 0) {
      const before = this.next
      const { stable: end } = await this.#fetch(signal, 1)
      if (this.#records.length === 0 && (this.next >= end || this.next === before)) return undefined
    }
    return this.#records.shift()
  }

  /**
   * Returns where what is committed ends, and what is written.
   *
   * @param isThere whether the log is known to have records here
   * @throws TidemarkError LOG_HOLE where the log no longer has the offset
   */
  async #fetch(
    signal: AbortSignal,
    maxWaitTime = WAIT_MS,
    isThere = this.next > 0n,
  ): Promise<{ readonly stable: bigint; readonly high: bigint }> {
    let fetched: Awaited<ReturnType<PartitionReader['ask']>>
    let damaged = 0
    for (let left = ABSENT_TRIES; ; left--) {
      signal.throwIfAborted()
      try {
        fetched = await this.ask(maxWaitTime)
        break
      } catch (error) {
        if (error instanceof DamagedBatchError && ++damaged < DAMAGED_TRIES) {
          await this.#clock.sleep(DAMAGED_PAUSE_MS, signal)
          continue
        }
        const known = kafkaError(error, `${this.topic}/${this.partition} at offset ${this.next}`)
        if (error instanceof DamagedBatchError)
          throw new TidemarkError('LOG_HOLE', `${this.topic}/${this.partition}: ${error.message}`, {
            cause: error,
          })
        if (known.code === 'LOG_HOLE')
          throw new TidemarkError(
            'LOG_HOLE',
            `${this.topic}/${this.partition} no longer has offset ${this.next}: its retention ran ahead, or it was made anew`,
            { cause: error },
          )
        if (!answerOf(error).startsWith('UNKNOWN_TOPIC') || !isThere) throw known
        // A topic that had records and is gone for so long was deleted, and what it held with it.
        if (left <= 0)
          throw new TidemarkError(
            'LOG_HOLE',
            `${this.topic}/${this.partition} was deleted with records up to offset ${this.next - 1n}`,
            { cause: error },
          )
        await this.#clock.sleep(ABSENT_PAUSE_MS, signal)
      }
    }
    signal.throwIfAborted()
    const before = this.next
    this.accept(fetched)
    const ends = { stable: BigInt(fetched.lastStableOffset), high: BigInt(fetched.highWatermark) }
    const isHeld = this.next === before && ends.stable <= before && ends.high > before
    this.#heldSince = isHeld ? (this.#heldSince ?? this.#clock.elapsed()) : undefined
    if (isHeld && this.#clock.elapsed() - this.#heldSince! >= HELD_MS) throw this.#heldBack(ends.stable)
    return ends
  }

  #heldBack(stable: bigint): TidemarkError {
    this.#heldSince = undefined
    const where = `${this.topic}/${this.partition}`
    return new TidemarkError(
      'LOG_UNREACHABLE',
      `${where} cannot be read beyond offset ${this.next}: a transaction has been open there for minutes`,
      {
        next: `kafka-transactions.sh --bootstrap-server … find-hanging --broker-id … tells whose it is, and abort --topic ${this.topic} --partition ${this.partition} --start-offset ${stable} ends it; up goes on by itself`,
      },
    )
  }

  /** Takes in what a fetch from `next` brought. */
  accept(fetched: FetchedPartition): void {
    const aborted = [...(fetched.abortedTransactions ?? [])]
      .map((a) => ({ producer: a.producerId, from: BigInt(a.firstOffset) }))
      .sort((a, b) => (a.from < b.from ? -1 : 1))
    for (const message of fetched.messages) {
      const offset = BigInt(message.offset)
      if (offset < this.next) continue
      this.next = offset + 1n
      while (aborted[0] !== undefined && aborted[0].from <= offset)
        this.#aborting.add(aborted.shift()!.producer)
      const producer = message.batchContext.producerId
      if (message.isControlRecord) {
        // Key: version, type; an abort marker ends the aborted transaction of its producer.
        if (message.key !== null && message.key.readInt16BE(2) === ABORT) this.#aborting.delete(producer)
        continue
      }
      if (message.batchContext.inTransaction && this.#aborting.has(producer)) continue
      this.#records.push({
        offset,
        key: message.key,
        value: message.value,
        stamp: message.headers?.[this.#header],
        stream: message.headers?.[STREAM_HEADER],
      })
    }
  }

  /** Its broker; undefined while that is not known. */
  get leader(): string | undefined {
    return this.#fetcher.leader(this.topic, this.partition)
  }

  /** One fetch from the partition's leader. */
  async ask(waitMs: number): Promise<FetchedPartition> {
    if (this.leader === undefined) await this.#fetcher.lookUp(this.topic)
    const { leader, topic } = this
    if (leader === undefined)
      throw new TidemarkError('LOG_UNREACHABLE', `${topic}/${this.partition} has no leader`)
    try {
      const wanted = { partition: this.partition, offset: this.next, bytes: FETCH_BYTES }
      const [found] = await this.#fetcher.fetch(leader, {
        waitMs,
        bytes: FETCH_BYTES,
        topics: [{ topic, partitions: [wanted] }],
      })
      const partition = found?.partitions[0]
      if (partition === undefined)
        throw new TidemarkError(
          'LOG_UNREACHABLE',
          `${topic}/${this.partition}: an answer without the partition`,
        )
      return partition
    } catch (error) {
      // A leader that moved is found again by the next try.
      await this.#fetcher.lookUp().catch(() => undefined)
      throw error
    }
  }
}

/**
 * One fetch to each broker for all partitions that have not come so far yet: a request for each would wait for the one
 * before it. What it does not bring, for whatever reason, is left to the readers themselves, which say what is wrong.
 *
 * @param bytesEach of a partition: less than usual where what comes behind is not wanted
 */
export async function fetchTogether(
  fetcher: KafkaFetcher,
  wanted: readonly { readonly reader: PartitionReader; readonly offset: bigint }[],
  bytesEach: number = FETCH_BYTES,
): Promise<void> {
  const byLeader = new Map<string, PartitionReader[]>()
  for (const { reader, offset } of wanted) {
    const { leader } = reader
    if (reader.next > offset || leader === undefined) continue
    const held = byLeader.get(leader)
    if (held === undefined) byLeader.set(leader, [reader])
    else held.push(reader)
  }
  await Promise.allSettled(
    [...byLeader].map(async ([nodeId, readers]) => {
      if (readers.length < 2) return
      const topics = new Map<string, PartitionReader[]>()
      for (const reader of readers) topics.set(reader.topic, [...(topics.get(reader.topic) ?? []), reader])
      const responses = await fetcher.fetch(nodeId, {
        waitMs: WAIT_MS,
        bytes: TOGETHER_BYTES,
        topics: [...topics].map(([topic, of]) => ({
          topic,
          partitions: of.map(({ partition, next }) => ({ partition, offset: next, bytes: bytesEach })),
        })),
      })
      for (const { topicName, partitions } of responses)
        for (const partition of partitions)
          topics
            .get(topicName)
            ?.find((reader) => reader.partition === partition.partition)
            ?.accept(partition)
    }),
  )
}

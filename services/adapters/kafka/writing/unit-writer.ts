/**
 * Puts units into Kafka: one Kafka transaction each, one send in flight, and a producer that is thrown away after any
 * error (hazard 75). What became of an unanswered commit is read back from the log itself, after the old producer is
 * fenced, so that a unit is in the log once.
 */
import type { Clock, Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { growingPauses, isOutage, retrying } from '../../../core/retry.ts'
import type { KafkaClient, KafkaWriter, TopicMessages } from '../client/client.ts'
import { kafkaError } from '../client/errors.ts'
import type { LogTail, TailReader, TailUnit } from '../reading/log-tail.ts'
import type { OpenUnit } from './open-unit.ts'
import { partitionKey } from '../topics/partition-ends.ts'
import { baseOffset, joined, Slab } from './unit-messages.ts'
import type { Registry } from '../registry/registry.ts'
import type { TableRecords } from '../records/table-records.ts'
import { wireHead } from '../records/table-records.ts'
import type { Topics } from '../topics/topics.ts'
import {
  COMMITTED_HEADER,
  encodeUnit,
  HEADER,
  stampText,
  STREAM_HEADER,
  streamMark,
  type Unit,
  UNIT_FORMAT,
  UNIT_SCHEMA,
  unitName,
  type UnitPartition,
} from '../records/unit.ts'

/** Producers are exchanged long before sequence numbers wrap, which the client does wrongly. */
const UNITS_PER_PRODUCER = 100_000
const TRANSACTION_MS = 60_000
/** Of one batch: the broker's default limit is 1 MiB. */
const BATCH_BYTES = 900 * 1024
/** Above this a unit's own record is compressed: names of thousands of partitions repeat themselves. */
const PLAIN_BYTES = 64 * 1024
const WHOLE = { isLink: false, isTombstone: false, piece: 0, pieces: 1 }
/** All topic-partitions are named this often: readers start from there. */
const FULL_EVERY_MS = 60_000
/**
 * Of topic-partitions in one unit's record: so many are some 600 KiB when they are compressed by gzip, and up to 900 KiB by what a topic's
 * setting may make of them. Where a log has more, no record names all of them, and readers start further back.
 */
export const UNIT_PARTITIONS = 40_000
/** One after the other, that Kafka refuses although nobody else has the claim: a broker that was set back has forgotten the producer. */
const FENCED_TRIES = 5

export interface UnitWriterOptions {
  readonly client: KafkaClient
  readonly topics: Topics
  readonly registry: Registry
  readonly transactions: string
  /** The backup's id. */
  readonly stream: string
  readonly transactionalId: string
  readonly lanes: number
  readonly generation: number
  readonly term: number
  /** Topic-partitions that one record may name beyond those that its unit wrote. */
  readonly partitionsAtOnce: number
  readonly clock: Clock
  readonly randomness: Randomness
  /** Asked before older writers are fenced: a writer that lost its claim must not fence the one that has it. */
  readonly confirm: () => Promise<void>
  readonly tail: TailReader
  readonly onRetry?: (error: { readonly code: string; readonly message: string }) => void
  readonly onPoint?: (point: string) => unknown
}

export class UnitWriter {
  readonly #options: UnitWriterOptions
  #producer: KafkaWriter | undefined
  #sent = 0
  /** Of this term; every try has its own. */
  #unit = 0
  #partitions = new Map<string, UnitPartition>()
  /** The last unit in the log. */
  #last: TailUnit | undefined
  #isOpen = false
  #fullAt = Number.NEGATIVE_INFINITY
  #unitSchema: Buffer | undefined
  readonly #heads = new Map<TableRecords, { readonly key: Buffer; readonly value: Buffer }>()

  constructor(options: UnitWriterOptions) {
    this.#options = options
  }

  /** Fences every older writer and tells where the log ends. */
  async open(signal: AbortSignal): Promise<LogTail> {
    return this.#retrying(signal, async () => {
      await this.#options.topics.ensure(this.#options.transactions, 1)
      this.#unitSchema ??= wireHead(
        await this.#options.registry.register(
          `${this.#options.transactions}-value`,
          JSON.stringify(UNIT_SCHEMA),
        ),
      )
      return this.#begin(signal)
    })
  }

  /** Resolves once the unit is in the log; returns its offset in the topic of transactions. */
  async write(unit: OpenUnit, signal: AbortSignal): Promise<bigint> {
    const tried = new Set<number>()
    let fenced = 0
    return this.#retrying(signal, async () => {
      if (this.#producer === undefined || this.#sent >= UNITS_PER_PRODUCER) {
        const before = this.#last
        const { last } = await this.#begin(signal, tried)
        // The answer was lost, the commit was not: this very unit is the last one in the log.
        if (last !== undefined && last.offset !== before?.offset) return last.offset
      }
      const number = ++this.#unit
      tried.add(number)
      try {
        return await this.#once(unit, number)
      } catch (error) {
        await this.#drop()
        this.#options.topics.forget()
        throw await this.#unlessFenced(error, ++fenced)
      }
    })
  }

  /** Fenced by nobody who has the claim: the broker was set back, or gave the transaction up. */
  async #unlessFenced(error: unknown, times: number): Promise<unknown> {
    if (!(error instanceof TidemarkError) || error.code !== 'LOG_FENCED') return error
    await this.#options.confirm()
    if (times >= FENCED_TRIES)
      return new TidemarkError(
        'LOG_FENCED',
        `${error.message} ${times} times, and the ledger knows of no other writer`,
        {
          cause: error,
          means: `Something else opens the transactional id ${this.#options.transactionalId} of this backup. Nothing was acknowledged beyond what is kept.`,
          next: 'find what else uses it (an installation with a copy of the store, a tool), or look whether the brokers were set back again and again',
        },
      )
    return new TidemarkError('LOG_UNREACHABLE', `${error.message}, and no other process has the claim`, {
      cause: error,
    })
  }

  async close(): Promise<void> {
    await this.#drop()
  }

  /** @param tried units of which one may be in the log behind the last one that is known */
  async #begin(signal: AbortSignal, tried: ReadonlySet<number> = new Set()): Promise<LogTail> {
    await this.#drop()
    await this.#options.confirm()
    const producer = this.#options.client.writer({
      transactionalId: this.#options.transactionalId,
      timeoutMs: TRANSACTION_MS,
    })
    let tail: LogTail
    try {
      await producer.connect()
      // The first transaction fences: an empty one, given up.
      await (await producer.begin()).abort()
      // Nothing is sent by a producer before the log has shown where it ends: the last unit may be in it unanswered.
      tail = await this.#options.tail.read(signal)
      if (this.#isOpen) this.#proveLast(tail.last, tried)
    } catch (error) {
      await producer.disconnect().catch(() => undefined)
      throw kafkaError(error, `the transactional id ${this.#options.transactionalId}`)
    }
    this.#producer = producer
    this.#sent = 0
    this.#isOpen = true
    this.#partitions = new Map(tail.partitions)
    this.#last = tail.last
    return tail
  }

  /** Behind the last unit that is known there is nothing, or the one whose answer is outstanding. */
  #proveLast(found: TailUnit | undefined, tried: ReadonlySet<number>): void {
    const last = this.#last
    if (found === undefined || found.offset === last?.offset) return
    const { term, transactions } = this.#options
    const previous = last === undefined ? '' : unitName(last)
    if (found.term === term && tried.has(found.unit) && found.previous === previous) return
    throw found.term > term
      ? new TidemarkError('LOG_FENCED', `${transactions} has units of a newer writer`)
      : new TidemarkError(
          'LOG_HOLE',
          `${transactions} has unit ${unitName(found)} behind ${previous === '' ? 'nothing' : previous}, and this process did not write it`,
        )
  }

  async #once(unit: OpenUnit, number: number): Promise<bigint> {
    const { generation, term, transactions, stream, onPoint } = this.#options
    const mark = streamMark(stream)
    const partitions = new Map(this.#partitions)
    const rounds: TopicMessages[][] = []
    const slab = new Slab(unit.bytes)
    const { topics, lanes, clock } = this.#options
    // Of writing: a commit's time may lie behind what a topic keeps, or, by the source's clock, ahead of what brokers take.
    const timestamp = String(clock.now())
    const written = new Set<string>()
    for (const pending of unit.partitions.values()) {
      const topic = await topics.named(pending.topic)
      const { partition } = pending
      await topics.ensure(topic, lanes)
      const key = partitionKey({ topic, partition })
      written.add(key)
      let last = partitions.get(key)?.number ?? 0
      const batches: TopicMessages['messages'][] = []
      let bytes = BATCH_BYTES
      for (const record of pending.records) {
        const heads = await this.#headsOf(record.table)
        last++
        const size = record.value.length + record.key.length + 100
        if (bytes + size > BATCH_BYTES) {
          batches.push([])
          bytes = 0
        }
        bytes += size
        batches.at(-1)!.push({
          key: record.key.length === 0 ? null : slab.join(heads.key, record.key),
          // Pieces behind the first go on where the one before ended.
          value: record.isTombstone
            ? null
            : record.piece === 0
              ? slab.join(heads.value, record.value)
              : record.value,
          partition,
          timestamp,
          headers: {
            [HEADER]: stampText(generation, term, number, last, record.table.shape.id, record),
            [STREAM_HEADER]: mark,
            [COMMITTED_HEADER]: record.committed,
          },
        })
      }
      for (const [i, messages] of batches.entries()) (rounds[i] ??= []).push({ topic, messages })
    }
    const now = clock.elapsed()
    try {
      const transaction = await this.#producer!.begin()
      onPoint?.('unit-begun')
      const changed: UnitPartition[] = []
      // All messages for a partition become one batch, and the broker limits a batch: several rounds.
      for (const [i, round] of rounds.entries()) {
        const answers = await transaction.send(joined(round))
        if (i === rounds.length - 1) onPoint?.('unit-sent')
        for (const { topic, messages } of round) {
          const partition = messages[0]!.partition!
          const key = partitionKey({ topic, partition })
          const base = baseOffset(answers, topic, partition)
          this.#proveOffset(base, partitions.get(key))
          partitions.set(key, {
            topic,
            partition,
            number: (partitions.get(key)?.number ?? 0) + messages.length,
            offset: base + BigInt(messages.length) - 1n,
            first: i === 0 ? base : partitions.get(key)!.first,
            records: (i === 0 ? 0 : partitions.get(key)!.records) + messages.length,
          })
        }
      }
      for (const key of written) changed.push(partitions.get(key)!)
      const full = now - this.#fullAt >= FULL_EVERY_MS && partitions.size <= this.#options.partitionsAtOnce
      const progress: Unit = {
        generation,
        term,
        unit: number,
        entries: unit.entries,
        partitions: full
          ? [...partitions].map(([key, p]) => (written.has(key) ? p : { ...p, first: p.offset, records: 0 }))
          : changed,
        full,
        bytes: unit.bytes,
        ddl: unit.ddl,
        previous: this.#last === undefined ? '' : unitName(this.#last),
        stream,
      }
      const encoded = encodeUnit(progress)
      const record: TopicMessages = {
        topic: transactions,
        messages: [
          {
            partition: 0,
            key: null,
            timestamp,
            value: Buffer.concat([this.#unitSchema!, encoded]),
            headers: {
              [HEADER]: stampText(generation, term, number, 0, UNIT_FORMAT, WHOLE),
              [STREAM_HEADER]: mark,
            },
          },
        ],
      }
      const compression = encoded.length > PLAIN_BYTES ? 'gzip' : undefined
      const offset = baseOffset(await transaction.send([record], compression), transactions, 0)
      if (this.#last !== undefined)
        this.#proveOffset(offset, { topic: transactions, partition: 0, offset: this.#last.offset })
      onPoint?.('unit-progress')
      await transaction.commit()
      onPoint?.('unit-committed')
      this.#sent++
      this.#last = { term, unit: number, previous: progress.previous, offset }
      this.#options.tail.committed(progress, offset)
      this.#partitions = partitions
      if (full) this.#fullAt = now
      return offset
    } catch (error) {
      throw kafkaError(error, 'a unit of the change log')
    }
  }

  /** A topic that is made anew between two units takes records without a word: then the log is looked at again. */
  #proveOffset(
    offset: bigint,
    before: Pick<UnitPartition, 'topic' | 'partition' | 'offset'> | undefined,
  ): void {
    if (before === undefined || offset > before.offset) return
    throw new TidemarkError(
      'LOG_UNREACHABLE',
      `${before.topic}/${before.partition} took a record at offset ${offset}, and had one at ${before.offset}`,
    )
  }

  async #headsOf(table: TableRecords): Promise<{ readonly key: Buffer; readonly value: Buffer }> {
    let heads = this.#heads.get(table)
    if (heads === undefined) {
      const { registry, topics } = this.#options
      const topic = await topics.named(table.topic)
      heads = {
        key: wireHead(await registry.register(`${topic}-key`, table.keySchema)),
        value: wireHead(await registry.register(`${topic}-value`, table.valueSchema)),
      }
      this.#heads.set(table, heads)
    }
    return heads
  }

  async #drop(): Promise<void> {
    const producer = this.#producer
    this.#producer = undefined
    await producer?.disconnect().catch(() => undefined)
  }

  async #retrying<T>(signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const { clock, randomness, onRetry } = this.#options
    return retrying(action, {
      clock,
      pauses: growingPauses(randomness),
      passes: isOutage,
      signal,
      onAgain: ({ code, message }) => onRetry?.({ code, message }),
    })
  }
}

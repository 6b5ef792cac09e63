/**
 * ChangeLog over Kafka: topics of tables for everybody, one topic of transactions that says what is complete. Wiring
 * only: units are filled here, written by one class and read by another.
 */
import type { RecordWords } from '../../../core/ports/dialect.ts'
import type { StreamPoint } from '../../../core/ports/source.ts'
import type { Clock, Randomness } from '../../../core/clock.ts'
import { GrowingMark } from '../../../core/growing-mark.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { ChangeLog } from '../../../core/ports/change-log.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { comparePositions, laterPosition, ORIGIN, type Position } from '../../../core/position.ts'
import { deferred, type Deferred } from '../../../core/running-state.ts'
import {
  bytesOf,
  type ChangeShape,
  type LogItem,
  type LogPlace,
  type TransactionPart,
} from '../../../core/transaction.ts'
import type { KafkaAdmin, KafkaFetcher } from '../client/client.ts'
import { openClient } from '../client/connection.ts'
import { kafkaError } from '../client/errors.ts'
import type { KafkaSettings } from '../client/settings.ts'
import { type LogTail, NO_TAIL, TailReader } from '../reading/log-tail.ts'
import { OpenUnit } from '../writing/open-unit.ts'
import { PartitionEnds } from '../topics/partition-ends.ts'
import { Registry, type RegistrySettings } from '../registry/registry.ts'
import { type TableRecordOptions, TableRecords } from '../records/table-records.ts'
import { logName, transactionalId } from '../records/log-name.ts'
import { transactionsTopic } from '../records/topic-name.ts'
import { Topics } from '../topics/topics.ts'
import { UnitReader } from '../reading/unit-reader.ts'
import { UNIT_PARTITIONS, UnitWriter } from '../writing/unit-writer.ts'

export interface KafkaLogOptions {
  readonly settings: KafkaSettings
  readonly registry: RegistrySettings
  /** Only one process writes: opening the log as a writer fences all others. */
  readonly role: 'both' | 'replicator' | 'compactor'
  readonly prefix: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly tombstones: boolean
  readonly partitionBy: TableRecordOptions['partitionBy']
  readonly generation: number
  /** The backup's id. */
  readonly stream: string
  readonly term: number
  /** Commit LSN of the last transaction in the store. */
  readonly after: Position
  /** Where the ledger says that the log goes on; undefined where it has never been read. */
  readonly place: LogPlace | undefined
  /** `log`: the source is acknowledged once Kafka has it, on all replicas in sync; else once the store has it. */
  readonly acknowledge: 'segment' | 'log'
  /** Topic-partitions that one unit's record names at most, but for one change that is in more; UNIT_PARTITIONS where it is not given. */
  readonly partitionsAtOnce?: number
  /** Reads what units say of their transactions, and not the rows. */
  readonly outline?: boolean
  /** Throws where this process is no longer the one that may write. */
  readonly confirm: () => Promise<void>
  /** Whose inserted rows are records of schema changes. */
  readonly records: Pick<RecordWords, 'holds'>
  readonly clock: Clock
  readonly randomness: Randomness
  readonly onRetry?: (error: { readonly code: string; readonly message: string }) => void
  readonly onForeign?: (place: {
    readonly topic: string
    readonly partition: number
    readonly offset: string
  }) => void
  readonly onPoint?: (point: string) => unknown
}

/** How long the first item of a unit waits for others. */
const LINGER_MS = 10
/** One batch for each partition: below the broker's default of 1 MiB. */
const BATCH_BYTES = 600 * 1024
/** A unit's own record: transactions and control records. */
const PROGRESS_BYTES = 200 * 1024

export class KafkaChangeLog implements ChangeLog {
  readonly #options: KafkaLogOptions
  readonly #fetcher: KafkaFetcher
  readonly #admin: KafkaAdmin
  readonly #writer: UnitWriter | undefined
  readonly #reader: UnitReader
  readonly #tables = new Map<string, TableRecords>()
  /** What the log had when it was opened. */
  readonly tail: LogTail
  #unit = new OpenUnit()
  #openTransaction: { readonly position: Position; seen: number } | undefined
  #writing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #written = -1n
  /** End of the last transaction that this process put into the log whole. */
  accepted: Position = ORIGIN
  #failure: { readonly error: unknown } | undefined
  readonly #stop = new AbortController()
  readonly #drained: Deferred<void> = deferred()
  #until: bigint | undefined
  readonly #durable = new GrowingMark()
  /** Runs ahead of what is durable where the operator chose so. */
  readonly #acknowledgeable = new GrowingMark()
  #waiting = 0

  private constructor(
    options: KafkaLogOptions,
    parts: {
      fetcher: KafkaFetcher
      admin: KafkaAdmin
      writer: UnitWriter | undefined
      reader: UnitReader
      tail: LogTail
    },
  ) {
    this.#options = options
    this.#fetcher = parts.fetcher
    this.#admin = parts.admin
    this.#writer = parts.writer
    this.#reader = parts.reader
    this.tail = parts.tail
  }

  /** Connects, fences every older writer, and finds the end of the log. @throws TidemarkError LOG_… */
  static async open(options: KafkaLogOptions, signal: AbortSignal): Promise<KafkaChangeLog> {
    const client = openClient(options.settings)
    const admin = client.admin()
    const fetcher = client.fetcher()
    let writer: UnitWriter | undefined
    try {
      await admin.connect()
      await fetcher.connect()
      const transactions = transactionsTopic(options.prefix)
      const topics = new Topics(admin, options.clock, options.replicationFactor)
      await topics.ensure(transactions, 1)
      const log = logName((await admin.cluster()).id, options.prefix)
      const ends = (await admin.ends(transactions))[0]
      const low = ends?.low ?? 0n
      if (options.role === 'compactor' && options.place?.log !== log)
        throw new TidemarkError(
          'LOG_UNREACHABLE',
          'the ledger does not name this log yet: the replicator will',
        )
      const place =
        options.place?.log === log
          ? options.place
          : { log, from: low, at: low, since: 0, unit: '', idsFrom: low }
      if (place.unit !== '' && (ends?.high ?? 0n) <= place.at)
        throw new TidemarkError(
          'LOG_HOLE',
          `${transactions} ends at offset ${ends?.high ?? 0n}, and ${place.at} was read from it: it was shortened or made anew`,
        )
      const registry = new Registry(options.registry)
      const { generation, stream, term, clock, randomness, after } = options
      const drain: { check?: () => void; durable?: () => Position } = {}
      if (options.role !== 'compactor')
        writer = new UnitWriter({
          client,
          topics,
          registry,
          transactions,
          transactionalId: transactionalId(options.prefix, stream),
          stream,
          lanes: options.partitions,
          generation,
          term,
          partitionsAtOnce: options.partitionsAtOnce ?? UNIT_PARTITIONS,
          clock,
          randomness,
          confirm: options.confirm,
          tail: new TailReader({
            fetcher,
            ends: new PartitionEnds(admin, clock),
            topic: transactions,
            generation,
            stream,
            place,
            isStored: (position) =>
              comparePositions(position, after) <= 0 ||
              comparePositions(position, drain.durable?.() ?? ORIGIN) < 0,
            clock,
          }),
          ...(options.onRetry === undefined ? {} : { onRetry: options.onRetry }),
          ...(options.onPoint === undefined ? {} : { onPoint: options.onPoint }),
        })
      const tail = (await writer?.open(signal)) ?? NO_TAIL
      const reader = new UnitReader({
        onDone: () => drain.check?.(),
        records: options.records,
        fetcher,
        registry,
        topic: transactions,
        generation,
        stream,
        after,
        place,
        low,
        outline: options.outline === true,
        acknowledge: options.acknowledge,
        clock,
        ...(options.onForeign === undefined ? {} : { onForeign: options.onForeign }),
      })
      const opened = new KafkaChangeLog(options, { fetcher, admin, writer, reader, tail })
      drain.check = () => opened.#checkDrained()
      drain.durable = () => opened.durable
      return opened
    } catch (error) {
      await writer?.close()
      await admin.disconnect().catch(() => undefined)
      await fetcher.disconnect().catch(() => undefined)
      throw kafkaError(error, 'the change log')
    }
  }

  get complete(): StreamPoint {
    return this.tail.complete
  }

  /** Units that are not in Kafka yet: the one being filled and the one under way. */
  get waitingUnits(): number {
    return (this.#unit.isEmpty ? 0 : 1) + (this.#writing === undefined ? 0 : 1)
  }

  get waitingBytes(): number {
    return this.#waiting
  }

  async append(item: LogItem, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.#throwFailure()
    if (item.kind === 'changes') this.#part(item)
    else {
      // A large control record does not share its unit's record with much else.
      if (
        (item.kind === 'schema' || item.kind === 'schema-change') &&
        this.#unit.recordBytes > PROGRESS_BYTES / 4
      ) {
        await this.#writing
        this.#throwFailure()
        this.#begin()
      }
      this.#unit.control(item)
    }
    if (
      this.#unit.fullest >= BATCH_BYTES ||
      this.#unit.bytes >= LIMITS.changeLogBytes / 2 ||
      this.#unit.recordBytes >= PROGRESS_BYTES ||
      this.#unit.partitions.size >= (this.#options.partitionsAtOnce ?? UNIT_PARTITIONS)
    ) {
      // A unit may be under way while the next is filled; a third waits.
      await this.#writing
      this.#throwFailure()
      this.#begin()
    } else if (this.#writing === undefined) this.#timer ??= setTimeout(() => this.#begin(), LINGER_MS)
  }

  /** What a writer before us has put into the log already is left out. */
  #part(part: TransactionPart): void {
    const { position } = part.head
    if (
      this.#openTransaction === undefined ||
      comparePositions(this.#openTransaction.position, position) !== 0
    )
      this.#openTransaction = { position, seen: 0 }
    const there =
      this.tail.open !== undefined && comparePositions(this.tail.open.position, position) === 0
        ? this.tail.open.through
        : 0
    const first = this.#openTransaction.seen
    this.#openTransaction.seen += part.changes.count
    if (part.end !== undefined && comparePositions(part.end, this.tail.complete.position) <= 0) return
    const skip = Math.min(part.changes.count, Math.max(0, there - first))
    const tables = part.changes.shapes.map((shape) => this.#table(shape))
    this.#unit.part(skip === 0 ? part : withoutFirst(part, skip), first + skip, tables)
    this.#waiting += bytesOf(part)
  }

  #table(shape: ChangeShape): TableRecords {
    let table = this.#tables.get(shape.id)
    if (table === undefined) {
      table = new TableRecords(shape, {
        prefix: this.#options.prefix,
        lanes: this.#options.partitions,
        tombstones: this.#options.tombstones,
        partitionBy: this.#options.partitionBy,
      })
      this.#tables.set(shape.id, table)
    }
    return table
  }

  /** Sends the open unit; one at a time. */
  #begin(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#unit.isEmpty || this.#writing !== undefined || this.#failure !== undefined) return
    const unit = this.#unit
    this.#unit = new OpenUnit()
    this.#writing = this.#writer!.write(unit, this.#stop.signal)
      .then((offset) => {
        this.#written = offset
        this.accepted = laterPosition(this.accepted, unit.end)
        if (this.#options.acknowledge === 'log') this.#acknowledgeable.advance(unit.end)
      })
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.#writing = undefined
        if (!this.#unit.isEmpty) this.#begin()
      })
  }

  end(): void {
    if (this.#writer === undefined) this.#drained.resolve()
    else void this.#finish()
  }

  async #finish(): Promise<void> {
    while (this.#failure === undefined && (this.#writing !== undefined || !this.#unit.isEmpty)) {
      this.#begin()
      await this.#writing
    }
    this.#until = this.#written
    this.#checkDrained()
  }

  /** The reader waits for more behind the last unit: somebody has to tell it that there is none. */
  #checkDrained(): void {
    if (this.#until !== undefined && this.#reader.done >= this.#until) this.#drained.resolve()
  }

  async *read(signal: AbortSignal): AsyncIterable<LogItem> {
    const ended = new AbortController()
    void this.#drained.promise.then(() => ended.abort(new DOMException('drained', 'AbortError')))
    const inner = AbortSignal.any([signal, this.#stop.signal, ended.signal])
    try {
      for await (const item of this.#reader.read(inner)) {
        this.#throwFailure()
        if (item.kind === 'changes') this.#waiting = Math.max(0, this.#waiting - bytesOf(item))
        yield item
      }
    } catch (error) {
      this.#throwFailure()
      if (ended.signal.aborted && !signal.aborted) return
      throw error
    }
  }

  get durable(): Position {
    return this.#durable.at
  }

  markDurable(end: Position): void {
    this.#durable.advance(end)
    this.#acknowledgeable.advance(end)
  }

  onAcknowledgeable(listener: (end: Position) => void): () => void {
    return this.#acknowledgeable.on(listener)
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#stop.abort(new DOMException('failed', 'AbortError'))
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#stop.abort(new DOMException('closed', 'AbortError'))
    await this.#writing?.catch(() => undefined)
    await this.#writer?.close()
    await this.#admin.disconnect().catch(() => undefined)
    await this.#fetcher.disconnect().catch(() => undefined)
  }
}

/** The part without its first changes, which are in the log already. */
function withoutFirst(part: TransactionPart, skip: number): TransactionPart {
  const { bytes, offsets, shapeOf, shapes, count } = part.changes
  const start = offsets[skip] ?? bytes.length
  return {
    ...part,
    changes: {
      bytes: bytes.subarray(start),
      offsets: offsets.slice(skip).map((offset) => offset - start),
      shapeOf: shapeOf.slice(skip),
      shapes,
      count: count - skip,
    },
  }
}

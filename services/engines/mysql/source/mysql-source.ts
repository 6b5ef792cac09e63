/** Source port for MySQL and MariaDB: the binlog as the stream, its sets of transactions as the places. */
import type { Clock, Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type {
  CatalogRepair,
  HeldLog,
  IdentityCare,
  LeftOutTable,
  Source,
  SourceIdentity,
  SourceOrigin,
  StreamPoint,
} from '../../../core/ports/source.ts'
import { laterPosition, ORIGIN, type Position } from '../../../core/position.ts'
import { NO_SUBJECTS, type Subjects } from '../../../core/relation.ts'
import type { LogItem, SchemaFacts, SequenceReading } from '../../../core/transaction.ts'
import { dumpBinlog } from '../binlog/dump.ts'
import { readExecuted } from '../binlog/executed.ts'
import { readTransactions } from '../binlog/transactions.ts'
import { stampedUpTo } from '../catalog/moment.ts'
import { readCounters } from '../catalog/read-schema.ts'
import { type ExecutedGtids, parseGtids } from '../events/gtid.ts'
import { headOfNumber, numberAt, numberOf } from '../events/numbering.ts'
import { connect, databaseOf, type OpenSession } from '../session/connect.ts'
import { identify, refuseOther } from '../session/identity.ts'
import { type Origin, originOf } from '../session/origin.ts'
import { BinlogStream } from './binlog-stream.ts'
import { logError } from './log-error.ts'
import { type MysqlSnapshot, takeSnapshot } from './mysql-snapshot.ts'
import { readFacts } from './read-facts.ts'
import { parseResume } from './resume-text.ts'
import { SchemaWatch } from './schema-watch.ts'

export interface MysqlSourceOptions {
  readonly url: string
  /** Of the generation. */
  readonly origin: SourceOrigin
  readonly subjects?: Subjects
  readonly clock: Clock
  readonly randomness: Randomness
  /** Bytes of the largest row that is taken. */
  readonly largestRow: number
}

/** The server says so often that it is there; what is asked for meanwhile waits for that. */
const HEARTBEAT_MS = 1000
/** An event has two images of a row, and what stands around them. */
const EVENT_BYTES = (row: number): number => 2 * row + (1 << 20)

export class MysqlSource implements Source {
  readonly #options: MysqlSourceOptions
  readonly #origin: Origin
  readonly #began: ExecutedGtids
  readonly #database: string
  #confirmed: Position = ORIGIN
  #isReading = false
  #isHeartbeatWanted = false
  #asking: Promise<OpenSession> | undefined

  constructor(options: MysqlSourceOptions) {
    this.#options = options
    this.#origin = originOf(options.origin)
    this.#began = parseGtids(this.#origin.flavour, this.#origin.gtids)
    this.#database = databaseOf(options.url)
  }

  async identify(): Promise<SourceIdentity> {
    return await this.#asked((session) => identify(session, this.#database))
  }

  /** Nothing at the server holds its log for us: how long it stays is the server's own setting. */
  held(): Promise<HeldLog> {
    return Promise.resolve({
      name: 'binlog',
      confirmed: this.#confirmed,
      active: this.#isReading,
      state: 'kept as long as the server is set to',
      isLost: false,
      safeBytes: undefined,
    })
  }

  /** A log may have any number of readers. */
  readonly taken = (): Promise<undefined> => Promise.resolve(undefined)

  async check(from: Position): Promise<void> {
    await this.#asked(async (session) => {
      refuseOther(await identify(session, this.#database), this.#origin)
      const number = numberOf(await readExecuted(session), this.#began)
      if (number < numberAt(from))
        throw new TidemarkError(
          'SOURCE_DIVERGED',
          `the server has executed ${number} transactions since this generation began, and the backup has ${numberAt(from)}`,
        )
    })
  }

  async *stream(from: StreamPoint, signal: AbortSignal): AsyncIterable<LogItem> {
    const { url, largestRow, randomness } = this.#options
    const place = parseResume(this.#origin.flavour, from.resume ?? this.#origin.gtids)
    const { executed } = place
    if (from.resume === undefined && numberAt(from.position) > 0n)
      throw new TidemarkError('LEDGER_BROKEN', 'the ledger does not say which transactions the backup has')
    const looking = await connect(url)
    try {
      const watch = await SchemaWatch.open(looking, this.#database)
      const context = {
        database: this.#database,
        origin: this.#began,
        watch,
        subjects: this.#options.subjects ?? NO_SUBJECTS,
        takeHeartbeat: (): boolean => {
          const isWanted = this.#isHeartbeatWanted
          this.#isHeartbeatWanted = false
          return isWanted
        },
      }
      const largest = EVENT_BYTES(largestRow)
      const log = dumpBinlog(
        await connect(url),
        { executed, serverId: replicaId(randomness), heartbeatMs: HEARTBEAT_MS, largest },
        signal,
      )
      this.#isReading = true
      yield* new BinlogStream(context, from, place).items(readTransactions(log, largest))
    } catch (error) {
      signal.throwIfAborted()
      throw logError(error)
    } finally {
      this.#isReading = false
      await looking.connection.end().catch(() => undefined)
    }
  }

  acknowledge(end: Position): void {
    this.#confirmed = laterPosition(this.#confirmed, end)
  }

  async head(): Promise<Position> {
    return await this.#asked(async (session) =>
      headOfNumber(numberOf(await readExecuted(session), this.#began)),
    )
  }

  async moment(): Promise<{ readonly at: Position; readonly time: bigint }> {
    return await this.#asked(async (session) => {
      const time = await stampedUpTo(session)
      const at = headOfNumber(numberOf(await readExecuted(session), this.#began))
      return { at, time }
    })
  }

  wantHeartbeat(): void {
    this.#isHeartbeatWanted = true
  }

  async snapshot(options: {
    readonly only?: ReadonlySet<number>
    readonly signal: AbortSignal
  }): Promise<MysqlSnapshot> {
    options.signal.throwIfAborted()
    return await takeSnapshot({
      url: this.#options.url,
      database: this.#database,
      origin: this.#began,
      subjects: this.#options.subjects ?? NO_SUBJECTS,
      largest: this.#options.largestRow,
      only: options.only,
    })
  }

  async schema(): Promise<SchemaFacts & { readonly reading: string }> {
    return await readFacts(this.#options.url, this.#database, this.#began, this.#options.randomness)
  }

  readonly currentSchema = (): Promise<SchemaFacts> => this.schema()
  /** Every reading is whole. */
  readonly schemaSince = (): Promise<undefined> => Promise.resolve(undefined)
  /** What changes the schema is in the log. */
  readonly isReadingOld = (): Promise<boolean> => Promise.resolve(false)

  async sequences(): Promise<readonly SequenceReading[]> {
    return await this.#asked((session) => readCounters(session, this.#database))
  }

  readonly repairCatalog = (): Promise<CatalogRepair> => Promise.resolve({ recorded: undefined, failed: [] })
  readonly tendIdentities = (): Promise<IdentityCare> => Promise.resolve({ recorded: [], changes: [] })
  readonly leftOut = (): Promise<readonly LeftOutTable[]> => Promise.resolve([])
  readonly forgetDdl = (): Promise<void> => Promise.resolve()

  async close(): Promise<void> {
    const asking = this.#asking
    this.#asking = undefined
    await asking?.then(
      ({ connection }) => connection.end().catch(() => undefined),
      () => undefined,
    )
  }

  /** Questions go over one connection, which is opened again after one that failed. */
  async #asked<T>(ask: (session: OpenSession) => Promise<T>): Promise<T> {
    this.#asking ??= connect(this.#options.url)
    try {
      return await ask(await this.#asking)
    } catch (error) {
      const asking = this.#asking
      this.#asking = undefined
      await asking?.then(({ connection }) => connection.destroy()).catch(() => undefined)
      throw logError(error)
    }
  }
}

/** Two readers of one number throw each other out. */
function replicaId(randomness: Randomness): number {
  return 0x4000_0000 + (Number.parseInt(randomness.uuid().slice(0, 8), 16) & 0x3fff_ffff)
}

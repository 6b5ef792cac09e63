/** The wiring: settings to adapters to jobs. With `app/wiring/open-backup.ts` and `app/daemon/log-anew.ts` the only place that knows adapters by name. */
import './error-codes.ts'
import { DirectChangeLog } from '../../adapters/direct/direct-change-log.ts'
import { databaseIdOf, MYSQL, originOf } from '../../engines/mysql/session/origin.ts'
import { placeOf as mysqlPlaceOf } from '../../engines/mysql/session/connect.ts'
import { MysqlSource } from '../../engines/mysql/source/mysql-source.ts'
import { begunRestore as begunMysqlRestore, MysqlTarget } from '../../engines/mysql/target/mysql-target.ts'
import { ScratchReading as MysqlScratchReading } from '../../engines/mysql/target/scratch-reading.ts'
import { PostgresSource } from '../../engines/postgres/source/postgres-source.ts'
import { databasePath } from '../../engines/postgres/dialect/schema-steps.ts'
import { placeOf } from '../../engines/postgres/session/session.ts'
import { begunRestore } from '../../engines/postgres/target/begun-restore.ts'
import { ScratchReading } from '../../engines/postgres/target/scratch-reading.ts'
import { openPostgresTarget } from '../../engines/postgres/target/answering-target.ts'
import type { TargetOptions } from '../../engines/postgres/target/postgres-target.ts'
import { systemClock, systemRandomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { clearLog } from '../../core/exposure.ts'
import type { Finding } from '../../core/finding.ts'
import { LIMITS } from '../../core/limits.ts'
import { largestRowHere } from '../../core/row-limit.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import type { Source } from '../../core/ports/source.ts'
import type { SourceServer } from '../../core/ports/source-admin.ts'
import type { BegunRestore, Target } from '../../core/ports/target.ts'
import type { CutBoard } from '../../core/ports/cut-board.ts'
import type { LogPlace, SchemaStatement, TransactionPart } from '../../core/transaction.ts'
import type { KafkaSettings } from '../../adapters/kafka/client/settings.ts'
import type { OrderedRange } from '../../compactor/cut-worker.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Config, KafkaConfig } from '../config/config.ts'
import { dialectOf, engineAt } from './dialect.ts'
import { storedHistory } from './stored-history.ts'

export function openSource(
  config: Config,
  generation: Generation,
  onSchemaDifference?: (statements: number) => void,
): Source {
  const { facts } = generation
  const largestRow = config.source.largestRow ?? largestRowHere()
  const subjects = config.subjects === undefined ? {} : { subjects: config.subjects }
  if (facts.engine === MYSQL)
    return new MysqlSource({
      url: config.source.url,
      origin: facts.origin,
      ...subjects,
      clock: systemClock,
      randomness: systemRandomness,
      largestRow,
    })
  return new PostgresSource(
    {
      url: config.source.url,
      names: facts.origin,
      ...subjects,
      keepFull: [...(config.kafka?.partitionBy.keys() ?? [])],
      clock: systemClock,
      randomness: systemRandomness,
      largestRow,
      ...(onSchemaDifference === undefined ? {} : { onSchemaDifference }),
      stored: (from) => storedHistory(generation, from),
    },
    {
      origin: facts.origin,
      timeline: generation.timeline,
      end: generation.end,
    },
  )
}

/** Nothing to say of the direct change log. */
export async function examineLog(config: Pick<Config, 'kafka'>): Promise<readonly Finding[]> {
  const { kafka } = config
  if (kafka === undefined) return []
  const { examineKafka } = await import('../../adapters/kafka/examine/preflight.ts')
  const clear = clearLog({
    brokers: kafka.brokers,
    hasTls: kafka.tls !== undefined,
    hasLogin: kafka.sasl !== undefined,
    registry: kafka.registry,
  })
  const found = await examineKafka({
    settings: kafkaSettingsOf(kafka),
    prefix: kafka.prefix,
    partitions: kafka.partitions,
    replicationFactor: kafka.replicationFactor,
    acknowledge: kafka.acknowledge,
    registry: kafka.registry,
  })
  return [...clear, ...found]
}

/** @throws TidemarkError LOG_REFUSED, LOG_UNREACHABLE what `examineLog` finds that must not be */
export async function refuseLog(config: Pick<Config, 'kafka'>): Promise<void> {
  const refused = (await examineLog(config)).find((finding) => finding.level === 'refuse')
  if (refused === undefined) return
  const code = refused.code === 'LOG_UNREACHABLE' ? refused.code : 'LOG_REFUSED'
  throw new TidemarkError(code, refused.what, { next: refused.fix })
}

export interface LogRequest {
  readonly config: Config
  readonly role: 'both' | 'replicator' | 'compactor'
  readonly generation: Generation
  /** The backup's id. */
  readonly stream: string
  /** Grows over all writers of the log. */
  readonly term: number
  /** Transactions without their rows. */
  readonly outline?: boolean
  readonly confirm: () => Promise<void>
  readonly signal: AbortSignal
  readonly onRetry: (error: { readonly code: string; readonly message: string }) => void
  readonly onForeign: (place: {
    readonly topic: string
    readonly partition: number
    readonly offset: string
  }) => void
  readonly onPoint: ((point: string) => unknown) | undefined
}

export async function openLog(request: LogRequest): Promise<ChangeLog> {
  const { config, generation, term } = request
  const { kafka } = config
  if (kafka === undefined) {
    if (request.role !== 'both')
      throw new TidemarkError(
        'USAGE',
        `the ${request.role} alone needs a change log between the two processes`,
        { next: 'log: kafka in tidemark.yaml; or tidemark up' },
      )
    return new DirectChangeLog(LIMITS.changeLogBytes)
  }
  if (request.role !== 'compactor') await refuseLog(config)
  const { log } = generation
  // Loaded when it is wanted: the clients take as long to load as half of all else.
  const { KafkaChangeLog } = await import('../../adapters/kafka/change-log/kafka-change-log.ts')
  return KafkaChangeLog.open(
    {
      settings: kafkaSettingsOf(kafka),
      registry: kafka.registry,
      role: request.role,
      prefix: kafka.prefix,
      partitions: kafka.partitions,
      replicationFactor: kafka.replicationFactor,
      generation: generation.facts.generation,
      stream: request.stream,
      term,
      after: generation.to,
      acknowledge: kafka.acknowledge,
      tombstones: kafka.tombstones,
      partitionBy: kafka.partitionBy,
      place: log === null ? undefined : logPlace(log),
      confirm: request.confirm,
      outline: request.outline === true,
      records: dialectOf(generation.facts.engine).records,
      clock: systemClock,
      randomness: systemRandomness,
      onRetry: request.onRetry,
      onForeign: request.onForeign,
      ...(request.onPoint === undefined ? {} : { onPoint: request.onPoint }),
    },
    request.signal,
  )
}

function logPlace(log: NonNullable<Generation['log']>): LogPlace {
  return {
    log: log.log,
    from: BigInt(log.from),
    at: BigInt(log.at),
    since: Number(log.since),
    unit: log.unit,
    idsFrom: log.idsFrom === undefined ? undefined : BigInt(log.idsFrom),
  }
}

/** What compactors share: the board of cuts, and a reader for what is ordered. */
export async function openCutSharing(
  config: Config,
  generation: Generation,
  stream: string,
): Promise<{
  readonly board: CutBoard
  readonly parts: (range: OrderedRange, signal: AbortSignal) => AsyncIterable<TransactionPart>
  close(): Promise<void>
}> {
  const { kafka } = config
  if (kafka === undefined)
    throw new TidemarkError('USAGE', 'the compactor alone needs a change log between the two processes', {
      next: 'log: kafka in tidemark.yaml; or tidemark up',
    })
  const [{ KafkaCutBoard }, { CutReader }] = await Promise.all([
    import('../../adapters/kafka/board/kafka-cut-board.ts'),
    import('../../adapters/kafka/reading/cut-reader.ts'),
  ])
  const settings = kafkaSettingsOf(kafka)
  const board =
    kafka.clients?.board() ??
    (await KafkaCutBoard.open({
      settings,
      prefix: kafka.prefix,
      stream,
      lanes: kafka.partitions,
      replicationFactor: kafka.replicationFactor,
      clock: systemClock,
    }))
  try {
    const reader = await CutReader.open({
      settings,
      registry: kafka.registry,
      prefix: kafka.prefix,
      acknowledge: kafka.acknowledge,
      generation: generation.facts.generation,
      stream,
      records: dialectOf(generation.facts.engine).records,
      idsFrom: () => (generation.log === null ? undefined : logPlace(generation.log).idsFrom),
    })
    return {
      board,
      parts: (range, signal) => reader.parts(range, signal),
      async close() {
        await board.close()
        await reader.close()
      },
    }
  } catch (error) {
    await board.close()
    throw error
  }
}

export function kafkaSettingsOf(kafka: KafkaConfig): KafkaSettings {
  return {
    brokers: kafka.brokers,
    clientId: 'tidemark',
    tls: kafka.tls,
    sasl: kafka.sasl,
    clock: systemClock,
    clients: kafka.clients,
  }
}

export function openTarget(
  url: string,
  generation: Generation,
  options: Pick<TargetOptions, 'trustSourceCode' | 'withJobs' | 'begun'> & {
    /** What is to be made there: settings of the source's database are among it. */
    readonly statements?: readonly SchemaStatement[]
  } = {},
): Target {
  const { engine, origin, encoding, serverVersion } = generation.facts
  const { statements = [], ...others } = options
  if (engineAt(url) !== engine)
    throw new TidemarkError(
      'TARGET_UNSUITABLE',
      `the backup is of ${engine}, and ${targetPlace(url)} is another kind of server`,
      {
        next: `a URL of ${engine} behind --into`,
      },
    )
  if (engine === MYSQL) return new MysqlTarget({ url, source: originOf(origin), begun: options.begun })
  return openPostgresTarget({
    url,
    source: { origin, encoding, serverVersion },
    searchPath: databasePath(statements),
    ...others,
  })
}

/** The restore that this target holds half of; undefined where none was begun. */
export function begunAt(url: string): Promise<BegunRestore | undefined> {
  return engineAt(url) === MYSQL ? begunMysqlRestore(url) : begunRestore(url)
}

/** For people: where it is, without credentials. */
export function targetPlace(url: string): string {
  return engineAt(url) === MYSQL ? mysqlPlaceOf(url) : placeOf(url)
}

/** A scratch database: another server's, which takes the schema of this one. */
export function openScratch(url: string, source: SourceServer): Target {
  return engineAt(url) === MYSQL
    ? new MysqlTarget({ url, source: databaseIdOf(source.origin) })
    : openPostgresTarget({ url, source })
}

/** Reads what was made there, by the reader that reads a source. */
export function openScratchReading(url: string): Promise<{
  readonly serverVersion: number
  read(): Promise<{ readonly statements: readonly SchemaStatement[] }>
  close(): Promise<void>
}> {
  return engineAt(url) === MYSQL ? MysqlScratchReading.open(url) : ScratchReading.open(url)
}

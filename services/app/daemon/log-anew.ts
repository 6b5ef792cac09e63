/**
 * The places of the change log that the ledger names before anything was read from it: where it begins, and, when it lost what
 * is not in the store yet, where it begins anew. Where the source was acknowledged with the store alone it still has all of
 * that, and the replicator, with its next claim, sends everything again. Where it was acknowledged with the log, a new
 * generation begins behind a gap.
 */
import { streamTrouble } from '../../core/error-codes.ts'
import type { LogEnd } from '../../adapters/kafka/change-log/log-end.ts'
import { systemClock } from '../../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import type { Position } from '../../core/position.ts'
import type { Repository } from '../../repository/repository.ts'
import { kafkaSettingsOf, refuseLog } from '../wiring/compose.ts'
import type { Config, KafkaConfig } from '../config/config.ts'

/** What the source says where it was acknowledged with more than the store has, which only a trusted log may explain. */
export async function aheadOfStore(
  check: () => Promise<unknown>,
  trustsLog: boolean,
): Promise<TidemarkError | undefined> {
  try {
    await check()
    return undefined
  } catch (error) {
    const known = asTidemarkError(error)
    if (!trustsLog || streamTrouble(known.code) !== 'ahead') throw error
    return known
  }
}

/**
 * Before a log's first writer: from the first unit on the ledger tells what belongs to it. What lies there already is sent
 * again by the source, so that it matters to nobody whose it is. Only what the source was acknowledged with counts, up to a place that the
 * ledger names: units of older versions do not say whose they are.
 *
 * @param ahead what the source says, where it was acknowledged with more than the store has
 * @throws TidemarkError LOG_FOREIGN where another backup writes there; LOG_REFUSED where it is another log that has what the source was acknowledged with
 */
export async function nameLog(
  repository: Repository,
  config: Config,
  ahead: TidemarkError | undefined,
): Promise<void> {
  const { kafka } = config
  const { generation } = repository.catalog
  if (kafka === undefined || generation === undefined) return
  const { log } = generation
  const end = await logEnd(kafka)
  if (log?.log === end.log && log.idsFrom !== undefined) return
  await refuseLog(config)
  const isKnown = repository.catalog.generations.some((one) => one.log?.log === end.log)
  const { fenceOlderWriter } = await import('../../adapters/kafka/change-log/log-end.ts')
  if (isKnown || ahead !== undefined) await fenceOlderWriter(kafkaSettingsOf(kafka), kafka.prefix)
  const fenced = await logEnd(kafka)
  if (ahead === undefined) {
    await refuseStrangers(repository, kafka, fenced, isKnown)
    await appendPlace(repository, fenced, 'the log begins', true)
    return
  }
  if (log !== null && log.log !== end.log) throw anotherCluster(log.log, end.log, ahead)
  const low = String(fenced.low)
  await repository.append({
    kind: 'lanes',
    generation: generation.facts.generation,
    log: {
      ...(log ?? { log: end.log, from: low, at: low, since: '0', unit: '' }),
      idsFrom: String(fenced.at),
    },
    reason: "units have the backup's id from here on",
    goesOn: true,
  })
}

/**
 * An address that means another cluster may be a mistake, and the one before may still have everything: whether it is lost, a person
 * decides, whoever finds it.
 */
function anotherCluster(known: string, found: string, ahead: TidemarkError): TidemarkError {
  return new TidemarkError(
    'LOG_REFUSED',
    `the brokers are another cluster (${found}) than the ledger names (${known}), and the source was acknowledged with what only that one has`,
    {
      cause: ahead,
      means:
        'What was acknowledged and is not in the store yet is in the cluster of before, if anywhere. Nothing was written.',
      next: 'set kafka.brokers to the cluster of before; only where it is gone: tidemark up --new-generation  (a gap, and a new base)',
    },
  )
}

/** Two backups in the same topics would be mixed by whoever reads them. */
async function refuseStrangers(
  { catalog: { stream } }: Repository,
  kafka: KafkaConfig,
  end: LogEnd,
  isKnown: boolean,
): Promise<void> {
  const { lastStreams } = await import('../../adapters/kafka/change-log/log-end.ts')
  const streams = await lastStreams(kafkaSettingsOf(kafka), kafka.prefix, end)
  const strangers = [...streams].filter((one) => one !== stream && (one !== '' || !isKnown))
  if (strangers.length === 0) return
  throw new TidemarkError(
    'LOG_FOREIGN',
    `the topics ${kafka.prefix}.* are written by another backup${strangers[0] === '' ? '' : ` (${strangers[0] ?? ''})`}`,
    { means: 'Nothing was written.', next: 'set kafka.prefix to one that no other backup has' },
  )
}

export interface Hole {
  readonly reason: string
  /** What the ledger named when the hole was found. */
  readonly since: number
  readonly role: 'both' | 'replicator' | 'compactor'
}

/** Of holes with nothing stored between them: more are no accident. */
const HOLES_IN_A_ROW = 5

/**
 * What a process finds of holes. The log begins anew in its loop, so that an outage on the way is waited out; and not without end
 * where it loses everything again and again: two halves with different registries do that.
 */
export class LogHoles {
  readonly #repository: Repository
  readonly #config: Config
  readonly #role: Hole['role']
  #since = 0
  #found: Hole | undefined
  #times = 0
  #end: Position | undefined

  constructor(repository: Repository, config: Config, role: Hole['role']) {
    this.#repository = repository
    this.#config = config
    this.#role = role
  }

  /** Before each try: a hole that somebody else has told by then is none any more. */
  look(): void {
    this.#since = logSince(this.#repository)
  }

  /** @returns whether it is a hole, behind which the log begins anew @throws TidemarkError LOG_REFUSED after too many */
  take(error: TidemarkError): boolean {
    if (error.code !== 'LOG_HOLE' || this.#config.kafka === undefined) return false
    this.#found = { reason: error.message, since: this.#since, role: this.#role }
    const end = this.#repository.catalog.generation?.end
    this.#times = this.#end === end ? this.#times + 1 : 1
    this.#end = end
    if (this.#times <= HOLES_IN_A_ROW) return true
    throw new TidemarkError(
      'LOG_REFUSED',
      `the log began anew ${HOLES_IN_A_ROW} times, and nothing of it could be stored: ${error.message}`,
      {
        cause: error,
        next: 'see that replicator and compactors have the same kafka.brokers, kafka.prefix and kafka.registry, and what tidemark doctor says of the topics (compaction, retention); then start up again',
      },
    )
  }

  /** Behind the hole that was taken. @returns why; undefined where nothing begins */
  async beginAnew(): Promise<string | undefined> {
    const found = this.#found
    if (found === undefined) return undefined
    const begins = await beginLogAnew(this.#repository, this.#config, found)
    this.#found = undefined
    return begins ? found.reason : undefined
  }
}

/** Says so in the ledger, unless somebody else has. @returns whether it begins anew; not where the brokers are another cluster. @throws TidemarkError LOG_HOLE where the log keeps nothing */
export async function beginLogAnew(repository: Repository, config: Config, hole: Hole): Promise<boolean> {
  if (config.kafka === undefined) throw new TidemarkError('LOG_HOLE', hole.reason)
  const end = await logEnd(config.kafka)
  try {
    await repository.ledger.refresh()
    if (logSince(repository) > hole.since) return true
    // Another cluster is named by whoever writes to it, who knows whether something is lost with the one before.
    const named = repository.catalog.generation?.log
    if (named != null && named.log !== end.log) return false
    // The leading compactor goes on, behind the replicator's entry.
    if (hole.role !== 'replicator') await repository.claim(0)
    // A compactor does not know of which version its replicator is.
    const hasIds = hole.role !== 'compactor' || repository.catalog.generation?.log?.idsFrom !== undefined
    await appendPlace(repository, end, hole.reason, hasIds)
    return true
  } catch (error) {
    // Another compactor leads: it finds the hole too.
    if (hole.role === 'replicator' || asTidemarkError(error).code !== 'WRITER_FENCED') throw error
    return true
  }
}

/** Writers with a lower term do not count. */
export function logSince(repository: Repository): number {
  return Number(repository.catalog.generation?.log?.since ?? 0)
}

async function appendPlace(
  repository: Repository,
  end: LogEnd,
  reason: string,
  hasIds: boolean,
): Promise<void> {
  const { generation } = repository.catalog
  if (generation === undefined) return
  const at = String(end.at)
  await repository.append({
    kind: 'lanes',
    generation: generation.facts.generation,
    log: { log: end.log, from: at, at, since: '0', unit: '', ...(hasIds ? { idsFrom: at } : {}) },
    reason,
  })
}

/**
 * Why the source is ahead of everything that is left: it was acknowledged with a log that lost it. Another log has lost nothing.
 *
 * @returns the reason, or what keeps the log from telling; undefined where it is nothing of the log's
 */
export async function lostLog(
  repository: Repository,
  { kafka }: Config,
  known: TidemarkError,
): Promise<string | TidemarkError | undefined> {
  const log = repository.catalog.generation?.log
  if (streamTrouble(known.code) !== 'ahead' || kafka?.acknowledge !== 'log' || log == null) return undefined
  try {
    if ((await logEnd(kafka)).log !== log.log) return undefined
    return 'the change log lost records that the source was acknowledged with'
  } catch (error) {
    return asTidemarkError(error)
  }
}

async function logEnd(kafka: KafkaConfig): Promise<LogEnd> {
  const { findLogEnd } = await import('../../adapters/kafka/change-log/log-end.ts')
  return findLogEnd(kafkaSettingsOf(kafka), kafka.prefix, kafka.replicationFactor, systemClock)
}

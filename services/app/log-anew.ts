/**
 * The places of the change log that the ledger names before anything was read from it: where it begins, and, when it lost what
 * is not in the store yet, where it begins anew. Where the source was acknowledged with the store alone it still has all of
 * that, and the replicator, with its next claim, sends everything again. Where it was acknowledged with the log, a new
 * generation begins behind a gap.
 */
import type { LogEnd } from '../adapters/kafka/log-end.ts'
import { systemClock } from '../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import type { Repository } from '../repository/repository.ts'
import { kafkaSettingsOf, refuseLog } from './compose.ts'
import type { Config, KafkaConfig } from './config.ts'

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
    if (!trustsLog || known.code !== 'SLOT_AHEAD') throw error
    return known
  }
}

/**
 * Before a log's first writer: from the first unit on the ledger tells what belongs to it. What lies there already is sent
 * again by the source, so that it matters to nobody whose it is. Only what the source was acknowledged with counts, up to a place that the
 * ledger names: units of older versions do not say whose they are.
 *
 * @param ahead what the source says, where it was acknowledged with more than the store has
 * @throws TidemarkError LOG_FOREIGN where another backup writes there; `ahead` where it was not this log that has it
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
  const { fenceOlderWriter } = await import('../adapters/kafka/log-end.ts')
  if (isKnown || ahead !== undefined) await fenceOlderWriter(kafkaSettingsOf(kafka), kafka.prefix)
  const fenced = await logEnd(kafka)
  if (ahead === undefined) {
    await refuseStrangers(repository, kafka, fenced, isKnown)
    await appendPlace(repository, fenced, 'the log begins', true)
    return
  }
  if (log !== null && log.log !== end.log) throw ahead
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

/** Two backups in the same topics would be mixed by whoever reads them. */
async function refuseStrangers(
  { catalog: { stream } }: Repository,
  kafka: KafkaConfig,
  end: LogEnd,
  isKnown: boolean,
): Promise<void> {
  const { lastStreams } = await import('../adapters/kafka/log-end.ts')
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

/** Says so in the ledger, unless somebody else has. @throws TidemarkError LOG_HOLE where the log keeps nothing */
export async function beginLogAnew(repository: Repository, config: Config, hole: Hole): Promise<void> {
  if (config.kafka === undefined) throw new TidemarkError('LOG_HOLE', hole.reason)
  const end = await logEnd(config.kafka)
  try {
    await repository.ledger.refresh()
    if (logSince(repository) > hole.since) return
    // The leading compactor goes on, behind the replicator's entry.
    if (hole.role !== 'replicator') await repository.claim(0)
    // A compactor does not know of which version its replicator is.
    const hasIds = hole.role !== 'compactor' || repository.catalog.generation?.log?.idsFrom !== undefined
    await appendPlace(repository, end, hole.reason, hasIds)
  } catch (error) {
    // Another compactor leads: it finds the hole too.
    if (hole.role === 'replicator' || asTidemarkError(error).code !== 'WRITER_FENCED') throw error
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
  if (known.code !== 'SLOT_AHEAD' || kafka?.acknowledge !== 'log' || log == null) return undefined
  try {
    if ((await logEnd(kafka)).log !== log.log) return undefined
    return 'the change log lost records that the source was acknowledged with'
  } catch (error) {
    return asTidemarkError(error)
  }
}

async function logEnd(kafka: KafkaConfig): Promise<LogEnd> {
  const { findLogEnd } = await import('../adapters/kafka/log-end.ts')
  return findLogEnd(kafkaSettingsOf(kafka), kafka.prefix, kafka.replicationFactor, systemClock)
}

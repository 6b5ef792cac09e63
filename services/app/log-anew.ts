/**
 * The places of the change log that the ledger names before anything was read from it: where it begins, and, when it lost what
 * is not in the store yet, where it begins anew. Where the source was acknowledged with the store alone it still has all of
 * that, and the replicator, with its next claim, sends everything again. Where it was acknowledged with the log, a new
 * generation begins behind a gap.
 */
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import type { Repository } from '../repository/repository.ts'
import { logEnd, refuseLog } from './compose.ts'
import type { Config } from './config.ts'

/**
 * Before the log's first writer: from the first unit on the ledger tells what belongs to it. What a log holds that the source was
 * acknowledged with is left as it is.
 */
export async function nameLog(repository: Repository, config: Config): Promise<void> {
  const { generation } = repository.catalog
  if (config.kafka === undefined || generation === undefined || generation.log !== null) return
  await refuseLog(config)
  const end = await logEnd(config)
  if (end === undefined || (config.kafka.acknowledge === 'log' && end.at > 0n)) return
  await appendPlace(repository, end, 'the log begins')
}

export interface Hole {
  readonly reason: string
  /** What the ledger named when the hole was found. */
  readonly since: number
  /** The replicator alone: the leading compactor goes on, behind the entry. */
  readonly isReplicator: boolean
}

/** Says so in the ledger, unless somebody else has. @throws TidemarkError LOG_HOLE where the log keeps nothing */
export async function beginLogAnew(repository: Repository, config: Config, hole: Hole): Promise<void> {
  const end = await logEnd(config)
  if (end === undefined) throw new TidemarkError('LOG_HOLE', hole.reason)
  try {
    await repository.ledger.refresh()
    if (logSince(repository) > hole.since) return
    if (!hole.isReplicator) await repository.claim(0)
    await appendPlace(repository, end, hole.reason)
  } catch (error) {
    // Another compactor leads: it finds the hole too.
    if (hole.isReplicator || asTidemarkError(error).code !== 'WRITER_FENCED') throw error
  }
}

/** Writers with a lower term do not count. */
export function logSince(repository: Repository): number {
  return Number(repository.catalog.generation?.log?.since ?? 0)
}

async function appendPlace(
  repository: Repository,
  { log, at }: { readonly log: string; readonly at: bigint },
  reason: string,
): Promise<void> {
  const { generation } = repository.catalog
  if (generation === undefined) return
  await repository.append({
    kind: 'lanes',
    generation: generation.facts.generation,
    log: { log, from: String(at), at: String(at), since: '0', unit: '' },
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
  config: Config,
  known: TidemarkError,
): Promise<string | TidemarkError | undefined> {
  const log = repository.catalog.generation?.log
  if (known.code !== 'SLOT_AHEAD' || config.kafka?.acknowledge !== 'log' || log == null) return undefined
  try {
    if ((await logEnd(config))?.log !== log.log) return undefined
    return 'the change log lost records that the source was acknowledged with'
  } catch (error) {
    return asTidemarkError(error)
  }
}

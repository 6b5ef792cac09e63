/**
 * When the change log lost what is not in the store yet. Where the source was acknowledged with the store alone it still
 * has all of it: the log begins anew behind what it holds now, and the replicator, with its next claim, sends everything
 * again. Where it was acknowledged with the log, a new generation begins behind a gap.
 */
import { asTidemarkError } from '../core/errors.ts'
import type { Repository } from '../repository/repository.ts'
import { logEnd } from './compose.ts'
import type { Config } from './config.ts'

/** Says so in the ledger. @returns false where the log keeps nothing, or there is no generation */
export async function beginLogAnew(repository: Repository, config: Config, reason: string): Promise<boolean> {
  const end = await logEnd(config)
  const { generation } = repository.catalog
  if (end === undefined || generation === undefined) return false
  try {
    await repository.claim(0)
    await repository.append({
      kind: 'lanes',
      generation: generation.facts.generation,
      log: { log: end.log, from: String(end.at), at: String(end.at), since: '0', unit: '' },
      reason,
    })
  } catch (error) {
    // Another compactor leads: it finds the hole too.
    if (asTidemarkError(error).code !== 'WRITER_FENCED') throw error
  }
  return true
}

/** Why the source may be ahead of everything that is left: it was acknowledged with a log that lost it. */
export function lostLog(repository: Repository, config: Config): string | undefined {
  const since = Number(repository.catalog.generation?.log?.since ?? 0)
  return config.kafka?.acknowledge === 'log' && since > 0
    ? 'the change log lost records that the source was acknowledged with'
    : undefined
}

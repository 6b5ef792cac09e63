/** What health and metrics say, from the running job. */
import { systemClock } from '../core/clock.ts'
import type { Repository } from '../repository/repository.ts'
import { readStatus } from './status.ts'

const CACHE_MS = 2_000

export interface HealthReading {
  readonly stopping: boolean
  readonly streaming: boolean
  readonly durableAgeSeconds: number
  readonly lagBytes: number
  readonly openGaps: number
  readonly budgetSeconds: number
}

/** Asks the source at most every two seconds; an outage of the source shows as NaN, never as a failure. */
export function healthFacts(
  repository: Repository,
  sourceUrl: string,
  state: () => { readonly stopping: boolean; readonly streaming: boolean },
): () => Promise<HealthReading> {
  let cached:
    | { readonly at: number; readonly reading: Promise<Omit<HealthReading, 'stopping' | 'streaming'>> }
    | undefined
  const read = async (): Promise<Omit<HealthReading, 'stopping' | 'streaming'>> => {
    const status = await readStatus(repository, sourceUrl)
    const generation = repository.catalog.generation
    return {
      durableAgeSeconds:
        generation === undefined
          ? Number.NaN
          : Math.max(0, (systemClock.now() - Date.parse(generation.lastWrittenAt)) / 1000),
      lagBytes: status.lag?.bytes ?? Number.NaN,
      openGaps: status.gaps.filter((gap) => gap.open).length,
      budgetSeconds:
        status.budget === null ? Number.NaN : (status.budget.seconds ?? Number.POSITIVE_INFINITY),
    }
  }
  return async () => {
    const now = systemClock.elapsed()
    if (cached === undefined || now - cached.at > CACHE_MS) cached = { at: now, reading: read() }
    return { ...(await cached.reading), ...state() }
  }
}

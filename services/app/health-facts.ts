/** What health and metrics say: from what the process knows, never by asking source or store. */
import { systemClock } from '../core/clock.ts'
import { gapEnd } from '../repository/gap-end.ts'
import type { Repository } from '../repository/repository.ts'
import type { SourceReading } from './source-gauge.ts'
import { lagOf } from './status.ts'

export interface HealthReading {
  readonly stopping: boolean
  readonly streaming: boolean
  readonly durableAgeSeconds: number
  readonly lagBytes: number
  readonly openGaps: number
  readonly budgetSeconds: number
}

/** What only the source knows is NaN where it does not answer, and in a compactor, which does not ask it. */
export function healthFacts(
  repository: Repository,
  source: () => SourceReading | undefined,
  state: () => { readonly stopping: boolean; readonly streaming: boolean },
): () => HealthReading {
  return () => {
    const { generation, gaps } = repository.catalog
    const reading = source()
    const now = systemClock.now()
    return {
      durableAgeSeconds:
        generation === undefined
          ? Number.NaN
          : Math.max(0, (now - Date.parse(generation.lastWrittenAt)) / 1000),
      lagBytes:
        generation === undefined || reading === undefined
          ? Number.NaN
          : lagOf(reading.head, generation, now).bytes,
      openGaps: gaps.filter((gap) => gapEnd(repository.catalog, gap) === undefined).length,
      budgetSeconds: reading === undefined ? Number.NaN : budgetSecondsOf(reading),
      ...state(),
    }
  }
}

function budgetSecondsOf({ safeBytes, walBytesPerSecond }: SourceReading): number {
  if (safeBytes === undefined) return Number.POSITIVE_INFINITY
  if (walBytesPerSecond === undefined) return Number.NaN
  return walBytesPerSecond === 0 ? Number.POSITIVE_INFINITY : Math.max(0, safeBytes / walBytesPerSecond)
}

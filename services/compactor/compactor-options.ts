/** What a compactor is given, and whom it tells. */
import type { Clock, Randomness } from '../core/clock.ts'
import type { ChangeLog } from '../core/ports/change-log.ts'
import type { Position } from '../core/position.ts'
import type { Repository } from '../repository/repository.ts'
import type { BuildCut } from './made-cut.ts'
import type { RollPolicy } from './roll-policy.ts'

export interface CompactorEvents {
  onDurable?(event: {
    readonly to: Position
    readonly end: Position
    readonly transactions: number
    readonly changes: number
    readonly bytes: number
    readonly firstCommittedAt: bigint
    readonly lastCommittedAt: bigint
  }): void
  /** For the first time of a run: nothing waits, and all that the source has is durable up to there. */
  onCaughtUp?(to: Position): void
  /** The store fails and is tried again; nothing is acknowledged meanwhile. */
  onRetry?(error: { readonly code: string; readonly message: string }): void
  /** Named points of the write path, for crash tests. */
  onPoint?(point: string): unknown
}

export interface CompactorOptions {
  readonly log: ChangeLog
  readonly repository: Repository
  readonly generation: number
  readonly term: number
  readonly policy: RollPolicy
  readonly clock: Clock
  readonly randomness: Randomness
  readonly events: CompactorEvents
  /** Ledger entries between two checkpoints; LIMITS.checkpointEntries where it is not given. */
  readonly checkpointEntries?: number | undefined
  /** Makes the objects of a cut elsewhere; here where it is not given. The log then brings outlines. */
  readonly build?: BuildCut | undefined
  /** Cuts that may be under way at once; LIMITS.segmentsInFlight where it is not given. */
  readonly cutsInFlight?: number | undefined
}

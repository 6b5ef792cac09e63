/**
 * Whether what the source commits becomes durable in time: for alarms and people, not for a supervisor. A writer that is
 * restarted or kept out of a rollout because its store is away would be just where it is needed least.
 */
import { LIMITS } from '../../core/limits.ts'
import { comparePositions, type Position } from '../../core/position.ts'
import { parseInstant } from '../../formats/temporal.ts'
import type { Generation } from '../../repository/generation.ts'
import { knownUntil } from '../../repository/source-time.ts'

export interface Protection {
  readonly ok: boolean
  /** For people; undefined where all is well. */
  readonly reason: string | undefined
  /** Every commit up to then is in the backup, by the source's clock; undefined before the first base. */
  readonly knownUntil: string | undefined
}

/** Since when changes that came are not durable. */
export class WaitingChanges {
  #oldest: { readonly end: Position; readonly at: number } | undefined
  #newest: { readonly end: Position; readonly at: number } | undefined

  /** @param at ms of a clock that only goes on, the same for `sinceMs` */
  see(received: Position, durable: Position, at: number): void {
    if (comparePositions(received, durable) <= 0) {
      this.#oldest = undefined
      this.#newest = undefined
      return
    }
    // What came between the two was not looked at: it counts from the newer one on.
    if (this.#oldest === undefined || comparePositions(this.#oldest.end, durable) <= 0)
      this.#oldest =
        this.#newest !== undefined && comparePositions(this.#newest.end, durable) > 0
          ? this.#newest
          : { end: received, at }
    if (this.#newest === undefined || comparePositions(this.#newest.end, received) < 0)
      this.#newest = { end: received, at }
  }

  /** 0 where nothing waits. */
  sinceMs(at: number): number {
    return this.#oldest === undefined ? 0 : Math.max(0, at - this.#oldest.at)
  }
}

/** Up to when everything is known to be durable, and how long ago that was, by the source's clock. */
export interface Known {
  readonly until: string
  readonly seconds: number
}

/** @param sourceNow ms since 1970 */
export function knownOf(generation: Generation, sourceNow: number): Known {
  const until = knownUntil(generation)
  return { until, seconds: Math.max(0, (sourceNow - Number(parseInstant(until) / 1000n)) / 1000) }
}

/** Why nothing is durable in time, where the ledger alone tells: an idle source is heard of with each heartbeat. */
export function overdue({ until, seconds }: Known, rollMs: number): string | undefined {
  return seconds * 1000 > rollMs + LIMITS.protectedMs + LIMITS.heartbeatMs
    ? `nothing behind ${until} is known: that was ${Math.round(seconds)} s ago`
    : undefined
}

/**
 * @param found.sourceNow ms since 1970, by the source's clock as far as it is known
 * @param found.waitingMs how long the oldest change that came has not been durable
 * @param found.damaged objects that the newest points need and no store has
 * @param found.unfit what the next start of the job would refuse of its source, if anything
 * @param found.trouble what is being tried again, if anything
 */
export function protection(
  generation: Generation | undefined,
  found: {
    readonly sourceNow: number
    readonly waitingMs: number
    readonly rollMs: number
    readonly unfit: string | undefined
    readonly trouble: string | undefined
    /** How much of what the newest points need is in no store. */
    readonly damaged: number
  },
): Protection {
  if (generation?.base === undefined)
    return { ok: false, reason: reasonOf('no base is durable yet', found), knownUntil: undefined }
  const known = knownOf(generation, found.sourceNow)
  const reason =
    found.damaged > 0
      ? `the newest points cannot be restored: ${found.damaged} objects are damaged in every store (tidemark doctor)`
      : found.waitingMs > found.rollMs + LIMITS.protectedMs
        ? `changes that came ${Math.round(found.waitingMs / 1000)} s ago are not durable`
        : (overdue(known, found.rollMs) ?? unfitReason(found.unfit))
  return {
    ok: reason === undefined,
    reason: reason === undefined ? undefined : reasonOf(reason, found),
    knownUntil: known.until,
  }
}

function unfitReason(unfit: string | undefined): string | undefined {
  return unfit === undefined ? undefined : `tidemark up runs, and would not start again: ${unfit}`
}

function reasonOf(reason: string, { trouble }: { readonly trouble: string | undefined }): string {
  return trouble === undefined ? reason : `${reason}; ${trouble}`
}

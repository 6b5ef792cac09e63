/** A ledger that is broken in the middle: what is said of the points that it still has, and of those that it may have had. */
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, positionBefore, positionText } from '../core/position.ts'
import type { Repository } from '../repository/repository.ts'
import { reachedAt } from '../repository/source-time.ts'

export function breakLine(broken: TidemarkError): string {
  return `LEDGER_BROKEN: ${broken.message}. What lies before it is proven and can be restored; NOTHING BEHIND IT IS TRUSTED, however much is stored there`
}

/** Whether a point that was not found may be one that lies behind the break. */
export function mayBeBehind(error: unknown): boolean {
  return (
    error instanceof TidemarkError && ['POINT_AFTER_HEAD', 'POINT_UNKNOWN', 'NO_BASE'].includes(error.code)
  )
}

/** For a point that may lie there. */
export function behindBreak({ catalog }: Repository, broken: TidemarkError): TidemarkError {
  const last = catalog.generations.findLast(({ bases }) => bases.length > 0)
  if (last === undefined) return broken
  const end = comparePositions(last.end, last.to) > 0 ? positionBefore(last.end) : last.to
  return new TidemarkError('LEDGER_BROKEN', broken.message, {
    cause: broken,
    means: `The ledger was altered or has lost an entry. What lies before the break is proven and can be restored, up to ${positionText(end)} (${reachedAt(last)}); nothing behind it is trusted.`,
    next: `the newest that is proven: --at ${positionText(end)}@${last.facts.generation}; or an earlier point`,
  })
}

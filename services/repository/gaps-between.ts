/** Gaps in a range of changes: where a restore asks about one point, whoever reads changes asks about all between two. */
import {
  comparePositions,
  laterPosition,
  type Position,
  positionAfter,
  positionBefore,
} from '../core/position.ts'
import type { Gap, Generation } from './generation.ts'

/** Changes in it are missing: `from` is included, `to` is not; undefined where it goes on to the end. */
export interface Missing {
  readonly gap: Gap
  readonly from: Position
  readonly to: Position | undefined
}

/**
 * Gaps that lack changes with from < position <= to, by where they begin.
 *
 * @param isWanted of a table's gap; those of the whole stream always count
 */
export function gapsBetween(
  gaps: readonly Gap[],
  generation: Generation,
  from: Position,
  to: Position,
  isWanted: (scope: Gap['scope'] & { kind: 'table' }) => boolean,
): Missing[] {
  const first = positionAfter(from)
  return gaps
    .filter(
      (gap) =>
        gap.generation === generation.facts.generation &&
        (gap.scope.kind === 'stream' || isWanted(gap.scope)),
    )
    .map((gap) => ({ gap, from: gap.from, to: gap.scope.kind === 'stream' ? gap.to : gap.closedAt }))
    .filter(
      (missing) =>
        comparePositions(missing.from, to) <= 0 &&
        (missing.to === undefined || comparePositions(laterPosition(missing.from, first), missing.to) < 0),
    )
    .sort((a, b) => comparePositions(a.from, b.from))
}

/** What is left of from < position <= to without them, each again with its beginning excluded. */
export function besideGaps(
  missing: readonly Missing[],
  from: Position,
  to: Position,
): { readonly from: Position; readonly to: Position }[] {
  const left: { from: Position; to: Position }[] = []
  let begin = positionAfter(from)
  for (const gap of missing) {
    if (comparePositions(begin, gap.from) < 0)
      left.push({ from: positionBefore(begin), to: positionBefore(gap.from) })
    if (gap.to === undefined) return left
    begin = laterPosition(begin, gap.to)
  }
  if (comparePositions(begin, to) <= 0) left.push({ from: positionBefore(begin), to })
  return left
}

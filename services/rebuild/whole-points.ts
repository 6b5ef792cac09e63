/** The nearest points that no gap of those in question crosses: what a refusal advises has to work as it stands. */
import { comparePositions, laterPosition, type Position, positionBefore } from '../core/position.ts'
import type { Catalog } from '../repository/catalog.ts'
import type { Gap, Generation } from '../repository/generation.ts'
import { closes, gapsAt, pointText } from '../repository/restorable.ts'

type Counts = (gap: Gap) => boolean

/** Undefined where there is none in the generation's window. */
function wholeBefore(
  gaps: readonly Gap[],
  generation: Generation,
  position: Position,
  counts: Counts,
): Position | undefined {
  let at = position
  for (;;) {
    const crossed = gapsAt(gaps, generation, at).filter(counts)
    if (crossed.length === 0) break
    at = positionBefore(
      crossed.map(({ from }) => from).reduce((a, b) => (comparePositions(a, b) < 0 ? a : b)),
    )
  }
  return generation.bases.some(({ closing }) => closes(closing, at)) ? at : undefined
}

/** Undefined while one of them is open. */
function wholeBehind(
  gaps: readonly Gap[],
  generation: Generation,
  position: Position,
  counts: Counts,
): Position | undefined {
  let at = position
  for (;;) {
    const crossed = gapsAt(gaps, generation, at).filter(counts)
    if (crossed.length === 0) break
    for (const gap of crossed) {
      const end = gap.scope.kind === 'table' ? gap.closedAt : gap.to
      if (end === undefined) return undefined
      at = laterPosition(at, end)
    }
  }
  return comparePositions(at, laterPosition(generation.end, generation.to)) <= 0 ? at : undefined
}

export interface Around {
  readonly generation: Generation
  /** Where the search begins: behind it, and at it or before it. Undefined where nothing is known there. */
  readonly behind: Position | undefined
  readonly before: Position | undefined
  /** Gaps that matter on either side. */
  readonly countsBehind: Counts
  readonly countsBefore: Counts
}

/** As `--at` takes them, for people; empty where there is none. */
export function wholePoints(catalog: Catalog, around: Around): string[] {
  const { generation } = around
  const before =
    around.before === undefined
      ? undefined
      : wholeBefore(catalog.gaps, generation, around.before, around.countsBefore)
  const behind =
    around.behind === undefined
      ? undefined
      : wholeBehind(catalog.gaps, generation, around.behind, around.countsBehind)
  return [
    ...(before === undefined
      ? []
      : [`--at ${pointText(catalog, generation, before)}  (the last state before it)`]),
    ...(behind === undefined
      ? []
      : [`--at ${pointText(catalog, generation, behind)}  (the first one behind it)`]),
  ]
}

/** Which points can be restored, from the ledger alone: what is offered and what a restore accepts have to be the same. */
import {
  comparePositions,
  parsePosition,
  type Position,
  positionAfter,
  positionBefore,
  positionText,
} from '../core/position.ts'
import { parseInstant } from '../formats/temporal.ts'
import type { Catalog } from './catalog.ts'
import type { Base, Gap, Generation } from './generation.ts'
import { isSegments } from './segment-log.ts'
import { closedAt, reachedAt } from './source-time.ts'

/** A copy at `position` holds what commits below it: a point right below it is covered too. */
export function closes(position: Position, at: Position): boolean {
  return comparePositions(position, positionAfter(at)) <= 0
}

/** Gaps that a restore to the point would cross. */
export function gapsAt(gaps: readonly Gap[], generation: Generation, position: Position): readonly Gap[] {
  return gaps.filter(
    (gap) =>
      gap.generation === generation.facts.generation &&
      comparePositions(gap.from, position) <= 0 &&
      (gap.closedAt === undefined || !closes(gap.closedAt, position)) &&
      (gap.scope.kind === 'table' || gap.to === undefined || comparePositions(gap.to, position) > 0),
  )
}

/** As a restore takes it: a number of one generation may be one of another too. */
export function inGeneration(text: string, { facts }: Generation): string {
  return `${text}@${facts.generation}`
}

/** Whether a restore to the place can begin in this generation. */
export function reaches(generation: Generation, position: Position): boolean {
  const base = firstBase(generation)
  return (
    base !== undefined && closes(base.closing, position) && comparePositions(position, generation.end) <= 0
  )
}

/** A place of the newest generation goes without its number where no older one has it. */
export function pointText(
  { generations }: Pick<Catalog, 'generations'>,
  generation: Generation,
  position: Position,
): string {
  const newest = generations.findLast(({ bases }) => bases.length > 0)
  const isAlone =
    (newest === undefined || newest === generation) &&
    generations.every((other) => other === generation || !reaches(other, position))
  return isAlone ? positionText(position) : inGeneration(positionText(position), generation)
}

/** `xid:4711`: with its generation as soon as there are two, because a server that was set back counts again. */
export function transactionText(
  { generations }: Pick<Catalog, 'generations'>,
  generation: Generation,
  id: number,
): string {
  return generations.length > 1 ? inGeneration(`xid:${id}`, generation) : `xid:${id}`
}

/** `marker:NAME`: with its generation where a restore can reach one of that name in another too. */
export function markerText(
  { generations }: Pick<Catalog, 'generations'>,
  generation: Generation,
  name: string,
): string {
  const isTwice = generations.some(
    (other) =>
      other !== generation &&
      other.markers.some(({ body }) => body.name === name && reaches(other, parsePosition(body.at))),
  )
  return isTwice ? inGeneration(`marker:${name}`, generation) : `marker:${name}`
}

/** The oldest base that a restore can begin from. */
function firstBase(generation: Generation): Base | undefined {
  return generation.bases.find((base) => generation.isClosed(base))
}

/** Between two transactions the state is one: where the window opens in between, its first point has it. */
export function stateBefore(generation: Generation, previous: Position, next: Position): Position {
  const first = firstBase(generation)
  if (first === undefined || closes(first.closing, previous) || comparePositions(first.closing, next) > 0)
    return previous
  return positionBefore(first.closing)
}

export interface Range {
  readonly from: Position
  /** Inclusive; or the end of what is known, which stands for the last point below it. */
  readonly to: Position
  /** Times that are accepted as these points; undefined where none is sure to be. */
  readonly fromTime: string | undefined
  readonly toTime: string | undefined
  /** Tables that have a gap there: a restore takes the others. */
  readonly without: readonly string[]
}

/** Every point of a generation that can be restored, in ranges with the same tables. */
export function restorableRanges({ gaps }: Pick<Catalog, 'gaps'>, generation: Generation): Range[] {
  const base = firstBase(generation)
  if (base === undefined) return []
  const first = base.closing
  const { end } = generation
  const own = gaps.filter((gap) => gap.generation === generation.facts.generation)
  const edges = [...own.flatMap(({ from, to, closedAt: at }) => [from, to, at]), first]
    .filter((position) => position !== undefined)
    .filter((at) => comparePositions(at, first) >= 0 && (comparePositions(at, end) < 0 || at === first))
    .sort(comparePositions)
  const ranges: Range[] = []
  for (const [i, from] of edges.entries()) {
    const next = edges[i + 1]
    if (next === from) continue
    const crossed = gapsAt(own, generation, from)
    if (crossed.some(({ scope }) => scope.kind === 'stream')) continue
    const without = namesOf(crossed)
    const last = ranges.at(-1)
    const isSame =
      last !== undefined && last.to === positionBefore(from) && String(last.without) === String(without)
    if (isSame) ranges.pop()
    ranges.push({
      from: isSame ? last.from : from,
      to: next === undefined ? end : positionBefore(next),
      fromTime: isSame ? last.fromTime : from === first ? openingTime(generation, base, own) : undefined,
      toTime: next === undefined ? closingTime(generation, own) : undefined,
      without,
    })
  }
  return ranges
}

/** What a restore makes of one point. */
export function offered(
  catalog: Pick<Catalog, 'gaps'>,
  generation: Generation,
  position: Position,
): { readonly restorable: boolean; readonly without: readonly string[] } {
  const base = firstBase(generation)
  const isInside =
    base !== undefined &&
    closes(base.closing, position) &&
    (comparePositions(position, generation.end) <= 0 || comparePositions(position, generation.to) <= 0)
  if (!isInside) return { restorable: false, without: [] }
  const crossed = gapsAt(catalog.gaps, generation, position)
  return { restorable: crossed.every(({ scope }) => scope.kind === 'table'), without: namesOf(crossed) }
}

function namesOf(gaps: readonly Gap[]): string[] {
  const names = gaps.flatMap(({ scope }) => (scope.kind === 'table' ? [`${scope.schema}.${scope.name}`] : []))
  return [...new Set(names)].sort()
}

/** The time of a base means a place before the next transaction: where a gap begins before one, it may lie in that. */
function openingTime(generation: Generation, base: Base, gaps: readonly Gap[]): string | undefined {
  const time = closedAt(base)
  const begins = gaps.map(({ from }) => from).filter((from) => comparePositions(from, base.closing) >= 0)
  const { segments } = generation
  const isBefore = (to: Position, latest: string | null): boolean =>
    latest !== null &&
    parseInstant(latest) > parseInstant(time) &&
    begins.every((from) => comparePositions(to, from) < 0)
  const isSure =
    begins.length === 0 ||
    segments.pages.some(({ range, latestCommittedAt }) =>
      isBefore(parsePosition(range.to), latestCommittedAt),
    ) ||
    segments.unpaged.some(
      (entry) => isSegments(entry) && isBefore(parsePosition(entry.body.to), entry.body.latestCommittedAt),
    )
  return isSure ? time : undefined
}

/** The newest time means the last transaction or any place behind it. */
function closingTime(generation: Generation, gaps: readonly Gap[]): string | undefined {
  const isSure = gaps.every(({ from }) => comparePositions(from, generation.to) <= 0)
  return isSure ? reachedAt(generation) : undefined
}

/** Which generation a point means. Where more than one has what it names, the point is refused: a guess would restore another state. */
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, parsePosition, type Position, positionText } from '../core/position.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import type { Generation } from '../repository/generation.ts'
import { inGeneration, reaches } from '../repository/restorable.ts'
import { closedAt, knownUntil } from '../repository/source-time.ts'
import type { Point } from './point-text.ts'
import { shellWord } from '../core/shell-word.ts'

export interface Meant {
  readonly generation: Generation
  /** As it was asked for, for the form with the generation. */
  readonly text: string
  /** What tells them apart for people. */
  readonly what: string
}

function ambiguous(asked: string, meant: readonly Meant[]): TidemarkError {
  const points = meant.map(({ generation, text }) => inGeneration(text, generation))
  return new TidemarkError(
    'POINT_AMBIGUOUS',
    `${asked} means a state in each of ${meant.length} generations: ${meant.map(({ what }, i) => `${points[i]!}, ${what}`).join('; ')}`,
    { next: points.map((point) => `--at ${shellWord(point)}`).join('  or  ') },
  )
}

/** @throws TidemarkError POINT_AMBIGUOUS */
export function refuseSeveral(asked: string, meant: readonly Meant[]): void {
  if (meant.length > 1) throw ambiguous(asked, meant)
}

/** @throws TidemarkError POINT_UNKNOWN */
export function numbered(generations: readonly Generation[], number: number): Generation {
  const found = generations.find((generation) => generation.facts.generation === number)
  if (found === undefined)
    throw new TidemarkError('POINT_UNKNOWN', `there is no generation ${number} with a finished base`)
  return found
}

/** @throws TidemarkError POINT_AMBIGUOUS, POINT_UNKNOWN, POINT_BEFORE_WINDOW */
export function containing(
  generations: readonly Generation[],
  { position, generation: wanted }: Point & { kind: 'position' },
): Generation {
  if (wanted !== undefined) return numbered(generations, wanted)
  const text = positionText(position)
  refuseSeveral(
    text,
    generations
      .filter((generation) => reaches(generation, position))
      .map((generation) => ({
        generation,
        text,
        what: `which has what was committed from ${closedAt(generation.bases[0]!)} to ${knownUntil(generation)}`,
      })),
  )
  for (const generation of generations.toReversed())
    if (comparePositions(position, generation.consistentPoint) >= 0) return generation
  throw new TidemarkError(
    'POINT_BEFORE_WINDOW',
    `${text} lies before the first window, which opens at ${positionText(generations[0]!.bases[0]!.closing)}`,
  )
}

/** A name that is reached in several generations is asked for with one of them; of two in one the later counts. */
export function markerOf(
  generations: readonly Generation[],
  { name, split }: Point & { kind: 'marker' },
): { readonly generation: Generation; readonly position: Position } {
  const found = generations.flatMap((generation) => {
    const marker = lastNamed(generation, name)
    return marker === undefined ? [] : [{ generation, position: parsePosition(marker.body.at), marker }]
  })
  const reached = found.filter(({ generation, position }) => reaches(generation, position))
  refuseSeveral(
    `marker:${name}`,
    reached.map(({ generation, marker }) => ({
      generation,
      text: `marker:${name}`,
      what: `stored at ${marker.writtenAt}`,
    })),
  )
  const one = reached.at(-1) ?? found.at(-1)
  if (one !== undefined) return one
  const generation = split && generations.find(({ facts }) => facts.generation === split.generation)
  const marker = split && generation && lastNamed(generation, split.name)
  if (generation !== undefined && marker !== undefined)
    return { generation, position: parsePosition(marker.body.at) }
  throw new TidemarkError('POINT_UNKNOWN', `there is no marker "${name.slice(0, 60)}" in the backup`, {
    next: 'tidemark windows  (lists the markers)',
  })
}

function lastNamed({ markers }: Generation, name: string): NumberedEntry<'marker'> | undefined {
  return markers.findLast((marker) => marker.body.name === name)
}

/**
 * Floors: where a backup, or what one store keeps of it, begins. Objects below are told by their names, so that mirror, scrub, repair
 * and removal agree about every object without looking into anything.
 */
import { comparePositions, parsePosition, type Position } from '../core/position.ts'
import type { FloorText, SealedRef } from '../formats/ledger-entry.ts'
import { namedPlace } from '../formats/object-name.ts'

export interface Floor {
  readonly generation: number
  readonly base: string
  readonly before: Position
  readonly schemasFrom: Position
  readonly gone: ReadonlySet<string>
  readonly roots: bigint
  readonly pages: bigint
  readonly ddl: SealedRef | null
  readonly text: FloorText
}

export function parseFloor(text: FloorText): Floor {
  return {
    generation: text.generation,
    base: text.base,
    before: parsePosition(text.before),
    schemasFrom: parsePosition(text.schemasFrom),
    gone: new Set(text.gone),
    roots: BigInt(text.roots),
    pages: BigInt(text.pages),
    ddl: text.ddl,
    text,
  }
}

/** Whether an object is none that points from the floor on need. */
export function isBelow(floor: Floor | undefined, name: string): boolean {
  if (floor === undefined) return false
  const place = namedPlace(name)
  switch (place?.kind) {
    case undefined:
      return false
    case 'root':
    case 'hint':
      return place.number < floor.roots
    case 'page':
      return place.number < floor.pages
    case 'copy':
      return place.generation < floor.generation || floor.gone.has(place.base)
    case 'schema':
      return (
        place.generation < floor.generation ||
        (place.generation === floor.generation && comparePositions(place.at, floor.schemasFrom) < 0)
      )
    case 'changes':
    case 'sequences':
    case 'ddl':
      return (
        place.generation < floor.generation ||
        (place.generation === floor.generation && comparePositions(place.at, floor.before) < 0)
      )
  }
}

/** The one that begins later; undefined is the very beginning. */
export function laterFloor(a: Floor | undefined, b: Floor | undefined): Floor | undefined {
  if (a === undefined || b === undefined) return a ?? b
  if (a.generation !== b.generation) return a.generation > b.generation ? a : b
  return comparePositions(a.before, b.before) >= 0 ? a : b
}

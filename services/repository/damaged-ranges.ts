/**
 * Which points need what is known to be damaged: told by names and positions, without reading anything. Where a table is left out
 * of a restore, or a row group is passed over, one of them may come back all the same.
 */
import {
  comparePositions,
  parsePosition,
  type Position,
  positionAfter,
  positionOf,
} from '../core/position.ts'
import type { DamagedObject } from '../formats/entry-fields.ts'
import { namedPlace } from '../formats/object-name.ts'
import type { Base, Generation } from './generation.ts'
import type { Repository } from './repository.ts'
import { isSegments } from './segment-log.ts'

type Known = Pick<Repository, 'catalog' | 'ledger'>

/** Points from `from` to `to`, both of them included, need what is in no store. */
export interface DamagedRange {
  readonly generation: Generation
  readonly from: Position
  readonly to: Position
  readonly objects: readonly DamagedObject[]
}

/** Of each generation in order. None of what another store has: a restore reads around that. */
export function damagedRanges(repository: Known): DamagedRange[] {
  const { catalog } = repository
  const lost = lostObjects(repository)
  if (lost.length === 0) return []
  return catalog.generations.flatMap((generation) => {
    const spans = lost.flatMap((one) => spansOf(repository, generation, one))
    const ranges = new Map<string, { from: Position; to: Position; objects: DamagedObject[] }>()
    for (const { from, to, one } of spans) {
      const key = `${from}-${to}`
      const range = ranges.get(key)
      if (range === undefined) ranges.set(key, { from, to, objects: [one] })
      else range.objects.push(one)
    }
    return [...ranges.values()]
      .sort((a, b) => comparePositions(a.from, b.from) || comparePositions(a.to, b.to))
      .map((range) => ({ generation, ...range }))
  })
}

/** What a restore of a point needs and no store has. */
export function damageAt(
  ranges: readonly DamagedRange[],
  generation: Generation,
  position: Position,
): readonly DamagedObject[] {
  return ranges.flatMap((range) =>
    range.generation === generation &&
    comparePositions(range.from, position) <= 0 &&
    comparePositions(position, range.to) <= 0
      ? range.objects
      : [],
  )
}

export function lostObjects({ catalog }: Pick<Known, 'catalog'>): DamagedObject[] {
  return catalog.damage.above(catalog.floor).filter(({ elsewhere }) => !elsewhere)
}

function spansOf(
  repository: Known,
  generation: Generation,
  one: DamagedObject,
): { readonly from: Position; readonly to: Position; readonly one: DamagedObject }[] {
  const spans: { from: Position; to: Position; one: DamagedObject }[] = []
  const bases = generation.bases.filter((base) => generation.isClosed(base))
  for (const [i, base] of bases.entries()) {
    const from = neededFrom(repository, generation, base, one)
    const next = bases[i + 1]
    // A point right below the closing position begins from that base already.
    const to = next === undefined ? generation.end : positionOf(next.closing - 2n)
    if (from === undefined || comparePositions(from, to) > 0) continue
    const last = spans.at(-1)
    if (last !== undefined && comparePositions(from, positionAfter(positionAfter(last.to))) <= 0) last.to = to
    else spans.push({ from, to, one })
  }
  return spans
}

/** The first point, of those that begin from the base, that needs the object; undefined where none does. */
export function neededFrom(
  { catalog, ledger }: Known,
  generation: Generation,
  base: Base,
  one: DamagedObject,
): Position | undefined {
  const number = generation.facts.generation
  const place = namedPlace(one.object)
  const until = one.until === null ? undefined : parsePosition(one.until)
  const isSince = until !== undefined && comparePositions(until, base.from) >= 0
  const from = (position: Position | undefined): Position =>
    position !== undefined && comparePositions(position, base.closing) > 0 ? position : base.closing
  switch (place?.kind) {
    case 'changes':
      // What its cut begins behind does not need it.
      return place.generation === number && isSince ? from(positionAfter(place.at)) : undefined
    case 'sequences':
      return place.generation === number && isSince ? from(until) : undefined
    case 'copy':
      if (place.generation !== number) return undefined
      return place.base === base.id ? base.closing : isSince ? from(until) : undefined
    case 'schema':
      return place.generation === number && !isReadAgain(generation, base, BigInt(one.entry))
        ? from(until)
        : undefined
    // Every command reads around the ledger's index; and what is retired is for older points.
    case 'root':
    case 'page':
    case 'hint':
    case 'ddl':
      return undefined
    case undefined: {
      const key = catalog.keys.get(/^keys\/(k[0-9a-f]+)/.exec(one.object)?.[1] ?? '')
      const isNeeded =
        key === undefined
          ? // An entry of the ledger: a restore begins at the newest checkpoint.
            BigInt(one.entry) > ledger.headNumber - BigInt(catalog.sinceCheckpoint)
          : key.body.object.name === one.object && keysSince(generation, base).has(key.body.key)
      return isNeeded ? base.closing : undefined
    }
  }
}

/** A whole reading came later, and no point behind the base goes back behind it. */
function isReadAgain(generation: Generation, base: Base, entry: bigint): boolean {
  return generation.schemas.some(
    ({ number, body }) =>
      body.kind === 'schema' && number > entry && comparePositions(parsePosition(body.at), base.closing) <= 0,
  )
}

/** The epoch keys that open what points from a base on need; perhaps some more. */
function keysSince(generation: Generation, base: Base): Set<string> {
  const keys = new Set<string>()
  for (const { body } of generation.tables.values())
    if (body.base === base.id || comparePositions(parsePosition(body.position), base.from) >= 0)
      for (const { key } of [...body.parts, body.version]) keys.add(key)
  for (const page of generation.segments.pages)
    if (comparePositions(parsePosition(page.range.to), base.from) >= 0)
      for (const key of page.keys) keys.add(key)
  for (const entry of generation.segments.unpaged) {
    if (!isSegments(entry)) keys.add(entry.body.object.key)
    else if (comparePositions(parsePosition(entry.body.to), base.from) >= 0)
      for (const { key } of [...entry.body.objects, entry.body.index]) keys.add(key)
  }
  for (const { number, body } of generation.schemas)
    if (!isReadAgain(generation, base, number)) keys.add(body.object.key)
  return keys
}

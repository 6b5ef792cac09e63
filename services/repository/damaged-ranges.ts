/**
 * Which points need what is known to be damaged: told by names and positions, without reading anything. Where a table is left out
 * of a restore, or a row group is passed over, one of them may come back all the same.
 */
import { compareLsn, type Lsn, parseLsn, toLsn } from '../core/position.ts'
import type { DamagedObject } from '../formats/entry-fields.ts'
import { namedPlace } from '../formats/object-name.ts'
import type { Base, Generation } from './generation.ts'
import type { Repository } from './repository.ts'
import { isSegments } from './segment-log.ts'

type Known = Pick<Repository, 'catalog' | 'ledger'>

/** Points from `from` to `to`, both of them included, need what is in no store. */
export interface DamagedRange {
  readonly generation: Generation
  readonly from: Lsn
  readonly to: Lsn
  readonly objects: readonly DamagedObject[]
}

/** Of each generation in order. None of what another store has: a restore reads around that. */
export function damagedRanges(repository: Known): DamagedRange[] {
  const { catalog } = repository
  const lost = lostObjects(repository)
  if (lost.length === 0) return []
  return catalog.generations.flatMap((generation) => {
    const spans = lost.flatMap((one) => spansOf(repository, generation, one))
    const ranges = new Map<string, { from: Lsn; to: Lsn; objects: DamagedObject[] }>()
    for (const { from, to, one } of spans) {
      const key = `${from}-${to}`
      const range = ranges.get(key)
      if (range === undefined) ranges.set(key, { from, to, objects: [one] })
      else range.objects.push(one)
    }
    return [...ranges.values()]
      .sort((a, b) => compareLsn(a.from, b.from) || compareLsn(a.to, b.to))
      .map((range) => ({ generation, ...range }))
  })
}

/** What a restore of a point needs and no store has. */
export function damageAt(
  ranges: readonly DamagedRange[],
  generation: Generation,
  lsn: Lsn,
): readonly DamagedObject[] {
  return ranges.flatMap((range) =>
    range.generation === generation && compareLsn(range.from, lsn) <= 0 && compareLsn(lsn, range.to) <= 0
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
): { readonly from: Lsn; readonly to: Lsn; readonly one: DamagedObject }[] {
  const spans: { from: Lsn; to: Lsn; one: DamagedObject }[] = []
  const bases = generation.bases.filter((base) => generation.isClosed(base))
  for (const [i, base] of bases.entries()) {
    const from = neededFrom(repository, generation, base, one)
    const next = bases[i + 1]
    // A point right below the closing position begins from that base already.
    const to = next === undefined ? generation.end : toLsn(next.closing - 2n)
    if (from === undefined || compareLsn(from, to) > 0) continue
    const last = spans.at(-1)
    if (last !== undefined && from <= last.to + 2n) last.to = to
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
): Lsn | undefined {
  const number = generation.facts.generation
  const place = namedPlace(one.object)
  const until = one.until === null ? undefined : parseLsn(one.until)
  const isSince = until !== undefined && compareLsn(until, base.from) >= 0
  const from = (lsn: Lsn | undefined): Lsn =>
    lsn !== undefined && compareLsn(lsn, base.closing) > 0 ? lsn : base.closing
  switch (place?.kind) {
    case 'changes':
      // What its cut begins behind does not need it.
      return place.generation === number && isSince ? from(toLsn(place.at + 1n)) : undefined
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
      body.kind === 'schema' && number > entry && compareLsn(parseLsn(body.at), base.closing) <= 0,
  )
}

/** The epoch keys that open what points from a base on need; perhaps some more. */
function keysSince(generation: Generation, base: Base): Set<string> {
  const keys = new Set<string>()
  for (const { body } of generation.tables.values())
    if (body.base === base.id || compareLsn(parseLsn(body.position), base.from) >= 0)
      for (const { key } of [...body.parts, body.version]) keys.add(key)
  for (const page of generation.segments.pages)
    if (compareLsn(parseLsn(page.range.to), base.from) >= 0) for (const key of page.keys) keys.add(key)
  for (const entry of generation.segments.unpaged) {
    if (!isSegments(entry)) keys.add(entry.body.object.key)
    else if (compareLsn(parseLsn(entry.body.to), base.from) >= 0)
      for (const { key } of [...entry.body.objects, entry.body.index]) keys.add(key)
  }
  for (const { number, body } of generation.schemas)
    if (!isReadAgain(generation, base, number)) keys.add(body.object.key)
  return keys
}

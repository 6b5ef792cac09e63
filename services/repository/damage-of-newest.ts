/** Whether what is damaged keeps the newest points from being restored: told by names and positions, without reading anything. */
import { compareLsn, parseLsn } from '../core/position.ts'
import type { DamagedObject } from '../formats/entry-fields.ts'
import { namedPlace } from '../formats/object-name.ts'
import type { Base, Generation } from './generation.ts'
import type { Repository } from './repository.ts'
import { isSegments } from './segment-log.ts'

/** What keeps the newest points from being restored: no store has it, and no newer base makes up for it. */
export function damageOfNewest(repository: Pick<Repository, 'catalog' | 'ledger'>): DamagedObject[] {
  const { catalog } = repository
  const { generation } = catalog
  const base = generation?.bases.findLast((one) => generation.isClosed(one))
  const lost = catalog.damage.above(catalog.floor).filter(({ elsewhere }) => !elsewhere)
  if (generation === undefined || base === undefined || lost.length === 0) return lost
  return lost.filter((one) => isNeeded(repository, generation, base, one))
}

function isNeeded(
  { catalog, ledger }: Pick<Repository, 'catalog' | 'ledger'>,
  generation: Generation,
  base: Base,
  one: DamagedObject,
): boolean {
  const number = generation.facts.generation
  const place = namedPlace(one.object)
  const isSince = one.until !== null && compareLsn(parseLsn(one.until), base.from) >= 0
  switch (place?.kind) {
    case 'changes':
    case 'sequences':
      return place.generation === number && isSince
    case 'copy':
      return place.generation === number && (isSince || place.base === base.id)
    case 'schema':
      return place.generation === number && !isReadAgain(generation, base, BigInt(one.entry))
    // Every command reads around the ledger's index; and what is retired is for older points.
    case 'root':
    case 'page':
    case 'hint':
    case 'ddl':
      return false
    case undefined: {
      const key = catalog.keys.get(/^keys\/(k[0-9a-f]+)/.exec(one.object)?.[1] ?? '')
      // An entry of the ledger: a restore begins at the newest checkpoint.
      if (key === undefined) return BigInt(one.entry) > ledger.headNumber - BigInt(catalog.sinceCheckpoint)
      return key.body.object.name === one.object && keysSince(generation, base).has(key.body.key)
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

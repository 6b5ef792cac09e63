/**
 * Retention: how far back a backup, or what one store keeps of it, may begin. Decided from what the ledger says alone, whole bases at a
 * time, the oldest end first, and never past what a hold needs.
 */
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import {
  comparePositions,
  parsePosition,
  type Position,
  positionAfter,
  positionText,
} from '../core/position.ts'
import type { FloorText, SealedRef } from '../formats/ledger-entry.ts'
import { checkpointNumber, checkpointPrefix, proofPrefix } from '../formats/object-name.ts'
import type { Catalog } from '../repository/catalog.ts'
import { type Floor, laterFloor } from '../repository/floor.ts'
import type { Base, Generation } from '../repository/generation.ts'
import { byName, chainFrom } from '../repository/reading-chain.ts'
import type { Repository } from '../repository/repository.ts'
import { isSegments } from '../repository/segment-log.ts'

export interface RetentionPolicy {
  /** Every point of this last time can be restored, ms. */
  readonly keepMs: number
  /** At least so many finished bases stay, however old they are. */
  readonly bases: number
}

export interface Beginning {
  readonly generation: Generation
  readonly base: Base
}

export interface Choice {
  /** Undefined where nothing may go. */
  readonly begin: Beginning | undefined
  /** Why it is not later. */
  readonly because: string
}

/** The latest beginning that policy and holds allow. @param now ms since 1970 */
export function chooseBeginning(catalog: Catalog, policy: RetentionPolicy, now: number): Choice {
  // A backup that began at a base which the stream has not closed yet would have no point at all.
  const all = catalog.generations.flatMap((generation) =>
    generation.bases
      .filter((base) => generation.isClosed(base))
      .map((base): Beginning => ({ generation, base })),
  )
  if (all.length === 0) return { begin: undefined, because: 'there is no base that the stream has closed' }
  let at = all.length - 1
  let because = 'there is no newer base'
  const least = Math.max(0, all.length - policy.bases)
  if (least < at) {
    at = least
    because = `${policy.bases} bases are kept`
  }
  const old = all.findLastIndex(({ base }) => writtenBy(catalog, base, now) <= now - policy.keepMs)
  if (old < at) {
    at = old
    because =
      old < 0
        ? 'the oldest base is younger than what is kept'
        : 'the base after it is younger than what is kept'
  }
  for (const { body } of catalog.holds.values()) {
    if (body.until !== null && Date.parse(body.until) <= now) continue
    const from = parsePosition(body.from)
    const needed = all.findLastIndex(
      ({ generation, base }) =>
        generation.facts.generation < body.generation ||
        (generation.facts.generation === body.generation && covers(base, from)),
    )
    // A hold on what lies before everything keeps everything.
    if (Math.max(0, needed) >= at) continue
    at = Math.max(0, needed)
    because = `${body.purpose === 'legal' ? 'the hold' : 'a restore'} ${body.id} needs it (${body.reason})`
  }
  // The first one is where it begins already.
  return { begin: at <= 0 ? undefined : all[at], because }
}

/**
 * When a base was finished at the earliest. Its own time is its writer's to say, and no writer can be back before what the ledger said
 * before it; a time that is ahead of us is no age at all, and says nothing of others.
 */
function writtenBy(catalog: Catalog, base: Base, now: number): number {
  const own = Date.parse(base.writtenAt)
  return own > now + LIMITS.skewMs ? Infinity : Math.max(own, catalog.latestTime(base.number, now))
}

/**
 * The last ledger entry that names something below a floor: whoever has everything up to it has all of that. Not the base's own number: where
 * the stream is behind the copying of a base, segments from before the base come after its entry.
 */
export function lastBelow(
  generation: Pick<Generation, 'tables' | 'schemas'>,
  base: Pick<Base, 'number'>,
  floor: Floor,
): bigint {
  let last = base.number > floor.pages - 1n ? base.number : floor.pages - 1n
  for (const [number, table] of generation.tables)
    if (floor.gone.has(table.body.base) && number > last) last = number
  for (const schema of generation.schemas)
    if (comparePositions(parsePosition(schema.body.at), floor.schemasFrom) < 0 && schema.number > last)
      last = schema.number
  return last
}

/** A hold that needs what lies below a floor: set while it was being retired. */
export function holdBelow(catalog: Catalog, floor: Floor, now: number): string | undefined {
  const base = catalog.allGenerations
    .find((generation) => generation.facts.generation === floor.generation)
    ?.bases.find((one) => one.id === floor.base)
  for (const { body } of catalog.holds.values()) {
    if (body.until !== null && Date.parse(body.until) <= now) continue
    if (
      body.generation < floor.generation ||
      (body.generation === floor.generation &&
        (base === undefined || !covers(base, parsePosition(body.from))))
    )
      return body.id
  }
  return undefined
}

function covers(base: Base, position: Position): boolean {
  return comparePositions(base.closing, positionAfter(position)) <= 0
}

/**
 * The floor that goes with a beginning.
 *
 * @param ddl the DDL records of the beginning's generation up to the floor, stored
 */
export async function floorAt(
  repository: Repository,
  { generation, base }: Beginning,
  ddl: (before: Position) => Promise<SealedRef | null>,
): Promise<FloorText> {
  const { catalog } = repository
  const from = oldestNeeded(generation, base)
  let first: Position | undefined
  for await (const entry of generation.segments.entries((c) => comparePositions(c.to, from) >= 0)) {
    if (!isSegments(entry) || comparePositions(parsePosition(entry.body.to), from) < 0) continue
    first = parsePosition(entry.body.from)
    break
  }
  const before = first ?? generation.to
  let stays = repository.ledger.headNumber + 1n
  for await (const entry of generation.segments.entries(
    (c) => comparePositions(c.isPage === true ? c.to : c.from, before) >= 0,
  )) {
    stays = entry.number
    break
  }
  // One more than is needed: what a reading of the schema knows may be later than where it stands.
  const schemas = generation.schemas.filter(
    (schema) => comparePositions(parsePosition(schema.body.at), from) <= 0,
  )
  const oldest = schemas.at(-2) ?? schemas[0] ?? generation.schemas[0]
  if (oldest === undefined) throw new TidemarkError('LEDGER_BROKEN', 'there is no reading of the schema')
  const schemasFrom = chainFrom(byName(generation.schemas), oldest)
  const kept = new Set(generation.bases.filter((one) => one.number >= base.number).map((one) => one.id))
  const copies = new Set<string>()
  for (const { body } of generation.tables.values()) {
    copies.add(body.base)
    if (comparePositions(parsePosition(body.position), from) >= 0) kept.add(body.base)
  }
  return {
    generation: generation.facts.generation,
    base: base.id,
    before: positionText(before),
    schemasFrom,
    gone: [...(catalog.floor?.gone ?? []), ...[...copies].filter((id) => !kept.has(id))],
    roots: String(await supersededRoots(repository)),
    pages: String(stays),
    ddl: await ddl(before),
  }
}

/** Positions of every copy that stays: of the base, of later ones, and of one that is being made. */
function oldestNeeded(generation: Generation, base: Base): Position {
  const newest = generation.base?.number ?? 0n
  const positions = [
    ...generation.bases.filter((one) => one.number >= base.number).map((one) => one.from),
    ...[...generation.tables.values()]
      .filter((table) => table.number > newest)
      .map((table) => parsePosition(table.body.position)),
  ]
  return positions.reduce(
    (low, position) => (comparePositions(position, low) < 0 ? position : low),
    base.from,
  )
}

/** Checkpoints before the newest three help nobody. */
async function supersededRoots({ ledger }: Repository): Promise<bigint> {
  const third = await hinted(ledger, checkpointPrefix, 3)
  // What a keeper has proven is where the next proof begins, however old it is.
  const proven = await hinted(ledger, proofPrefix, 1)
  if (third === undefined) return 0n
  return (proven === undefined || proven > third ? third : proven) - 1n
}

async function hinted(
  { store, lineages }: Repository['ledger'],
  prefix: (lineage: number) => string,
  which: number,
): Promise<bigint | undefined> {
  let left = which
  for await (const name of store.list(prefix(lineages.current))) {
    const number = checkpointNumber(name)
    if (number !== undefined && --left === 0) return number
  }
  return undefined
}

/** What lies between two beginnings, about: bytes of changes and of copies. */
export async function sizeBelow(
  catalog: Catalog,
  { generation, base }: Beginning,
): Promise<{ readonly segments: number; readonly parts: number; readonly bytes: bigint }> {
  let segments = 0
  let parts = 0
  let bytes = 0n
  for (const one of catalog.generations) {
    const isThis = one === generation
    if (one.number > generation.number) continue
    const below = await one.segments.sums(
      (c) => !isThis || comparePositions(c.to, base.from) < 0,
      () => !isThis,
    )
    segments += below.segments
    bytes += below.bytes
    for (const { body } of one.tables.values()) {
      if (
        isThis &&
        (comparePositions(parsePosition(body.position), base.from) >= 0 ||
          catalog.floor?.gone.has(body.base) === true)
      )
        continue
      parts += body.parts.length
      for (const part of body.parts) bytes += BigInt(part.bytes)
    }
  }
  return { segments, parts, bytes }
}

/** What a store of the set may begin with: never later than the whole backup's own rules say. */
export function isLater(a: Floor | undefined, b: Floor | undefined): boolean {
  return a !== undefined && (b === undefined || (laterFloor(a, b) === a && a.text.base !== b.text.base))
}

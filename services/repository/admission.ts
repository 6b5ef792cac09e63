/**
 * What the ledger may say next, after all that it says already: asked of every entry that is read, and of every entry before it is put.
 * An entry that nobody could read past would make the whole backup unreadable.
 */
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, parsePosition } from '../core/position.ts'
import { type EntryBody, isSameBody, type NumberedEntry } from '../formats/ledger-entry.ts'
import type { CatalogEntry, Retirement } from './catalog-entry.ts'
import type { Gap, Generation } from './generation.ts'

/**
 * `stale`: written after a higher term was claimed, by a writer whose guard had not stopped it: no reader trusts it (hazard 18).
 * `repeats`: the very same as one before it, written once more because the answer to the first was lost.
 */
export type Verdict = 'counts' | 'stale' | 'repeats'

/** Of the catalog. */
interface Known {
  readonly allGenerations: readonly Generation[]
  readonly claims: ReadonlyMap<number, { readonly term: number }>
  readonly gaps: readonly Gap[]
  readonly retirements: readonly Retirement[]
}

/** @throws TidemarkError LEDGER_BROKEN for an entry that cannot follow */
export function judge(known: Known, entry: CatalogEntry): Verdict {
  const { body } = entry
  if (body === undefined) return 'counts'
  if ('generation' in body && body.kind !== 'gap' && body.kind !== 'gap-closed' && body.kind !== 'hold') {
    const generation = known.allGenerations.find((g) => g.facts.generation === body.generation)
    if (body.kind === 'generation')
      return generation !== undefined && isSameBody(generation.facts, body) ? 'repeats' : 'counts'
    return judgeInGeneration(known, generationOf(known, body.generation, entry), { ...entry, body })
  }
  switch (body.kind) {
    case 'gap':
      return known.gaps.some((gap) => gap.id === body.id) ? 'repeats' : 'counts'
    case 'gap-closed':
      if (!known.gaps.some((gap) => gap.id === body.id))
        throw broken(entry, 'it closes a gap that was never recorded')
      return 'counts'
    case 'retire':
      if (known.retirements.some((one) => one.id === body.id)) return 'repeats'
      if (
        !generationOf(known, body.floor.generation, entry).bases.some((base) => base.id === body.floor.base)
      )
        throw broken(entry, 'it names a base that is not there')
      return 'counts'
    case 'retire-undone': {
      const retirement = known.retirements.find((one) => one.id === body.id)
      if (retirement === undefined || retirement.isRemoved)
        throw broken(entry, 'it undoes what was never retired, or is gone')
      return 'counts'
    }
    case 'removed':
      if (!known.retirements.some((one) => one.id === body.id))
        throw broken(entry, 'it removes what was never retired')
      return 'counts'
    case 'checkpoint':
      for (const { generation } of body.pages) generationOf(known, generation, entry)
      return 'counts'
    default:
      return 'counts'
  }
}

function judgeInGeneration(
  known: Known,
  generation: Generation,
  entry: CatalogEntry & { readonly body: EntryBody },
): Verdict {
  const { body } = entry
  switch (body.kind) {
    case 'segments':
      return judgeSegments(known, generation, { ...entry, body }, entry)
    case 'heartbeat':
      return isStale(known, body.lane, body.term) ? 'stale' : 'counts'
    case 'base':
      if (generation.allBases.some((base) => base.id === body.base)) return 'repeats'
      for (const { oid, entry: number } of body.tables)
        if (generation.tables.get(BigInt(number))?.body.oid !== oid)
          throw broken(entry, 'a base names a table entry that is not there')
      return 'counts'
    default:
      return 'counts'
  }
}

function judgeSegments(
  known: Known,
  generation: Generation,
  { body }: NumberedEntry<'segments'>,
  entry: CatalogEntry,
): Verdict {
  if (isStale(known, body.lane, body.term)) return 'stale'
  const from = parsePosition(body.from)
  if (comparePositions(from, generation.to) !== 0) {
    const { last } = generation.segments
    const isOther = generation.lastSigner !== undefined && generation.lastSigner !== entry.signer
    if (last !== undefined && !isOther && isSameBody(last.body, body)) return 'repeats'
    throw broken(entry, `it continues from ${body.from}, but the window ends elsewhere`)
  }
  if (comparePositions(parsePosition(body.to), from) < 0) throw broken(entry, 'its range runs backwards')
  return 'counts'
}

function isStale(known: Known, lane: number, term: number): boolean {
  const held = known.claims.get(lane)
  return held !== undefined && term < held.term
}

function generationOf(known: Known, number: number, entry: CatalogEntry): Generation {
  const generation = known.allGenerations.find((g) => g.facts.generation === number)
  if (generation === undefined)
    throw broken(entry, `it belongs to generation ${number}, which the ledger does not have`)
  return generation
}

function broken(entry: CatalogEntry, what: string): TidemarkError {
  return new TidemarkError('LEDGER_BROKEN', `ledger entry ${entry.number}: ${what}`)
}

/** Whether of several writers that create one object at the same moment exactly one is told so: everything that the ledger is rests on it. */
import { setTimeout } from 'node:timers/promises'
import { asTidemarkError } from '../../core/errors.ts'
import type { ObjectStore, RaceOutcome } from '../../core/ports/object-store.ts'

/** At once, each with a body of its own. */
const WRITERS = 16
const PAUSE_MS = 1000

export type RaceVerdict =
  | { readonly kind: 'safe' /** That is there now. */; readonly name: string }
  /** Both were told that theirs is the object, or somebody was whose it is not. */
  | { readonly kind: 'unsafe'; readonly what: string }
  /** Nobody wins, whatever is tried: busy, throttled, or half there. */
  | { readonly kind: 'untried'; readonly what: string }

/**
 * @param rounds at least one; one that nobody wins is tried once more
 * @param newName gives a name that nobody used before
 */
export async function raceStore(
  store: ObjectStore,
  rounds: number,
  newName: () => string,
): Promise<RaceVerdict> {
  for (let left = rounds; ; left--) {
    let verdict = await round(store, newName())
    if (verdict.kind === 'untried') {
      await setTimeout(PAUSE_MS)
      verdict = await round(store, newName())
    }
    if (verdict.kind !== 'safe' || left <= 1) return verdict
  }
}

async function round(store: ObjectStore, name: string): Promise<RaceVerdict> {
  const bodies = Array.from({ length: WRITERS }, (_, i) => Buffer.from(`writer ${i} of ${name}`))
  const outcomes = await (store.race?.(name, bodies) ?? atOnce(store, name, bodies))
  const winners = outcomes.flatMap((outcome, i) => (outcome === 'created' ? [i] : []))
  const [winner] = winners
  if (winner === undefined) return { kind: 'untried', what: `of ${WRITERS} creates at once none succeeded` }
  if (winners.length > 1)
    return {
      kind: 'unsafe',
      what: `${winners.length} of ${WRITERS} writers that created one object at the same moment were told that it is theirs`,
    }
  if (!(await store.get(name)).equals(bodies[winner]!))
    return { kind: 'unsafe', what: "holds another writer's object than the one that it said was created" }
  return { kind: 'safe', name }
}

function atOnce(
  store: ObjectStore,
  name: string,
  bodies: readonly Buffer[],
): Promise<readonly RaceOutcome[]> {
  return Promise.all(
    bodies.map(async (body): Promise<RaceOutcome> => {
      try {
        return await store.putIfAbsent(name, [body])
      } catch (error) {
        const known = asTidemarkError(error)
        if (known.code !== 'STORE_UNREACHABLE') throw known
        return 'failed'
      }
    }),
  )
}

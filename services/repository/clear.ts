/** Takes away what the backup no longer needs: only what names say lies below a floor, the oldest first, in one store at a time. */
import { LIMITS } from '../core/limits.ts'
import type { KeptObject, ObjectStore } from '../core/ports/object-store.ts'
import { type Floor, isBelow } from './floor.ts'

export interface Cleared {
  readonly objects: number
  readonly bytes: number
  /** Refused by the store until a later time. */
  readonly locked: number
}

const PREFIXES = ['segments/', 'base/', 'schema/', 'retired/', 'index/', 'checkpoints/']

export function clearBelow(store: ObjectStore, floor: Floor, signal: AbortSignal): Promise<Cleared> {
  return clear(store, (object) => isBelow(floor, object.name), signal)
}

/**
 * What no ledger entry names, and no upload can still want: an upload that was given up, an overtaken writer's.
 *
 * @param isNamed knows every name of the ledger
 * @param before written before this, ms since 1970
 */
export function clearUnnamed(
  store: ObjectStore,
  isNamed: (name: string) => boolean,
  before: number,
  signal: AbortSignal,
): Promise<Cleared> {
  return clear(
    store,
    (object) => object.at < before && !object.name.startsWith('checkpoints/') && !isNamed(object.name),
    signal,
  )
}

async function clear(
  store: ObjectStore,
  which: (object: KeptObject) => boolean,
  signal: AbortSignal,
): Promise<Cleared> {
  const cleared = { objects: 0, bytes: 0, locked: 0 }
  let waiting: KeptObject[] = []
  const purge = async (): Promise<void> => {
    signal.throwIfAborted()
    const outcomes = await Promise.all(waiting.map((object) => store.purge(object)))
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome === 'locked') cleared.locked++
      else {
        cleared.objects++
        cleared.bytes += waiting[i]!.bytes
      }
    }
    waiting = []
  }
  for (const prefix of PREFIXES) {
    for await (const object of store.kept(prefix)) {
      if (!which(object)) continue
      waiting.push(object)
      if (waiting.length === LIMITS.purgesInFlight) await purge()
    }
    await purge()
  }
  return cleared
}

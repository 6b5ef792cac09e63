/**
 * Looks at what every store of a set really has: each ledger entry, and each object that one names, by its hash. What is wrong or
 * missing in one is put back from another. Needs no key that opens anything.
 */
import { createHash } from 'node:crypto'
import { asTidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { type StoredObject } from '../formats/ledger-entry.ts'
import { proveLedger } from './checkpoint.ts'
import { putBack } from './copy-set.ts'
import { type Floor, isBelow } from './floor.ts'
import { headOf } from './lineages.ts'
import { readTrim } from './trim.ts'
import { faultOf } from './keyring.ts'
import type { Ledger } from './ledger.ts'
import { namedObjects } from './named-objects.ts'

export interface ScrubFault {
  readonly place: string
  readonly object: string
  readonly range: string
  /** `mended`: put back. `lost`: no store of the set has it. `left`: the store would not take it. */
  readonly outcome: 'mended' | 'lost' | 'left'
  readonly what: string
}

export interface ScrubReport {
  readonly stores: readonly { readonly place: string; readonly objects: number; readonly bytes: string; /** Why it could not be read. */ readonly away: string | null }[]
  readonly faults: readonly ScrubFault[]
}

export interface ScrubOptions {
  readonly ledger: Ledger
  readonly stream: string
  /** Where the backup begins by now. */
  readonly floor: Floor | undefined
  /** All stores of the set, the primary first. */
  readonly stores: readonly ObjectStore[]
  /** One of `parts` shares of the objects: which one. */
  readonly share: { readonly part: number; readonly parts: number }
  readonly signal: AbortSignal
  onProgress?(objects: number): void
}

/** Which share an object belongs to: the same one always, so that all shares together are everything. */
export function shareOf(name: string, parts: number): number {
  return createHash('sha256').update(name).digest().readUInt32BE(0) % parts
}

export async function scrub({ ledger, stream, floor, stores, share, signal, onProgress }: ScrubOptions): Promise<ScrubReport> {
  const faults: ScrubFault[] = []
  const seen = await Promise.all(stores.map((store) => begin(store, ledger, stream)))
  let objects = 0
  /** One object in all stores that are to have it. */
  const look = async (object: StoredObject, range: string, number: bigint): Promise<void> => {
    if (shareOf(object.name, share.parts) !== share.part) return
    const wrong: { readonly one: Seen; readonly what: string }[] = []
    let right: Buffer | undefined
    for (const one of seen) {
      if (one.away !== null || number > one.head || isBelow(one.floor, object.name)) continue
      const { bytes, what } = await read(one, object)
      one.objects++
      if (what === undefined) right = bytes
      else if (what !== null) wrong.push({ one, what })
    }
    for (const { one, what } of wrong) {
      right ??= await anywhere(stores, object)
      faults.push({ place: one.store.place, object: object.name, range, outcome: right === undefined ? 'lost' : await mend(one.store, object.name, right), what })
    }
    onProgress?.(++objects)
  }
  for await (const { entry } of proveLedger(ledger, floor)) {
    signal.throwIfAborted()
    const file = await ledger.store.get(ledger.lineages.nameOf(entry.number))
    await look({ name: ledger.lineages.nameOf(entry.number), bytes: String(file.length), sha256: entry.hash }, `ledger entry ${entry.number}`, entry.number)
    for (const { object, range } of namedObjects(entry)) if (!isBelow(floor, object.name)) await look(object, range, entry.number)
  }
  return { stores: seen.map(({ store, objects: count, bytes, away }) => ({ place: store.place, objects: count, bytes: String(bytes), away })), faults }
}

interface Seen {
  readonly store: ObjectStore
  /** A copy has nothing behind this. */
  readonly head: bigint
  /** It keeps nothing below this. */
  readonly floor: Floor | undefined
  objects: number
  bytes: bigint
  away: string | null
}

async function begin(store: ObjectStore, ledger: Ledger, stream: string): Promise<Seen> {
  try {
    return { store, head: await headOf(store, ledger.headNumber, (number) => ledger.lineages.nameOf(number)), floor: await readTrim(store, ledger, stream), objects: 0, bytes: 0n, away: null }
  } catch (error) {
    const { code, message } = asTidemarkError(error)
    return { store, head: 0n, floor: undefined, objects: 0, bytes: 0n, away: `${code}: ${message}` }
  }
}

/** `what` is undefined where the object is right, null where the store could not be asked. */
async function read(one: Seen, object: StoredObject): Promise<{ readonly bytes?: Buffer; readonly what: string | undefined | null }> {
  try {
    const bytes = await one.store.get(object.name)
    one.bytes += BigInt(bytes.length)
    const fault = faultOf(object, bytes)
    return fault === undefined ? { bytes, what: undefined } : { what: fault.message }
  } catch (error) {
    const { code, message } = asTidemarkError(error)
    if (code === 'STORE_NOT_FOUND') return { what: 'it is gone' }
    one.away = `${code}: ${message}`
    return { what: null }
  }
}

async function anywhere(stores: readonly ObjectStore[], object: StoredObject): Promise<Buffer | undefined> {
  for (const store of stores) {
    try {
      for await (const bytes of store.alternatives?.(object.name) ?? []) if (faultOf(object, bytes) === undefined) return bytes
    } catch (error) {
      if (asTidemarkError(error).code === 'INTERNAL') throw error
    }
  }
  return undefined
}

async function mend(store: ObjectStore, name: string, bytes: Buffer): Promise<'mended' | 'left'> {
  try {
    return (await putBack(store, name, bytes)) ? 'mended' : 'left'
  } catch (error) {
    if (asTidemarkError(error).code === 'INTERNAL') throw error
    return 'left'
  }
}

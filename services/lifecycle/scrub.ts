/**
 * Looks at what every store of a set really has: each ledger entry, and each object that one names, by its hash. What is wrong or
 * missing in one is put back from another. Needs no key that opens anything.
 */
import { asTidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import type { DamagedObject, StoredObject } from '../formats/entry-fields.ts'
import { proveLedger } from '../repository/checkpoint.ts'
import { putBack } from '../repository/copy-set.ts'
import { type Floor, isBelow } from '../repository/floor.ts'
import { headOf } from '../repository/lineages.ts'
import { readTrim } from '../repository/trim.ts'
import { faultOf, isSame } from '../repository/keyring.ts'
import type { AnyEntry } from '../repository/entry-reader.ts'
import type { Ledger } from '../repository/ledger.ts'
import { type NamedObject, namedObjects } from '../repository/named-objects.ts'

interface ScrubFault {
  readonly place: string
  readonly object: string
  readonly range: string
  /** `mended`: put back. `lost`: no store of the set has it. `left`: the store would not take it. */
  readonly outcome: 'mended' | 'lost' | 'left'
  readonly what: string
  /** Number of the entry that names it, and the last position that it is for. */
  readonly entry: string
  readonly until: string | null
}

export interface ScrubReport {
  readonly stores: readonly {
    readonly place: string
    readonly objects: number
    readonly bytes: string /** Why it could not be read. */
    readonly away: string | null
  }[]
  readonly faults: readonly ScrubFault[]
  /** What was damaged before, and is right in every store by now. */
  readonly intact: readonly string[]
}

/** One of `parts` shares of the objects: which one; or what is known to be damaged alone. */
type ScrubShare = { readonly part: number; readonly parts: number } | 'known'

export interface ScrubOptions {
  readonly ledger: Ledger
  readonly stream: string
  /** Where the backup begins by now. */
  readonly floor: Floor | undefined
  /** All stores of the set, the primary first. */
  readonly stores: readonly ObjectStore[]
  readonly share: ScrubShare
  /** What is known to be damaged. */
  readonly known: readonly DamagedObject[]
  readonly signal: AbortSignal
  onProgress?(objects: number): void
}

export async function scrub({
  ledger,
  stream,
  floor,
  stores,
  share,
  known,
  signal,
  onProgress,
}: ScrubOptions): Promise<ScrubReport> {
  const faults: ScrubFault[] = []
  const intact: string[] = []
  const isKnown = new Set(known.map(({ object }) => object))
  const seen = await Promise.all(stores.map((store) => begin(store, ledger, stream)))
  let objects = 0
  /** One object in all stores that are to have it. */
  const look = async (
    { object, range, until }: Pick<NamedObject, 'object' | 'range' | 'until'>,
    number: bigint,
  ): Promise<void> => {
    if (share === 'known' && !isKnown.has(object.name)) return
    const asked = seen.filter(
      (one) => one.away === null && number <= one.head && !isBelow(one.floor, object.name),
    )
    const found = await Promise.all(asked.map(async (one) => ({ one, what: await read(one, object) })))
    const right = found.filter(({ what }) => what === undefined).map(({ one }) => one.store)
    const wrong = found.filter(({ what }) => typeof what === 'string')
    const before = faults.length
    let bytes: Buffer | undefined
    for (const { one, what } of wrong) {
      bytes ??= await anywhere([...right, ...stores], object)
      faults.push({
        place: one.store.place,
        object: object.name,
        range,
        outcome: bytes === undefined ? 'lost' : await mend(one.store, object.name, bytes),
        what: what!,
        entry: number.toString(),
        until,
      })
    }
    const isRight = faults.slice(before).every(({ outcome }) => outcome === 'mended')
    if (isKnown.has(object.name) && isRight && seen.every(({ away }) => away === null))
      intact.push(object.name)
    onProgress?.(++objects)
  }
  const entries = share === 'known' ? entriesNumbered(ledger, known) : entriesOf(ledger, floor, share)
  for await (const entry of entries) {
    signal.throwIfAborted()
    const name = ledger.lineages.nameOf(entry.number)
    await look(
      {
        object: { name, bytes: String(entry.bytes), sha256: entry.hash },
        range: `ledger entry ${entry.number}`,
        until: null,
      },
      entry.number,
    )
    for (const named of namedObjects(entry))
      if (!isBelow(floor, named.object.name)) await look(named, entry.number)
  }
  return {
    stores: seen.map(({ store, objects: count, bytes, away }) => ({
      place: store.place,
      objects: count,
      bytes: String(bytes),
      away,
    })),
    faults,
    intact,
  }
}

async function* entriesNumbered(ledger: Ledger, known: readonly DamagedObject[]): AsyncGenerator<AnyEntry> {
  for (const number of new Set(known.map(({ entry }) => entry)))
    yield await ledger.provenEntry(BigInt(number))
}

/** Everything with its chain; or a share, each entry by its signature, so that a day's work does not grow with the whole. */
async function* entriesOf(
  ledger: Ledger,
  floor: Floor | undefined,
  { part, parts }: Exclude<ScrubShare, 'known'>,
): AsyncGenerator<AnyEntry> {
  if (parts === 1) {
    for await (const { entry } of proveLedger(ledger, floor)) yield entry
    return
  }
  const head = ledger.headNumber
  for (let number = BigInt(part === 0 ? parts : part); number <= head; number += BigInt(parts))
    yield await ledger.provenEntry(number)
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
    return {
      store,
      head: await headOf(store, ledger.headNumber, (number) => ledger.lineages.nameOf(number)),
      floor: await readTrim(store, ledger, stream),
      objects: 0,
      bytes: 0n,
      away: null,
    }
  } catch (error) {
    const { code, message } = asTidemarkError(error)
    return { store, head: 0n, floor: undefined, objects: 0, bytes: 0n, away: `${code}: ${message}` }
  }
}

/** What is wrong: undefined where the object is right, null where the store could not be asked. */
async function read(one: Seen, object: StoredObject): Promise<string | undefined | null> {
  try {
    const digest = await one.store.digest(object.name)
    one.objects++
    one.bytes += BigInt(digest.bytes)
    return isSame(object, digest)
      ? undefined
      : `${object.name} is not what the ledger names: ${digest.bytes} bytes, another hash`
  } catch (error) {
    const { code, message } = asTidemarkError(error)
    if (code === 'STORE_NOT_FOUND') return 'it is gone'
    one.away = `${code}: ${message}`
    return null
  }
}

/** Under its own name, or among what stores know besides. */
async function anywhere(stores: readonly ObjectStore[], object: StoredObject): Promise<Buffer | undefined> {
  for (const store of stores) {
    try {
      const bytes = await store.get(object.name)
      if (faultOf(object, bytes) === undefined) return bytes
      for await (const other of store.alternatives?.(object.name) ?? [])
        if (faultOf(object, other) === undefined) return other
    } catch (error) {
      const known = asTidemarkError(error)
      if (known.code === 'INTERNAL') throw error
      if (known.code === 'STORE_NOT_FOUND') {
        const other = await olderVersion(store, object)
        if (other !== undefined) return other
      }
    }
  }
  return undefined
}

async function olderVersion(store: ObjectStore, object: StoredObject): Promise<Buffer | undefined> {
  try {
    for await (const bytes of store.alternatives?.(object.name) ?? [])
      if (faultOf(object, bytes) === undefined) return bytes
  } catch (error) {
    if (asTidemarkError(error).code === 'INTERNAL') throw error
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

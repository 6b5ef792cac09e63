/** Several stores as one: objects are put into the primary, which decides, and read from wherever they are right. */
import { unlessAborted } from '../core/bounded-queue.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import type { KeptObject, ObjectDigest, ObjectStore, StoreFacts } from '../core/ports/object-store.ts'
import { hashBytes } from '../formats/ledger-entry.ts'
import { ledgerNumber } from '../formats/object-name.ts'
import { type Floor, isBelow } from './floor.ts'
import { READ_AHEAD } from './entry-reader.ts'

export interface CopySetEvents {
  /** An object was read from another store than the first, and why. */
  onFallback?(event: { readonly name: string; readonly place: string; readonly code: string }): void
  /** An object was put back where it was missing or wrong; or could not be. */
  onRepair?(event: { readonly name: string; readonly place: string; readonly code: string | undefined }): void
}

export interface CopySetOptions {
  readonly primary: ObjectStore
  readonly readFirst?: ObjectStore
  readonly copies: readonly ObjectStore[]
  readonly use: 'read' | 'write'
  readonly events?: CopySetEvents
  /** Silent when they were asked last: each of their objects would cost the limit of a request. */
  readonly away: Set<ObjectStore>
  /** Stores that keep less than the whole. */
  readonly floors: ReadonlyMap<ObjectStore, Floor>
  /** Told of an object that the primary has. */
  readonly replicate: (
    name: string,
    pieces: () => Promise<readonly Uint8Array[]>,
    signal: AbortSignal | undefined,
  ) => Promise<void>
  readonly signal?: AbortSignal | undefined
}

/** Made by `Replicas`, which says what of this is for whom. */
export class CopySet implements ObjectStore {
  readonly place: string
  readonly #primary: ObjectStore
  readonly #copies: readonly ObjectStore[]
  readonly #options: CopySetOptions
  readonly #away: Set<ObjectStore>

  constructor(options: CopySetOptions) {
    this.#primary = options.primary
    this.#copies = options.copies
    this.place = options.primary.place
    this.#options = options
    this.#away = options.away
  }

  get #events(): CopySetEvents {
    return this.#options.events ?? {}
  }

  async putIfAbsent(
    name: string,
    chunks: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<'created' | 'exists'> {
    const outcome = await this.#primary.putIfAbsent(name, chunks, signal)
    // What the primary has counts, whoever put it there: a try of ours whose copies failed, or another writer.
    const pieces = async () => (outcome === 'created' ? chunks : [await this.#primary.get(name)])
    await this.#options.replicate(name, pieces, signal)
    return outcome
  }

  async get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const first = this.#firstFor(name)
    if (this.#away.has(first) || this.#away.has(this.#primary)) {
      const bytes = await this.#fromPresent(name, range)
      if (bytes !== undefined) return bytes
    }
    let failed: TidemarkError | undefined
    if (first !== this.#primary) {
      try {
        return await this.#read(first, name, range)
      } catch (error) {
        failed = asTidemarkError(error)
        if (failed.code === 'INTERNAL') throw error
      }
    }
    try {
      const bytes = await this.#read(this.#primary, name, range)
      if (failed !== undefined) this.#events.onFallback?.({ name, place: this.place, code: failed.code })
      return bytes
    } catch (error) {
      const known = asTidemarkError(error)
      // Whether something is missing is the primary's to say: where the ledger ends, and what has to be put back (`alternatives`).
      if (known.code === 'STORE_NOT_FOUND' || (isLedger(name) && this.#options.use === 'write')) throw error
      return this.#fromOthers(name, range, failed ?? known, first, error)
    }
  }

  async #read(
    store: ObjectStore,
    name: string,
    range: { readonly start: number; readonly end: number } | undefined,
  ): Promise<Buffer> {
    const { use, signal } = this.#options
    try {
      const got = store.get(name, range)
      return await (signal === undefined ? got : unlessAborted(got, signal))
    } catch (error) {
      signal?.throwIfAborted()
      if (use === 'read' && asTidemarkError(error).code === 'STORE_UNREACHABLE') this.#away.add(store)
      throw error
    }
  }

  /** From the stores that answer; undefined where none of them has it. */
  async #fromPresent(
    name: string,
    range: { readonly start: number; readonly end: number } | undefined,
  ): Promise<Buffer | undefined> {
    const stores = new Set([this.#firstFor(name), this.#primary, ...this.#copies])
    for (const store of stores) {
      if (this.#away.has(store)) continue
      try {
        const bytes = await this.#read(store, name, range)
        this.#events.onFallback?.({ name, place: store.place, code: 'STORE_UNREACHABLE' })
        return bytes
      } catch (error) {
        this.#options.signal?.throwIfAborted()
        if (asTidemarkError(error).code === 'INTERNAL') throw error
      }
    }
    return undefined
  }

  #firstFor(name: string): ObjectStore {
    return isLedger(name) ? this.#primary : (this.#options.readFirst ?? this.#primary)
  }

  async #fromOthers(
    name: string,
    range: { readonly start: number; readonly end: number } | undefined,
    { code }: TidemarkError,
    asked: ObjectStore,
    failure: unknown,
  ): Promise<Buffer> {
    for (const store of this.#copies) {
      if (store === asked) continue
      try {
        const bytes = await this.#read(store, name, range)
        this.#events.onFallback?.({ name, place: store.place, code })
        return bytes
      } catch (other) {
        this.#options.signal?.throwIfAborted()
        if (asTidemarkError(other).code === 'INTERNAL') throw other
      }
    }
    throw failure
  }

  /** Of what the primary has: whoever finds it wrong gets the object itself, from wherever it is right. */
  digest(name: string): Promise<ObjectDigest> {
    return this.#primary.digest(name)
  }

  async size(name: string): Promise<number | undefined> {
    return this.#primary.size(name)
  }

  list(prefix: string): AsyncIterable<string> {
    return this.#primary.list(prefix)
  }

  async remove(name: string): Promise<void> {
    for (const store of [...this.#copies].reverse()) await store.remove(name)
    await this.#primary.remove(name)
  }

  kept(prefix: string): AsyncIterable<KeptObject> {
    return this.#primary.kept(prefix)
  }

  /** What takes room is each store's own; whoever clears the set does it store by store. */
  purge(object: KeptObject): Promise<'purged' | 'locked'> {
    return this.#primary.purge(object)
  }

  facts(): Promise<StoreFacts> {
    return (
      this.#primary.facts?.() ?? Promise.resolve({ versioning: false, objectLock: false, now: undefined })
    )
  }

  async *alternatives(name: string): AsyncIterable<Buffer> {
    const first = this.#firstFor(name)
    for (const store of [this.#primary, ...this.#copies]) {
      if (store !== first) {
        try {
          yield await store.get(name)
        } catch (error) {
          if (asTidemarkError(error).code === 'INTERNAL') throw error
        }
      }
      if (store.versions === undefined) continue
      try {
        yield* store.versions(name)
      } catch (error) {
        if (asTidemarkError(error).code === 'INTERNAL') throw error
      }
    }
  }

  async *versions(name: string): AsyncIterable<Buffer> {
    yield* this.#primary.versions?.(name) ?? []
  }

  /** In every store of the set that has it otherwise. A store that only reads, or is away, is told of and left as it is. */
  async repair(name: string, bytes: Buffer): Promise<void> {
    for (const store of [this.#primary, ...this.#copies]) {
      try {
        if (isBelow(this.#options.floors.get(store), name) || (await holds(store, name, bytes))) continue
        const put = await putBack(store, name, bytes)
        this.#events.onRepair?.({ name, place: store.place, code: put ? undefined : 'STORE_READ_ONLY' })
      } catch (error) {
        const { code } = asTidemarkError(error)
        if (code === 'INTERNAL') throw error
        this.#events.onRepair?.({ name, place: store.place, code })
      }
    }
  }
}

function isLedger(name: string): boolean {
  return name.startsWith('ledger/')
}

/**
 * Puts an object back where it is missing or wrong; false where it was left as it is. The newest ledger entry is never taken
 * away, not for a moment: a writer that begins then would put another one in its place.
 */
export async function putBack(store: ObjectStore, name: string, bytes: Buffer): Promise<boolean> {
  if ((await store.putIfAbsent(name, [bytes])) === 'created') return true
  const number = ledgerNumber(name)
  if (number !== undefined && !(await hasLater(store, name, number))) return false
  await store.remove(name)
  await store.putIfAbsent(name, [bytes])
  return true
}

/** As a writer looks: some entries ahead, of which some may be missing too. */
async function hasLater(store: ObjectStore, name: string, number: bigint): Promise<boolean> {
  const names = Array.from({ length: READ_AHEAD }, (_, i) =>
    name.replace(/\d+(?=\.json$)/, (number + 1n + BigInt(i)).toString().padStart(16, '0')),
  )
  return (await Promise.all(names.map((later) => store.size(later)))).some((size) => size !== undefined)
}

async function holds(store: ObjectStore, name: string, bytes: Buffer): Promise<boolean> {
  try {
    return (await store.get(name)).equals(bytes)
  } catch (error) {
    if (asTidemarkError(error).code === 'STORE_NOT_FOUND') return false
    throw error
  }
}

/** Into a copy: what is there already must be the same. @throws TidemarkError COPY_DIFFERS, and what the store throws, naming it */
export async function putSame(
  store: ObjectStore,
  name: string,
  chunks: readonly Uint8Array[],
  signal?: AbortSignal,
): Promise<void> {
  try {
    if ((await store.putIfAbsent(name, chunks, signal)) === 'created') return
    const there = await store.digest(name)
    if (there.sha256 === hashBytes(...chunks)) return
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code === 'INTERNAL' || known.code === 'INTERRUPTED') throw error
    throw new TidemarkError(known.code, `the copy ${store.place}: ${known.message}`, { cause: error })
  }
  throw new TidemarkError(
    'COPY_DIFFERS',
    `the copy ${store.place} has another ${name} than the primary store`,
  )
}

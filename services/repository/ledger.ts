/**
 * The ledger in one store: the append-only, hash-chained, signed list of what exists. Reading goes from the first entry,
 * or from one whose signature is trusted (a checkpoint), and proves every link from there; appending is a create-only
 * put of the next number. Entries are not kept: listeners take what they need of each.
 */
import type { Clock } from '../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import {
  decodeEntry,
  encodeEntry,
  type EntryBody,
  type EntryOf,
  type LedgerEntry,
} from '../formats/ledger-entry.ts'
import type { Signer } from '../formats/signed-line.ts'
import { ledgerName } from '../formats/object-name.ts'
import { Attempts } from './attempts.ts'
import type { CatalogEntry } from './catalog-entry.ts'
import { type AnyEntry, EntryReader, isBroken, READ_AHEAD } from './entry-reader.ts'
import { type Garbage, garbageAt } from './garbage.ts'
import { proveGenesis, type TrustedSigners } from './genesis.ts'
import { Lineages, listedForks } from './lineages.ts'
import { Signers } from './signers.ts'

export class Ledger {
  readonly store: ObjectStore
  readonly #clock: Clock
  readonly signers: Signers
  readonly lineages = new Lineages()
  readonly #reader: EntryReader
  /** Filled from another store: read, never appended to. */
  isCopy = false
  /** Where later lineages begin, as the store listed them. */
  #forks: ReadonlyMap<number, bigint> = new Map()
  #headNumber = 0n
  #headHash = ''
  readonly #listeners = new Set<(entry: AnyEntry) => void>()
  readonly #attempts = new Attempts()
  /** What has the number behind the last entry, and is none. */
  garbage: Garbage | undefined
  /** Whoever only reads may stand before a break, and has what lies before it. */
  standsBeforeBreak = false
  /** What is wrong with the entry behind the last one, where that is so: nothing behind it is trusted. */
  broken: TidemarkError | undefined
  /** Refuses what cannot come next by throwing LEDGER_BROKEN. */
  admits: (entry: CatalogEntry) => void = () => undefined
  /** Into the primary, and into every copy that follows it, before the entry counts. */
  putEntry = (name: string, file: Buffer): Promise<'created' | 'exists'> =>
    this.store.putIfAbsent(name, [file])
  /** Appends and refreshes of one process go one after the other. */
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(store: ObjectStore, clock: Clock, trust: TrustedSigners) {
    this.store = store
    this.#clock = clock
    this.signers = new Signers(trust.signers)
    this.#reader = new EntryReader(store, this.signers, this.lineages)
  }

  /**
   * A ledger of which nothing but the genesis entry is known yet: `readEntry` and `startAt`, then `refresh`.
   *
   * @throws TidemarkError STORE_FOREIGN when the store's genesis is not the one that the keys belong to, STORE_NOT_FOUND
   *   when there is no ledger
   */
  static async connect(store: ObjectStore, clock: Clock, trust: TrustedSigners): Promise<Ledger> {
    const ledger = new Ledger(store, clock, trust)
    await proveGenesis(store, await ledger.#reader.file(1n), trust.genesis)
    ledger.#forks = await listedForks(store)
    return ledger
  }

  /** Reads and proves the whole chain; `listener` sees every entry. @throws TidemarkError as `connect` and `refresh` do */
  static async open(
    store: ObjectStore,
    clock: Clock,
    trust: TrustedSigners,
    listener?: (entry: AnyEntry) => void,
  ): Promise<Ledger> {
    const ledger = await Ledger.connect(store, clock, trust)
    if (listener !== undefined) ledger.onEntry(listener)
    await ledger.refresh(READ_AHEAD)
    await ledger.followPromotions()
    return ledger
  }

  get headNumber(): bigint {
    return this.#headNumber
  }

  get headHash(): string {
    return this.#headHash
  }

  /** One entry by its number, proven by its signature alone; undefined where there is none. */
  async readEntry(number: bigint, lineage?: number): Promise<AnyEntry | undefined> {
    const file =
      lineage === undefined
        ? await this.#reader.file(number)
        : await this.#reader.object(ledgerName(lineage, number))
    return file === undefined ? undefined : decodeEntry(file, number, undefined, this.signers)
  }

  /** One entry that has to be there, from whatever place has it right; proven by its signature alone. @throws TidemarkError LEDGER_BROKEN */
  async provenEntry(number: bigint): Promise<AnyEntry> {
    return this.#reader.right(await this.#reader.file(number), number, undefined)
  }

  /** Goes on behind an entry that was read before. */
  startAt(entry: AnyEntry): void {
    this.#headNumber = entry.number
    this.#headHash = entry.hash
  }

  /**
   * Every entry from the first to the head, each link proven anew.
   *
   * @param until the last one that is wanted
   * @throws TidemarkError LEDGER_BROKEN, also where the chain does not lead to the head, or entries stand behind a hole
   */
  walk(until?: bigint): AsyncGenerator<AnyEntry> {
    return until === undefined
      ? this.#reader.whole({ number: this.#headNumber, hash: this.#headHash })
      : this.#reader.chain(until)
  }

  /** Called for every entry as it becomes known, ours and others'. */
  onEntry(listener: (entry: AnyEntry) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Takes in what others appended; in turn with our own appends, so that no entry is taken in twice.
   *
   * @param ahead how many entries are fetched at once
   * @throws TidemarkError LEDGER_BROKEN, LEDGER_UNKNOWN
   */
  refresh(ahead = 1): Promise<void> {
    return this.#inTurn(async () => {
      for (let width = ahead; ; width = READ_AHEAD) {
        const first = this.#headNumber + 1n
        const lineage = this.lineages.current
        const files = await Promise.all(
          Array.from({ length: width }, (_, i) => this.#reader.file(first + BigInt(i))),
        )
        for (const [i, file] of files.entries()) {
          // What was fetched ahead has other names now.
          if (this.lineages.current !== lineage) break
          const number = first + BigInt(i)
          if (await this.#follows(number)) break
          if (file !== undefined) {
            if (!(await this.#acceptRight(file, number))) return
          } else if (files.slice(i + 1).every((later) => later === undefined)) return
          // Written while we asked; or gone, while a later one is there.
          else if (!(await this.#acceptRight(await this.#reader.file(number), number))) return
        }
      }
    })
  }

  /** Whether a number of the lineage of now belongs to the one that was promoted there, which is followed then. */
  async #follows(number: bigint): Promise<boolean> {
    if (this.#forks.get(this.lineages.current + 1) !== number) return false
    try {
      // A way around something that is no entry has to be compared with that.
      return await this.#enter(number, (entry) => entry.body?.kind === 'lineage')
    } catch (error) {
      // No promotion of this ledger: whoever may write the store can put anything there.
      if (!isBroken(error)) throw error
      return false
    }
  }

  /** Into the next lineage, where its first entry has this number. */
  async #enter(number: bigint, isWanted: (entry: AnyEntry) => boolean): Promise<boolean> {
    const name = ledgerName(this.lineages.current + 1, number)
    const file = await this.#reader.object(name)
    if (file === undefined) return false
    const entry = await this.#reader.rightAs(name, file, number, this.#headHash)
    if (!isWanted(entry)) return false
    this.#take(entry, name)
    return true
  }

  /** Whether the entry of a lineage was overtaken by a promotion in this store. */
  isOrphan(lineage: number, number: bigint): boolean {
    const fork = this.#forks.get(lineage + 1)
    return fork !== undefined && number >= fork
  }

  /** Goes on into the lineages that begin directly behind the head, as promotions leave them. */
  async followPromotions(): Promise<void> {
    while (this.broken === undefined) {
      if (!(await this.#inTurn(() => this.#enter(this.#headNumber + 1n, () => true)))) return
      await this.refresh(READ_AHEAD)
    }
  }

  get #shared(): EntryOf<'lineage'>['shared'] {
    return { number: this.#headNumber.toString(), hash: this.#headHash }
  }

  /** The first entry of a lineage. @throws TidemarkError SIGNER_REFUSED */
  #opening(number: bigint, body: EntryBody, signer: Signer): Buffer {
    this.signers.confirm(signer.id, number, body.kind)
    return encodeEntry(number, this.#headHash, new Date(this.#clock.now()).toISOString(), body, signer)
  }

  /** What another store has behind the head of now is orphaned from here on. */
  promote(signer: Signer): Promise<LedgerEntry> {
    return this.#inTurn(async () => {
      const number = this.#headNumber + 1n
      const lineage = this.lineages.current + 1
      const file = this.#opening(number, { kind: 'lineage', lineage, shared: this.#shared }, signer)
      if ((await this.store.putIfAbsent(ledgerName(lineage, number), [file])) === 'exists')
        throw new TidemarkError(
          'WRITER_FENCED',
          `${this.store.place} was promoted by somebody else at the same time`,
        )
      return this.#accept(file, number, ledgerName(lineage, number)) as LedgerEntry
    })
  }

  /** Takes in what was deleted behind the head from a store that keeps versions: it counts. Returns how many entries. */
  recoverDeleted(): Promise<number> {
    return this.#inTurn(async () => {
      for (let count = 0; ; count++) {
        if (this.broken !== undefined) return count
        const entry = await this.#reader.deleted(this.#headNumber + 1n, this.#headHash)
        if (entry === undefined) return count
        this.#take(entry, this.lineages.nameOf(entry.number))
      }
    })
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(action, action)
    this.#tail = run.catch(() => undefined)
    return run
  }

  /**
   * Appends one entry. Losing the race for a number reads the winner and tries the next one; `guard` is asked before
   * every try and may throw (WRITER_FENCED when the winner took our lane).
   */
  append(body: EntryBody, signer: Signer, guard: () => void = () => {}): Promise<LedgerEntry> {
    return this.#inTurn(() => this.#append(body, signer, guard))
  }

  async #append(body: EntryBody, signer: Signer, guard: () => void): Promise<LedgerEntry> {
    if (this.isCopy) throw new TidemarkError('STORE_IS_COPY', `${this.store.place} is a copy`)
    if (this.broken !== undefined) throw this.broken
    for (;;) {
      const landed = this.#attempts.landed(body)
      if (landed !== undefined) {
        // Read from the primary by a refresh, perhaps: it is answered once every synchronous copy has it too.
        await this.putEntry(this.lineages.nameOf(landed.entry.number), landed.file)
        this.#attempts.forget(body)
        return landed.entry
      }
      guard()
      if (this.garbage !== undefined) {
        await this.#goAround(this.garbage, signer)
        // The way around is an entry too, and others may have appended behind it.
        guard()
      }
      const number = this.#headNumber + 1n
      const writtenAt = new Date(this.#clock.now()).toISOString()
      this.#refuse(number, writtenAt, body, signer)
      const file = this.#attempts.file(body, () =>
        encodeEntry(number, this.#headHash, writtenAt, body, signer),
      )
      if (await this.#put(this.lineages.nameOf(number), file)) {
        const entry = this.#accept(file, number) as LedgerEntry
        this.#attempts.forget(body)
        return entry
      }
      const winner = await this.#reader.file(number)
      if (winner === undefined)
        throw new TidemarkError('STORE_UNREACHABLE', `ledger entry ${number} exists and cannot be read`)
      await this.#acceptRight(winner, number)
    }
  }

  /** False where the name is taken. */
  async #put(name: string, file: Buffer): Promise<boolean> {
    try {
      return (await this.putEntry(name, file)) === 'created'
    } catch (error) {
      // A synchronous copy could not follow what has it, or knows of a detour that we do not: we look ourselves.
      if (isBroken(error) || (error instanceof TidemarkError && error.code === 'STORE_SUPERSEDED'))
        return false
      throw error
    }
  }

  /** Before anything is put: what nobody could read past, and what this signer may not say. */
  #refuse(number: bigint, writtenAt: string, body: EntryBody, signer: Signer): void {
    this.signers.confirm(signer.id, number, body.kind)
    try {
      if (body.kind === 'signers') this.signers.admit(number, body)
      this.admits({ number, writtenAt, body, signer: signer.id })
    } catch (error) {
      if (!isBroken(error)) throw error
      throw new TidemarkError('LEDGER_OVERTAKEN', `not written: ${error.message}`, { cause: error })
    }
  }

  /** False where there is no entry that could be taken in: the ledger ends before it. */
  async #acceptRight(file: Buffer | undefined, number: bigint): Promise<boolean> {
    try {
      return await this.#acceptEntry(file, number)
    } catch (error) {
      if (!this.standsBeforeBreak || !isBroken(error)) throw error
      this.broken = error
      return false
    }
  }

  async #acceptEntry(file: Buffer | undefined, number: bigint): Promise<boolean> {
    const name = this.lineages.nameOf(number)
    let entry: AnyEntry
    try {
      entry = await this.#reader.right(file, number, number === 1n ? null : this.#headHash)
    } catch (error) {
      if (!isBroken(error) || file === undefined || number === 1n) throw error
      const garbage = await garbageAt(this, this.#reader, number, file)
      if (garbage === undefined) throw error
      return this.#around(garbage)
    }
    this.#take(entry, name)
    return true
  }

  /** Into the lineage that was opened for a number that garbage has; false where nobody has opened it yet. */
  async #around(garbage: Garbage): Promise<boolean> {
    const { number, hash } = garbage
    const name = ledgerName(this.lineages.current + 1, number)
    const file = await this.#reader.object(name)
    if (file === undefined) {
      this.garbage = garbage
      return false
    }
    const entry = await this.#reader.rightAs(name, file, number, this.#headHash)
    if (entry.body?.kind === 'detour' && entry.body.garbage !== hash)
      throw new TidemarkError('LEDGER_BROKEN', `${name} passes over something else than lies there`)
    this.#take(entry, name)
    return true
  }

  /** Opens that lineage: create-only, so that of several writers one has done it for all. */
  async #goAround({ number, hash }: Garbage, signer: Signer): Promise<void> {
    const lineage = this.lineages.current + 1
    const body: EntryBody = { kind: 'detour', lineage, shared: this.#shared, garbage: hash }
    const file = this.#opening(number, body, signer)
    const put = this.putEntry(ledgerName(lineage, number), file)
    const failure = await put.then(() => undefined, asTidemarkError)
    // Another writer may have been faster, and a copy may know that already; what the copies lack comes with the next entry.
    if (await this.#around({ number, hash })) return
    throw failure ?? new TidemarkError('STORE_UNREACHABLE', `${ledgerName(lineage, number)} cannot be read`)
  }

  #accept(file: Buffer, number: bigint, name = this.lineages.nameOf(number)): AnyEntry {
    return this.#take(decodeEntry(file, number, number === 1n ? null : this.#headHash, this.signers), name)
  }

  /** @param name of the object that was read */
  #take(entry: AnyEntry, name: string): AnyEntry {
    const { body } = entry
    // A lineage begins under a name of its own and nowhere else.
    const opens = body?.kind === 'lineage' || body?.kind === 'detour' ? body : undefined
    if (
      opens === undefined
        ? name !== this.lineages.nameOf(entry.number)
        : name !== ledgerName(opens.lineage, entry.number)
    )
      throw new TidemarkError(
        'LEDGER_BROKEN',
        opens === undefined
          ? `${name} does not open a lineage`
          : `ledger entry ${entry.number} opens a lineage where none can begin`,
      )
    if (entry.number > 1n && entry.body?.kind === 'genesis')
      throw new TidemarkError('LEDGER_BROKEN', `ledger entry ${entry.number} is a second genesis`)
    if (entry.body?.kind === 'signers') this.signers.admit(entry.number, entry.body)
    // Whoever is told that an entry cannot be read past stands before it, and is told again.
    this.admits(entry)
    if (opens !== undefined) this.lineages.learn(entry.number, opens)
    this.garbage = undefined
    this.#attempts.settle(entry)
    this.startAt(entry)
    if (entry.body?.kind === 'signers') this.signers.learn(entry.number, entry.body)
    for (const listener of this.#listeners) listener(entry)
    return entry
  }
}

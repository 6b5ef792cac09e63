/**
 * The ledger in one store: the append-only, hash-chained, signed list of what exists. Reading goes from the first entry,
 * or from one whose signature is trusted (a checkpoint), and proves every link from there; appending is a create-only
 * put of the next number. Entries are not kept: listeners take what they need of each.
 */
import type { Clock } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import {
  decodeEntry,
  encodeEntry,
  type EntryBody,
  hashBytes,
  type LedgerEntry,
  type Signer,
} from '../formats/ledger-entry.ts'
import { ledgerName, ledgerPrefix } from '../formats/object-name.ts'
import { Attempts } from './attempts.ts'
import type { CatalogEntry } from './catalog.ts'
import { type AnyEntry, EntryReader, READ_AHEAD } from './entry-reader.ts'
import { Lineages } from './lineages.ts'
import { Signers, type TrustedSigner } from './signers.ts'

export interface TrustedSigners {
  readonly stream: string
  readonly genesis: string
  readonly signers: readonly TrustedSigner[]
}

export class Ledger {
  readonly store: ObjectStore
  readonly #clock: Clock
  readonly signers: Signers
  readonly lineages = new Lineages()
  readonly #reader: EntryReader
  /** Filled from another store: read, never appended to. */
  isCopy = false
  #headNumber = 0n
  #headHash = ''
  readonly #listeners = new Set<(entry: AnyEntry) => void>()
  readonly #attempts = new Attempts()
  /** What the ledger may say next; refuses by throwing LEDGER_BROKEN. */
  admits: (entry: CatalogEntry) => void = () => undefined
  /** Appends and refreshes of one process go one after the other. */
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(store: ObjectStore, clock: Clock, trust: TrustedSigners) {
    this.store = store
    this.#clock = clock
    this.signers = new Signers(trust.signers)
    this.#reader = new EntryReader(store, this.signers, this.lineages)
  }

  /** Writes the genesis entry into an empty store; returns its hash, which the keys folder keeps. */
  static async create(
    store: ObjectStore,
    clock: Clock,
    body: EntryBody & { kind: 'genesis' },
    signer: Signer,
  ): Promise<string> {
    for await (const name of store.list(''))
      throw new TidemarkError('STORE_NOT_EMPTY', `the store already holds ${name}`)
    const file = encodeEntry(1n, null, new Date(clock.now()).toISOString(), body, signer)
    if ((await store.putIfAbsent(ledgerName(1, 1n), [file])) === 'exists')
      throw new TidemarkError('STORE_NOT_EMPTY', 'another init was faster')
    return hashBytes(file)
  }

  /**
   * A ledger of which nothing but the genesis entry is known yet: `readEntry` and `startAt`, then `refresh`.
   *
   * @throws TidemarkError STORE_FOREIGN when the store's genesis is not the one that the keys belong to, STORE_NOT_FOUND
   *   when there is no ledger
   */
  static async connect(store: ObjectStore, clock: Clock, trust: TrustedSigners): Promise<Ledger> {
    const ledger = new Ledger(store, clock, trust)
    const genesis = await ledger.#reader.file(1n)
    if (genesis === undefined) {
      for await (const name of store.list(ledgerPrefix(1)))
        throw new TidemarkError('LEDGER_BROKEN', `ledger entry 1 is missing, while ${name} exists`)
      throw new TidemarkError('STORE_NOT_FOUND', `there is no ledger in ${store.place}`, {
        next: 'check --store; a new backup starts with: tidemark init',
      })
    }
    if (hashBytes(genesis) !== trust.genesis)
      throw new TidemarkError(
        'STORE_FOREIGN',
        `the ledger in ${store.place} does not begin with the genesis entry of these keys`,
      )
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
  async *walk(until?: bigint): AsyncGenerator<AnyEntry> {
    const head = { number: until ?? this.#headNumber, hash: until === undefined ? this.#headHash : undefined }
    let last: AnyEntry | undefined
    for await (const entry of this.#reader.chain(head.number)) {
      last = entry
      yield entry
    }
    if (head.hash === undefined) return
    if (last?.hash !== head.hash)
      throw new TidemarkError(
        'LEDGER_BROKEN',
        `the chain from the first entry does not lead to entry ${head.number} as it was read`,
      )
    const listed = await this.#reader.listed()
    if (listed > head.number && (await this.#reader.file(head.number + 1n)) === undefined)
      throw new TidemarkError(
        'LEDGER_BROKEN',
        `ledger entry ${head.number + 1n} is missing, while entry ${listed} exists`,
      )
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
        const files = await Promise.all(
          Array.from({ length: width }, (_, i) => this.#reader.file(first + BigInt(i))),
        )
        for (const [i, file] of files.entries()) {
          const number = first + BigInt(i)
          if (file !== undefined) await this.#acceptRight(file, number)
          else if (files.slice(i + 1).every((later) => later === undefined)) return
          // Written while we asked; or gone, while a later one is there.
          else await this.#acceptRight(await this.#reader.file(number), number)
        }
      }
    })
  }

  /** Goes on into the lineages that begin directly behind the head, as promotions leave them. */
  async followPromotions(): Promise<void> {
    for (;;) {
      const name = ledgerName(this.lineages.current + 1, this.#headNumber + 1n)
      const file = await this.#reader.object(name)
      if (file === undefined) return
      await this.#inTurn(async () => {
        const entry = await this.#reader.rightAs(name, file, this.#headNumber + 1n, this.#headHash)
        if (entry.body?.kind !== 'lineage')
          throw new TidemarkError('LEDGER_BROKEN', `${name} does not open a lineage`)
        this.#take(entry)
      })
      await this.refresh(READ_AHEAD)
    }
  }

  /** What another store has behind the head of now is orphaned from here on. */
  promote(signer: Signer): Promise<LedgerEntry> {
    return this.#inTurn(async () => {
      const number = this.#headNumber + 1n
      const lineage = this.lineages.current + 1
      const body: EntryBody = {
        kind: 'lineage',
        lineage,
        shared: { number: this.#headNumber.toString(), hash: this.#headHash },
      }
      const refusal = this.signers.refusal(signer.id, number, body.kind)
      if (refusal !== undefined) throw new TidemarkError('SIGNER_REFUSED', `${signer.id} ${refusal}`)
      const file = encodeEntry(
        number,
        this.#headHash,
        new Date(this.#clock.now()).toISOString(),
        body,
        signer,
      )
      if ((await this.store.putIfAbsent(ledgerName(lineage, number), [file])) === 'exists')
        throw new TidemarkError(
          'WRITER_FENCED',
          `${this.store.place} was promoted by somebody else at the same time`,
        )
      return this.#accept(file, number) as LedgerEntry
    })
  }

  /**
   * Entries behind the head that were deleted from a store which keeps versions: whoever deletes them cuts off the newest of
   * the backup. They are signed and chained as ever, and count. Returns how many there were.
   */
  recoverDeleted(): Promise<number> {
    return this.#inTurn(async () => {
      for (let count = 0; ; count++) {
        const entry = await this.#deleted(this.#headNumber + 1n)
        if (entry === undefined) return count
        this.#take(entry)
      }
    })
  }

  async #deleted(number: bigint): Promise<AnyEntry | undefined> {
    const name = this.lineages.nameOf(number)
    for await (const file of this.store.versions?.(name) ?? []) {
      try {
        const entry = decodeEntry(file, number, this.#headHash, this.signers)
        await this.store.repair?.(name, file)
        return entry
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== 'LEDGER_BROKEN') throw error
      }
    }
    return undefined
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
    for (;;) {
      const landed = this.#attempts.landed(body)
      if (landed !== undefined) {
        // Read from the primary by a refresh, perhaps: it is answered once every synchronous copy has it too.
        await this.store.putIfAbsent(this.lineages.nameOf(landed.entry.number), [landed.file])
        this.#attempts.forget(body)
        return landed.entry
      }
      guard()
      const number = this.#headNumber + 1n
      const writtenAt = new Date(this.#clock.now()).toISOString()
      this.#refuse(number, writtenAt, body, signer)
      const file = this.#attempts.file(body, () =>
        encodeEntry(number, this.#headHash, writtenAt, body, signer),
      )
      if ((await this.store.putIfAbsent(this.lineages.nameOf(number), [file])) === 'created') {
        const entry = this.#accept(file, number) as LedgerEntry
        this.#attempts.forget(body)
        return entry
      }
      const winner = await this.#reader.file(number)
      if (winner === undefined)
        throw new TidemarkError('STORE_UNREACHABLE', `ledger entry ${number} exists and cannot be read`)
      this.#accept(winner, number)
    }
  }

  /** Before anything is put: what nobody could read past, and what this signer may not say. */
  #refuse(number: bigint, writtenAt: string, body: EntryBody, signer: Signer): void {
    const refusal = this.signers.refusal(signer.id, number, body.kind)
    if (refusal !== undefined) throw new TidemarkError('SIGNER_REFUSED', `${signer.id} ${refusal}`)
    try {
      if (body.kind === 'signers') this.signers.admit(number, body)
      this.admits({ number, writtenAt, body, signer: signer.id })
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'LEDGER_BROKEN') throw error
      throw new TidemarkError('LEDGER_OVERTAKEN', `not written: ${error.message}`, { cause: error })
    }
  }

  async #acceptRight(file: Buffer | undefined, number: bigint): Promise<void> {
    this.#take(await this.#reader.right(file, number, number === 1n ? null : this.#headHash))
  }

  #accept(file: Buffer, number: bigint): AnyEntry {
    return this.#take(decodeEntry(file, number, number === 1n ? null : this.#headHash, this.signers))
  }

  #take(entry: AnyEntry): AnyEntry {
    if (entry.number > 1n && entry.body?.kind === 'genesis')
      throw new TidemarkError('LEDGER_BROKEN', `ledger entry ${entry.number} is a second genesis`)
    if (entry.body?.kind === 'signers') this.signers.admit(entry.number, entry.body)
    // Whoever is told that an entry cannot be read past stands before it, and is told again.
    this.admits(entry)
    if (entry.body?.kind === 'lineage') this.lineages.learn(entry.number, entry.body)
    this.#attempts.settle(entry)
    this.startAt(entry)
    if (entry.body?.kind === 'signers') this.signers.learn(entry.number, entry.body)
    for (const listener of this.#listeners) listener(entry)
    return entry
  }
}

/**
 * The ledger in one store: the append-only, hash-chained, signed list of what exists. Opening walks it from the first
 * entry and proves every link; appending is a create-only put of the next number.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { decodeEntry, encodeEntry, type EntryBody, hashBytes, type IgnoredEntry, type LedgerEntry, type Signer } from '../formats/ledger-entry.ts'
import { ledgerName, ledgerNumber, ledgerPrefix } from '../formats/object-name.ts'

const LINEAGE = 1
const READ_AHEAD = 16

export interface TrustedSigners {
  readonly stream: string
  readonly genesis: string
  readonly signers: readonly { readonly id: string; readonly publicKey: string }[]
}

export type AnyEntry = LedgerEntry | IgnoredEntry

export class Ledger {
  readonly store: ObjectStore
  readonly #clock: Clock
  readonly #signers: ReadonlyMap<string, KeyObject>
  readonly #entries: AnyEntry[] = []
  readonly #listeners = new Set<(entry: AnyEntry) => void>()
  /** The last try whose answer may be lost: the same body goes out again as the same bytes (hazard 85). */
  #attempt: { readonly number: bigint; readonly body: EntryBody; readonly file: Buffer } | undefined
  /** Appends and refreshes of one process go one after the other. */
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(store: ObjectStore, clock: Clock, trust: TrustedSigners) {
    this.store = store
    this.#clock = clock
    this.#signers = new Map(trust.signers.map((signer) => [signer.id, createPublicKey(signer.publicKey)]))
  }

  /** Writes the genesis entry into an empty store; returns its hash, which the keys folder keeps. */
  static async create(store: ObjectStore, clock: Clock, body: EntryBody & { kind: 'genesis' }, signer: Signer): Promise<string> {
    for await (const name of store.list('')) throw new TidemarkError('STORE_NOT_EMPTY', `the store already holds ${name}`)
    const file = encodeEntry(1n, null, new Date(clock.now()).toISOString(), body, signer)
    if ((await store.putIfAbsent(ledgerName(LINEAGE, 1n), [file])) === 'exists') throw new TidemarkError('STORE_NOT_EMPTY', 'another init was faster')
    return hashBytes(file)
  }

  /**
   * Reads and proves the whole chain.
   *
   * @throws TidemarkError STORE_FOREIGN when the store's genesis is not the one that the keys belong to, LEDGER_BROKEN,
   *   LEDGER_UNKNOWN, STORE_NOT_FOUND when there is no ledger
   */
  static async open(store: ObjectStore, clock: Clock, trust: TrustedSigners): Promise<Ledger> {
    const ledger = new Ledger(store, clock, trust)
    let listed = 0n
    for await (const name of store.list(ledgerPrefix(LINEAGE))) {
      const number = ledgerNumber(name)
      if (number !== undefined && number > listed) listed = number
    }
    if (listed === 0n) throw new TidemarkError('STORE_NOT_FOUND', `there is no ledger in ${store.place}`, { next: 'check --store; a new backup starts with: tidemark init' })
    for (let next = 1n; next <= listed; next += BigInt(READ_AHEAD)) {
      const files = await Promise.all(
        Array.from({ length: READ_AHEAD }, (_, i) => next + BigInt(i))
          .filter((number) => number <= listed)
          .map((number) => ledger.#file(number).then((file) => ({ number, file }))),
      )
      for (const { number, file } of files) {
        if (file === undefined) throw new TidemarkError('LEDGER_BROKEN', `ledger entry ${number} is missing, while entry ${listed} exists`)
        ledger.#accept(file, number, number === 1n ? trust : undefined)
      }
    }
    // The listing may be stale: what counts is the next number itself (hazard 89).
    await ledger.refresh()
    return ledger
  }

  get entries(): readonly AnyEntry[] {
    return this.#entries
  }

  get headNumber(): bigint {
    return BigInt(this.#entries.length)
  }

  get headHash(): string {
    return this.#entries.at(-1)?.hash ?? ''
  }

  /** Called for every entry as it becomes known, ours and others'. */
  onEntry(listener: (entry: AnyEntry) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes in what others appended; in turn with our own appends, so that no entry is taken in twice. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      for (;;) {
        const number = this.headNumber + 1n
        const file = await this.#file(number)
        if (file === undefined) return
        this.#accept(file, number)
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
    for (;;) {
      guard()
      const number = this.headNumber + 1n
      const again = this.#attempt?.number === number && this.#attempt.body === body ? this.#attempt.file : undefined
      const file = again ?? encodeEntry(number, this.headHash, new Date(this.#clock.now()).toISOString(), body, signer)
      this.#attempt = { number, body, file }
      const result = await this.store.putIfAbsent(ledgerName(LINEAGE, number), [file])
      if (result === 'created') return this.#accept(file, number) as LedgerEntry
      const winner = await this.#file(number)
      if (winner === undefined) throw new TidemarkError('STORE_UNREACHABLE', `ledger entry ${number} exists and cannot be read`)
      const accepted = this.#accept(winner, number)
      // Our own, stored by a try whose answer was lost (hazard 85).
      if (winner.equals(file)) return accepted as LedgerEntry
    }
  }

  async #file(number: bigint): Promise<Buffer | undefined> {
    try {
      return await this.store.get(ledgerName(LINEAGE, number))
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'STORE_NOT_FOUND') return undefined
      throw error
    }
  }

  #accept(file: Buffer, number: bigint, trust?: TrustedSigners): AnyEntry {
    if (trust !== undefined && hashBytes(file) !== trust.genesis) {
      throw new TidemarkError('STORE_FOREIGN', `the ledger in ${this.store.place} does not begin with the genesis entry of these keys`)
    }
    const entry = decodeEntry(file, number, number === 1n ? null : this.headHash, this.#signers)
    if (number > 1n && entry.body?.kind === 'genesis') throw new TidemarkError('LEDGER_BROKEN', `ledger entry ${number} is a second genesis`)
    this.#entries.push(entry)
    for (const listener of this.#listeners) listener(entry)
    return entry
  }
}

/** Reads ledger entries by their numbers and proves them; what is wrong in one place is taken from whatever other place has it right. */
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { decodeEntry, type IgnoredEntry, type LedgerEntry } from '../formats/ledger-entry.ts'
import type { SignerKeys } from '../formats/signed-line.ts'
import { ledgerNumber, ledgerPrefix } from '../formats/object-name.ts'
import type { Lineages } from './lineages.ts'

/** Entries that are fetched at once. */
export const READ_AHEAD = 16

export type AnyEntry = LedgerEntry | IgnoredEntry

export class EntryReader {
  readonly #store: ObjectStore
  readonly #signers: SignerKeys
  readonly #lineages: Lineages

  constructor(store: ObjectStore, signers: SignerKeys, lineages: Lineages) {
    this.#store = store
    this.#signers = signers
    this.#lineages = lineages
  }

  file(number: bigint): Promise<Buffer | undefined> {
    return this.object(this.#lineages.nameOf(number))
  }

  async object(name: string): Promise<Buffer | undefined> {
    try {
      return await this.#store.get(name)
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'STORE_NOT_FOUND') return undefined
      throw error
    }
  }

  /**
   * The entry of a number, from whatever place has it right.
   *
   * @param previous hash of the entry before; null for the first, undefined where the signature alone is to be proven
   * @throws TidemarkError LEDGER_BROKEN, LEDGER_UNKNOWN
   */
  right(file: Buffer | undefined, number: bigint, previous: string | null | undefined): Promise<AnyEntry> {
    return this.rightAs(this.#lineages.nameOf(number), file, number, previous)
  }

  async rightAs(
    name: string,
    file: Buffer | undefined,
    number: bigint,
    previous: string | null | undefined,
  ): Promise<AnyEntry> {
    let fault: unknown = new TidemarkError(
      'LEDGER_BROKEN',
      `ledger entry ${number} is missing, while later ones exist`,
    )
    if (file !== undefined) {
      try {
        return decodeEntry(file, number, previous, this.#signers)
      } catch (error) {
        fault = error
      }
    }
    if (this.#store.alternatives !== undefined) {
      for await (const other of this.#store.alternatives(name)) {
        try {
          const entry = decodeEntry(other, number, previous, this.#signers)
          await this.#store.repair?.(name, other)
          return entry
        } catch (error) {
          if (!isBroken(error)) throw error
        }
      }
    }
    throw fault
  }

  /** One that was deleted from a store that keeps versions, and is put back. */
  async deleted(number: bigint, previous: string): Promise<AnyEntry | undefined> {
    const name = this.#lineages.nameOf(number)
    for await (const file of this.#store.versions?.(name) ?? []) {
      try {
        const entry = decodeEntry(file, number, previous, this.#signers)
        await this.#store.repair?.(name, file)
        return entry
      } catch (error) {
        if (!isBroken(error)) throw error
      }
    }
    return undefined
  }

  /** From the first entry to one, each proven to follow the one before; the next ones are on their way meanwhile. */
  async *chain(until: bigint): AsyncGenerator<AnyEntry> {
    const numbersFrom = (first: bigint): bigint[] =>
      Array.from({ length: READ_AHEAD }, (_, i) => first + BigInt(i)).filter((number) => number <= until)
    const fetch = (numbers: readonly bigint[]): Promise<(Buffer | undefined)[]> => {
      const files = Promise.all(numbers.map((number) => this.file(number)))
      // Whoever stops in the middle does not wait for what was fetched ahead.
      files.catch(() => undefined)
      return files
    }
    let previous: string | null = null
    let ahead = fetch(numbersFrom(1n))
    for (let first = 1n; first <= until; first += BigInt(READ_AHEAD)) {
      const files = await ahead
      ahead = fetch(numbersFrom(first + BigInt(READ_AHEAD)))
      for (const [i, number] of numbersFrom(first).entries()) {
        const entry: AnyEntry = await this.right(files[i], number, previous)
        previous = entry.hash
        yield entry
      }
    }
  }

  /** Every entry up to the head, which has to be the one that was read, and the last of all. */
  async *whole(head: { readonly number: bigint; readonly hash: string }): AsyncGenerator<AnyEntry> {
    let last: AnyEntry | undefined
    for await (const entry of this.chain(head.number)) {
      last = entry
      yield entry
    }
    if (last?.hash !== head.hash)
      throw new TidemarkError(
        'LEDGER_BROKEN',
        `the chain from the first entry does not lead to entry ${head.number} as it was read`,
      )
    const listed = await this.listed()
    if (listed > head.number && (await this.file(head.number + 1n)) === undefined)
      throw new TidemarkError(
        'LEDGER_BROKEN',
        `ledger entry ${head.number + 1n} is missing, while entry ${listed} exists`,
      )
  }

  /** The greatest number that the store lists; it may miss the newest. */
  async listed(): Promise<bigint> {
    let listed = 0n
    for await (const name of this.#store.list(ledgerPrefix(this.#lineages.current))) {
      const number = ledgerNumber(name)
      if (number !== undefined && number > listed) listed = number
    }
    return listed
  }
}

/** Whether an entry, or the chain of them, is not what was signed. */
export function isBroken(error: unknown): error is TidemarkError {
  return error instanceof TidemarkError && error.code === 'LEDGER_BROKEN'
}

/**
 * Tries to append whose answers may be lost (hazard 85): each body goes out again as the same bytes, and the ledger itself tells which of
 * them has landed, whoever reads it first: a refresh, or the append of something else.
 */
import type { EntryBody, LedgerEntry } from '../formats/ledger-entry.ts'
import { hashBytes } from '../formats/ledger-entry.ts'
import type { AnyEntry } from './entry-reader.ts'

export interface Landed {
  readonly entry: LedgerEntry
  readonly file: Buffer
}

/** Bodies that nobody tries any more are forgotten, the oldest first. */
const REMEMBERED = 1000

export class Attempts {
  /** For the number behind the head: what was put, or may have been. */
  readonly #pending = new Map<EntryBody, { readonly file: Buffer; readonly hash: string }>()
  readonly #landed = new WeakMap<EntryBody, Landed>()

  /** The bytes to put for a body behind the head of now. */
  file(body: EntryBody, encode: () => Buffer): Buffer {
    const held = this.#pending.get(body)
    const file = held?.file ?? encode()
    this.#pending.delete(body)
    this.#pending.set(body, { file, hash: held?.hash ?? hashBytes(file) })
    const [oldest] = this.#pending.keys()
    if (this.#pending.size > REMEMBERED && oldest !== undefined) this.#pending.delete(oldest)
    return file
  }

  /** An entry is taken in: what was tried for its number is this one, or never will be. */
  settle(entry: AnyEntry): void {
    for (const [body, { file, hash }] of this.#pending)
      if (hash === entry.hash && entry.body !== undefined)
        this.#landed.set(body, { entry: { ...entry, body: entry.body }, file })
    this.#pending.clear()
  }

  /** What became of a body whose answer was lost, where it is in the ledger. */
  landed(body: EntryBody): Landed | undefined {
    return this.#landed.get(body)
  }

  /** It was answered: the same body once more is another entry. */
  forget(body: EntryBody): void {
    this.#landed.delete(body)
  }
}

/** A position that only grows, and those who want to hear of it. */
import { compareLsn, LSN_ZERO, type Lsn } from './position.ts'

export class GrowingMark {
  #at: Lsn = LSN_ZERO
  readonly #listeners = new Set<(at: Lsn) => void>()

  get at(): Lsn {
    return this.#at
  }

  /** What lies behind is passed over. */
  advance(to: Lsn): void {
    if (compareLsn(to, this.#at) <= 0) return
    this.#at = to
    for (const listener of this.#listeners) listener(to)
  }

  /** Returns what ends the listening. */
  on(listener: (at: Lsn) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** A position that only grows, and those who want to hear of it. */
import { comparePositions, ORIGIN, type Position } from './position.ts'

export class GrowingMark {
  #at: Position = ORIGIN
  readonly #listeners = new Set<(at: Position) => void>()

  get at(): Position {
    return this.#at
  }

  /** What lies behind is passed over. */
  advance(to: Position): void {
    if (comparePositions(to, this.#at) <= 0) return
    this.#at = to
    for (const listener of this.#listeners) listener(to)
  }

  /** Returns what ends the listening. */
  on(listener: (at: Position) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/**
 * Up to which time of the source everything is known: a commit is stamped before its record is written, so what was stamped
 * well before the clock was read lies below the position that was read behind it.
 */
import { comparePositions, type Position } from '../core/position.ts'
import type { SourceMoment } from '../core/ports/source.ts'
import { formatInstant } from '../formats/temporal.ts'

/** Between a commit's stamp and its record; microseconds in practice. */
const STAMP_MICROS = 1_000_000n
/** The oldest are reached first, so newer ones can wait. */
const MOST_AHEAD = 32

export class SourceMoments {
  #reached: bigint | undefined
  readonly #ahead: SourceMoment[] = []

  see(moment: SourceMoment): void {
    if (this.#ahead.length < MOST_AHEAD) this.#ahead.push(moment)
  }

  /** The stream has brought everything below `end`. */
  reach(end: Position): void {
    while (this.#ahead[0] !== undefined && comparePositions(this.#ahead[0].at, end) <= 0)
      this.#reached = this.#ahead.shift()!.time - STAMP_MICROS
  }

  /** Instant: every commit that was stamped up to then has come. Undefined while none is known. */
  get asOf(): string | undefined {
    return this.#reached === undefined ? undefined : formatInstant(this.#reached)
  }
}

/**
 * A sink that large values go past: they are referred to where they lie, and come out in pieces between what was written.
 * The pieces are copies, each made when it is asked for: once they are all out, nobody needs the value any more.
 */
import { ByteSink } from './byte-sink.ts'

/** Values from this size on are referred to. */
export const LARGE_VALUE = 4 * 1024 * 1024
const STEP_BYTES = 1024 * 1024

export class PieceSink extends ByteSink {
  #pieces: Iterable<Buffer>[] = []
  #mark = 0

  get hasLarge(): boolean {
    return this.#pieces.length > 0
  }

  /** Puts pieces behind what was written. */
  refer(pieces: Iterable<Buffer>): void {
    this.#pieces.push([this.buffer.subarray(this.#mark, this.at)], pieces)
    this.#mark = this.at
  }

  /** All of it in its order. What was written stays valid until the sink is written to again. */
  *pieces(): Generator<Buffer> {
    const pieces = this.#pieces
    this.#pieces = []
    for (const some of pieces) for (const piece of some) if (piece.length > 0) yield piece
    const rest = this.buffer.subarray(this.#mark, this.at)
    if (rest.length > 0) yield rest
  }

  /** Begins anew. */
  clear(): void {
    this.#pieces = []
    this.#mark = 0
    this.at = 0
  }
}

/** The bytes at [start, end) in steps of bounded size, which are views. */
export function* inSteps(buffer: Buffer, start: number, end: number): Generator<Buffer> {
  for (let at = start; at < end; at += STEP_BYTES) yield buffer.subarray(at, Math.min(end, at + STEP_BYTES))
}

/** And as copies. */
export function* copiedInSteps(buffer: Buffer, start: number, end: number): Generator<Buffer> {
  for (const step of inSteps(buffer, start, end)) yield Buffer.from(step)
}

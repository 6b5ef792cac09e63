/** A message that comes in many chunks: put together where it will lie, or only counted where it is too large to be taken. */
/** Messages from this size on are put together as they come, into a buffer of their length. */
export const LARGE_MESSAGE = 1024 * 1024
/** What is kept of one that is not taken: enough to see what it was. */
const HEAD_BYTES = 64

export class LargeMessage {
  /** Its bytes so far, or the first of them. */
  readonly bytes: Buffer
  /** Type and length word included. */
  readonly length: number
  #seen = 0

  constructor(length: number, isTaken: boolean) {
    this.length = length
    this.bytes = Buffer.allocUnsafeSlow(isTaken ? length : HEAD_BYTES)
  }

  get isWhole(): boolean {
    return this.#seen === this.length
  }

  get isTaken(): boolean {
    return this.bytes.length === this.length
  }

  /** Takes what is its own of the chunk; returns how much that was. */
  take(chunk: Buffer): number {
    const own = Math.min(this.length - this.#seen, chunk.length)
    if (this.#seen < this.bytes.length) chunk.copy(this.bytes, this.#seen, 0, own)
    this.#seen += own
    return own
  }
}

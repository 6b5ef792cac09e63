/**
 * Large buffers and when they go: the collector gives them back when it comes by, and by then the next stage has made its
 * own. Who owns one gives it back itself, so that a stage and the one before it are never joined by a third.
 */

/** Below this a buffer is left to the collector. */
export const LARGE_BYTES = 16 * 1024 * 1024

/**
 * Gives back the memory of a large buffer that has it to itself. Only its one owner may: a view of it that somebody
 * still held would read as empty, and nothing may be reading or writing it in another thread.
 */
export function release(buffer: Buffer): void {
  if (buffer.byteLength >= LARGE_BYTES) releaseAll([buffer])
}

/** Small buffers share their memory with strangers. */
const SHARED_BYTES = 256 * 1024

/** The same for buffers that are large together; several may be views of one piece of memory. */
export function releaseAll(buffers: readonly Buffer[]): void {
  for (const { buffer } of buffers)
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= SHARED_BYTES) buffer.transfer(0)
}

/** Buffers as one. They are given back as they are copied, so that there is one of them at a time beside the whole. */
export function joined(pieces: readonly Buffer[], bytes: number): Buffer {
  if (pieces.length === 1) return pieces[0]!
  if (bytes < LARGE_BYTES) return Buffer.concat(pieces, bytes)
  const whole = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const [i, piece] of pieces.entries()) {
    at += piece.copy(whole, at)
    if (pieces[i + 1]?.buffer !== piece.buffer) releaseAll([piece])
  }
  return whole
}

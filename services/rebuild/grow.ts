/** A larger typed array with the same beginning. */
export function grow<T extends Int32Array | Uint32Array | Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from)
  return to
}

/**
 * A hash table from byte strings to dense ids, over typed arrays: a million keys cost tens of megabytes and no objects.
 * Keys are referred to where they lie (a buffer's index, offset, length); the caller keeps the buffers.
 */
export class ByteTable {
  readonly #buffers: Buffer[] = []
  #cells = new Int32Array(1024).fill(-1)
  #hashes = new Int32Array(512)
  #buffer = new Uint32Array(512)
  #offset = new Uint32Array(512)
  #length = new Uint32Array(512)
  size = 0

  /** The id of the key, or -1. */
  find(bytes: Buffer, start: number, end: number): number {
    return this.#probe(hash(bytes, start, end), bytes, start, end, undefined)
  }

  /** The id of the key, made when new; `size` grows then. `own` is the buffer that keeps the bytes (see `keep`). */
  put(bytes: Buffer, start: number, end: number, own: number): number {
    if ((this.size + 1) * 2 > this.#cells.length) this.#grow()
    return this.#probe(hash(bytes, start, end), bytes, start, end, own)
  }

  /** Registers a buffer whose bytes stay as they are; returns its index. */
  keep(buffer: Buffer): number {
    if (this.#buffers.at(-1) === buffer) return this.#buffers.length - 1
    return this.#buffers.push(buffer) - 1
  }

  bytesOf(id: number): { readonly buffer: Buffer; readonly start: number; readonly end: number } {
    const start = this.#offset[id]!
    return { buffer: this.#buffers[this.#buffer[id]!]!, start, end: start + this.#length[id]! }
  }

  clear(): void {
    this.#cells.fill(-1)
    this.size = 0
    this.#buffers.length = 0
  }

  #probe(code: number, bytes: Buffer, start: number, end: number, own: number | undefined): number {
    const mask = this.#cells.length - 1
    const length = end - start
    for (let at = code & mask; ; at = (at + 1) & mask) {
      const id = this.#cells[at]!
      if (id < 0) {
        if (own === undefined) return -1
        const made = this.size++
        this.#cells[at] = made
        this.#hashes[made] = code
        this.#buffer[made] = own
        this.#offset[made] = start
        this.#length[made] = length
        return made
      }
      if (this.#hashes[id] === code && this.#length[id] === length && this.#equal(id, bytes, start, length))
        return id
    }
  }

  #equal(id: number, bytes: Buffer, start: number, length: number): boolean {
    const other = this.#buffers[this.#buffer[id]!]!
    const from = this.#offset[id]!
    if (length > 32) return other.compare(bytes, start, start + length, from, from + length) === 0
    for (let i = 0; i < length; i++) if (other[from + i] !== bytes[start + i]) return false
    return true
  }

  #grow(): void {
    const capacity = this.#cells.length * 2
    const cells = new Int32Array(capacity).fill(-1)
    const mask = capacity - 1
    for (let id = 0; id < this.size; id++) {
      let at = this.#hashes[id]! & mask
      while (cells[at]! >= 0) at = (at + 1) & mask
      cells[at] = id
    }
    this.#cells = cells
    const half = capacity / 2
    this.#hashes = copied(this.#hashes, new Int32Array(half))
    this.#buffer = copied(this.#buffer, new Uint32Array(half))
    this.#offset = copied(this.#offset, new Uint32Array(half))
    this.#length = copied(this.#length, new Uint32Array(half))
  }
}

function copied<T extends Int32Array | Uint32Array>(from: T, to: T): T {
  to.set(from)
  return to
}

/** FNV-1a with a final mix; only spreads, never decides equality. */
export function hash(bytes: Buffer, start: number, end: number): number {
  let code = 0x811c9dc5
  for (let i = start; i < end; i++) code = Math.imul(code ^ bytes[i]!, 0x01000193)
  code ^= code >>> 15
  code = Math.imul(code, 0x2c1b3c6d)
  return code ^ (code >>> 12)
}

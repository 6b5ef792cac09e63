/**
 * A growing byte buffer with Avro's primitive encodings (Avro 1.12 specification, "Binary Encoding").
 *
 * Callers reserve once per row and then write without checks: the hot path of the whole product.
 */
export class ByteSink {
  buffer: Buffer
  /** Bytes written. */
  at = 0

  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafeSlow(capacity)
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    const needed = this.at + bytes
    if (needed <= this.buffer.length) return
    let capacity = this.buffer.length * 2
    while (capacity < needed) capacity *= 2
    const grown = Buffer.allocUnsafeSlow(capacity)
    this.buffer.copy(grown, 0, 0, this.at)
    this.buffer = grown
  }

  byte(value: number): void {
    this.buffer[this.at++] = value
  }

  /** A zigzag varint of a safe integer. Reserve 10. */
  long(value: number): void {
    const buffer = this.buffer
    let at = this.at
    if (value >= -1073741824 && value < 1073741824) {
      let z = ((value << 1) ^ (value >> 31)) >>> 0
      while (z > 127) {
        buffer[at++] = (z & 127) | 128
        z >>>= 7
      }
      buffer[at++] = z
    } else {
      // 2 * |value| may pass 2^53: the low seven bits are taken off before doubling.
      let magnitude = value < 0 ? -(value + 1) : value
      const low = (magnitude % 64) * 2 + (value < 0 ? 1 : 0)
      magnitude = Math.floor(magnitude / 64)
      buffer[at++] = magnitude > 0 ? low | 128 : low
      while (magnitude > 0) {
        const next = Math.floor(magnitude / 128)
        const bits = magnitude - next * 128
        buffer[at++] = next > 0 ? bits | 128 : bits
        magnitude = next
      }
    }
    this.at = at
  }

  /** A zigzag varint of any signed 64-bit value. Reserve 10. */
  bigLong(value: bigint): void {
    let z = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    while (z > 127n) {
      this.buffer[this.at++] = Number(z & 127n) | 128
      z >>= 7n
    }
    this.buffer[this.at++] = Number(z)
  }

  /** Length-prefixed bytes of another buffer. Reserve end - start + 5. */
  slice(source: Buffer, start: number, end: number): void {
    const length = end - start
    this.long(length)
    const buffer = this.buffer
    let at = this.at
    if (length < 24) {
      for (let i = start; i < end; i++) buffer[at++] = source[i]!
    } else {
      source.copy(buffer, at, start, end)
      at += length
    }
    this.at = at
  }

  string(text: string): void {
    const length = Buffer.byteLength(text)
    this.reserve(length + 10)
    this.long(length)
    this.buffer.write(text, this.at)
    this.at += length
  }

  /** What was written, without copying; valid until the next write. */
  view(): Buffer {
    return this.buffer.subarray(0, this.at)
  }

  /** What was written, as a buffer of its own; the sink starts empty again. */
  take(): Buffer {
    const taken = Buffer.from(this.buffer.subarray(0, this.at))
    this.at = 0
    return taken
  }
}

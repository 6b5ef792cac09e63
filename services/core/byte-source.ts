/** Reads Avro's primitive encodings from a buffer. Throws OBJECT_CORRUPT where the bytes end too early. */
import { TidemarkError } from './errors.ts'

export class ByteSource {
  readonly buffer: Buffer
  at: number
  readonly end: number

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.buffer = buffer
    this.at = at
    this.end = end
  }

  get done(): boolean {
    return this.at >= this.end
  }

  byte(): number {
    if (this.at >= this.end) throw corrupt('bytes end inside a value')
    return this.buffer[this.at++]!
  }

  /** A zigzag varint that fits a safe integer. */
  long(): number {
    const buffer = this.buffer
    let at = this.at
    let byte = buffer[at++]!
    let value = byte & 127
    if (byte < 128) {
      if (at > this.end) throw corrupt('bytes end inside a value')
      this.at = at
      return (value >>> 1) ^ -(value & 1)
    }
    let scale = 128
    let shift = 7
    do {
      if (at >= this.end) throw corrupt('bytes end inside a value')
      byte = buffer[at++]!
      value += (byte & 127) * scale
      scale *= 128
      shift += 7
    } while (byte >= 128 && shift < 56)
    if (byte >= 128) throw corrupt('a number above 53 bits where none may be')
    this.at = at
    // value is up to 2^56: halve before it is negated, both exact below 2^53.
    const half = Math.floor(value / 2)
    if (half > Number.MAX_SAFE_INTEGER) throw corrupt('a number above 53 bits where none may be')
    return value % 2 === 0 ? half : -half - 1
  }

  bigLong(): bigint {
    let z = 0n
    let shift = 0n
    for (;;) {
      const byte = this.byte()
      z |= BigInt(byte & 127) << shift
      if (byte < 128) break
      shift += 7n
      if (shift > 63n) throw corrupt('a varint above 64 bits')
    }
    return BigInt.asIntN(64, (z >> 1n) ^ -(z & 1n))
  }

  skipLong(): void {
    const buffer = this.buffer
    let at = this.at
    while (buffer[at++]! >= 128) {}
    if (at > this.end) throw corrupt('bytes end inside a value')
    this.at = at
  }

  /** Moves past `length` bytes and returns where they start. */
  skip(length: number): number {
    const start = this.at
    if (length < 0 || start + length > this.end) throw corrupt('bytes end inside a value')
    this.at = start + length
    return start
  }

  bytes(): Buffer {
    const length = this.long()
    const start = this.skip(length)
    return this.buffer.subarray(start, start + length)
  }

  string(): string {
    return this.bytes().toString('utf8')
  }
}

export function corrupt(what: string): TidemarkError {
  return new TidemarkError('OBJECT_CORRUPT', what)
}

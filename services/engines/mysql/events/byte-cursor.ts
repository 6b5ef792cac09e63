/** Reads the little-endian fields of a binlog event, and never past its end. */
import { TidemarkError } from '../../../core/errors.ts'

export class ByteCursor {
  readonly bytes: Buffer
  at: number
  readonly end: number

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  /** Another one, from where this one is. */
  copy(): ByteCursor {
    return new ByteCursor(this.bytes, this.at, this.end)
  }

  /** @throws TidemarkError PROTOCOL where the event ends before */
  take(length: number): number {
    const from = this.at
    if (length < 0 || length > this.end - from)
      throw new TidemarkError('PROTOCOL', 'an event of the binlog ends within one of its fields')
    this.at = from + length
    return from
  }

  uint8(): number {
    return this.bytes.readUInt8(this.take(1))
  }

  /** @param length in bytes, 1 to 6 */
  uint(length: number): number {
    return this.bytes.readUIntLE(this.take(length), length)
  }

  uint64(): bigint {
    return this.bytes.readBigUInt64LE(this.take(8))
  }

  /** A length-encoded integer (MySQL internals manual, "Protocol::LengthEncodedInteger"). */
  lengthEncoded(): number {
    const first = this.uint8()
    if (first < 0xfb) return first
    if (first === 0xfc) return this.uint(2)
    if (first === 0xfd) return this.uint(3)
    if (first !== 0xfe) throw new TidemarkError('PROTOCOL', 'an event of the binlog has no such length')
    const whole = this.uint64()
    if (whole > BigInt(Number.MAX_SAFE_INTEGER))
      throw new TidemarkError('PROTOCOL', 'a field of the binlog is longer than any event')
    return Number(whole)
  }

  /** A view, not a copy. */
  slice(length: number): Buffer {
    const from = this.take(length)
    return this.bytes.subarray(from, from + length)
  }

  /** Names are UTF-8 in both servers' dictionaries. */
  text(length: number): string {
    return this.slice(length).toString('utf8')
  }

  rest(): Buffer {
    return this.slice(this.left)
  }
}

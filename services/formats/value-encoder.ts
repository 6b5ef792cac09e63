/**
 * One value: from the server's text bytes to the bytes of its Avro union branch, without strings or objects in between
 * for all common types. The same code serves the stream and the base, so equal values are equal bytes.
 */
import type { ByteSink } from '../core/byte-sink.ts'
import { isSafeMicros, microsOf, DAY_MICROS, parseDate, parseTimestamp } from './temporal.ts'
import type { ValueKind } from '../core/relation.ts'

/** Union branches as zigzag varints: 1 and 2; NULL is 0. */
const VALUE = 2
const TEXT = 4

const scratch = { days: 0, micros: 0 }
const floatBits = new DataView(new ArrayBuffer(8))

/** Digits as a safe integer; NaN where the text is anything else or longer than 15 digits. */
function parseInteger(buffer: Buffer, start: number, end: number): number {
  let at = start
  const negative = buffer[at] === 45
  if (negative) at++
  const digits = end - at
  if (digits < 1 || digits > 15) return Number.NaN
  let value = 0
  for (; at < end; at++) {
    const digit = buffer[at]! - 48
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  return negative ? -value : value
}

function nibble(byte: number): number {
  return byte < 58 ? byte - 48 : byte - 87
}

/**
 * Writes the branch and the value of [start, end), the server's text. The caller has reserved 2 * (end - start) + 16.
 */
export type ValueWriter = (sink: ByteSink, buffer: Buffer, start: number, end: number) => void

const writeText: ValueWriter = (sink, buffer, start, end) => {
  sink.buffer[sink.at++] = VALUE
  sink.slice(buffer, start, end)
}

const writeTextBranch: ValueWriter = (sink, buffer, start, end) => {
  sink.buffer[sink.at++] = TEXT
  sink.slice(buffer, start, end)
}

const writeInteger: ValueWriter = (sink, buffer, start, end) => {
  sink.buffer[sink.at++] = VALUE
  const value = parseInteger(buffer, start, end)
  if (Number.isNaN(value)) sink.bigLong(BigInt(buffer.toString('latin1', start, end)))
  else sink.long(value)
}

const writeBool: ValueWriter = (sink, buffer, start) => {
  sink.buffer[sink.at++] = VALUE
  sink.buffer[sink.at++] = buffer[start] === 116 ? 1 : 0
}

const writeDouble: ValueWriter = (sink, buffer, start, end) => {
  sink.buffer[sink.at++] = VALUE
  sink.at = sink.buffer.writeDoubleLE(Number(buffer.toString('latin1', start, end)), sink.at)
}

const writeFloat: ValueWriter = (sink, buffer, start, end) => {
  const value = Number(buffer.toString('latin1', start, end))
  // Text rounds to double first and to float second. Exactly between two floats the second step may go the wrong way,
  // so those few values keep their text: the double's low 29 bits are a one with zeros behind it. Denormals likewise.
  floatBits.setFloat64(0, value)
  if (
    (floatBits.getUint32(4) & 0x1fffffff) === 0x10000000 ||
    (value !== 0 && Math.abs(value) < 1.17549435e-38)
  ) {
    writeTextBranch(sink, buffer, start, end)
    return
  }
  sink.buffer[sink.at++] = VALUE
  sink.at = sink.buffer.writeFloatLE(value, sink.at)
}

const writeBytes: ValueWriter = (sink, buffer, start, end) => {
  sink.buffer[sink.at++] = VALUE
  const length = (end - start - 2) / 2
  sink.long(length)
  const out = sink.buffer
  let at = sink.at
  for (let i = start + 2; i < end; i += 2) out[at++] = (nibble(buffer[i]!) << 4) | nibble(buffer[i + 1]!)
  sink.at = at
}

const writeDate: ValueWriter = (sink, buffer, start, end) => {
  const days = parseDate(buffer, start, end)
  if (days === undefined) {
    writeTextBranch(sink, buffer, start, end)
    return
  }
  sink.buffer[sink.at++] = VALUE
  sink.long(days)
}

function timestampWriter(zoned: boolean): ValueWriter {
  return (sink, buffer, start, end) => {
    if (!parseTimestamp(buffer, start, end, zoned, scratch)) {
      writeTextBranch(sink, buffer, start, end)
      return
    }
    sink.buffer[sink.at++] = VALUE
    if (isSafeMicros(scratch.days)) sink.long(scratch.days * DAY_MICROS + scratch.micros)
    else sink.bigLong(microsOf(scratch.days, scratch.micros))
  }
}

const WRITERS: Readonly<Record<ValueKind, ValueWriter>> = {
  bool: writeBool,
  int: writeInteger,
  long: writeInteger,
  float: writeFloat,
  double: writeDouble,
  bytes: writeBytes,
  date: writeDate,
  timestamp: timestampWriter(false),
  timestamptz: timestampWriter(true),
  uuid: writeText,
  text: writeText,
}

export function valueWriter(kind: ValueKind): ValueWriter {
  return WRITERS[kind]
}

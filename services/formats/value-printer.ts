/**
 * One value: from the bytes of its Avro union branch back to the server's text, escaped (backslash, tab, newline, carriage return and
 * their like by a letter behind a backslash; null is `\\N`), or as text for people.
 */
import { textOfBytes } from '../core/escaped-bytes.ts'
import { ByteSink } from '../core/byte-sink.ts'
import { float4Text, float8Text } from './float-text.ts'
import { inSteps, LARGE_VALUE, PieceSink } from '../core/piece-sink.ts'
import { type ByteSource, corrupt } from '../core/byte-source.ts'
import { DAY_MICROS, formatDate, formatTimestamp, splitMicros } from './temporal.ts'
import {
  BRANCH_NULL,
  BRANCH_TEXT,
  BRANCH_VALUE,
  hasTextBranch,
  STATE_UNCHANGED,
  stateBranch,
} from './value-kind.ts'
import type { ValueKind } from '../core/relation.ts'

export type FieldState = 'value' | 'null' | 'unchanged' | 'absent'

const HEX = Buffer.from('0123456789abcdef')

/** Appends [start, end) of `from`, escaped. Reserves by itself. */
// biome-ignore lint/complexity/noExcessiveCognitiveComplexity: the hot path: no call per byte
function escapeInto(sink: ByteSink, from: Buffer, start: number, end: number): void {
  sink.reserve((end - start) * 2)
  const out = sink.buffer
  let at = sink.at
  let run = start
  for (let i = start; i < end; i++) {
    const byte = from[i]!
    if (byte > 13 && byte !== 92) continue
    const letter =
      byte === 92
        ? 92
        : byte === 10
          ? 110
          : byte === 9
            ? 116
            : byte === 13
              ? 114
              : byte === 11
                ? 118
                : byte === 12
                  ? 102
                  : byte === 8
                    ? 98
                    : 0
    if (letter === 0) continue
    if (i > run) {
      from.copy(out, at, run, i)
      at += i - run
    }
    out[at++] = 92
    out[at++] = letter
    run = i + 1
  }
  if (end > run) {
    if (end - run < 16) for (let i = run; i < end; i++) out[at++] = from[i]!
    else {
      from.copy(out, at, run, end)
      at += end - run
    }
  }
  sink.at = at
}

/** Escapes a large value a step at a time, each when it is asked for. */
function* escapedSteps(from: Buffer, start: number, end: number): Generator<Buffer> {
  for (const step of inSteps(from, start, end)) {
    const sink = new ByteSink(2 * step.length)
    escapeInto(sink, step, 0, step.length)
    yield sink.view()
  }
}

function* hexSteps(from: Buffer, start: number, end: number): Generator<Buffer> {
  for (const step of inSteps(from, start, end)) yield Buffer.from(step.toString('hex'), 'latin1')
}

function ascii(sink: ByteSink, text: string): void {
  sink.reserve(text.length)
  sink.at += sink.buffer.write(text, sink.at, 'latin1')
}

function integerInto(sink: ByteSink, value: number): void {
  if (value >= 0 && value < 10) {
    sink.reserve(1)
    sink.buffer[sink.at++] = 48 + value
    return
  }
  if (value > 0 && value < 2147483648) {
    sink.reserve(10)
    let digits = 1
    for (let bound = 10; bound <= value; bound *= 10) digits++
    let at = sink.at + digits
    sink.at = at
    let rest = value | 0
    while (rest > 0) {
      const next = (rest / 10) | 0
      sink.buffer[--at] = 48 + rest - next * 10
      rest = next
    }
    return
  }
  ascii(sink, String(value))
}

/** A long that may pass 53 bits: as number where safe, else as bigint. Eight bytes hold every present-day timestamp. */
export function anyLong(source: ByteSource): number | bigint {
  const { buffer } = source
  const start = source.at
  source.skipLong()
  const length = source.at - start
  if (length <= 4) {
    let z = 0
    for (let i = length - 1; i >= 0; i--) z = (z << 7) | (buffer[start + i]! & 127)
    return (z >>> 1) ^ -(z & 1)
  }
  if (length <= 8) {
    const low =
      (buffer[start]! & 127) |
      ((buffer[start + 1]! & 127) << 7) |
      ((buffer[start + 2]! & 127) << 14) |
      ((buffer[start + 3]! & 127) << 21)
    let high = 0
    for (let i = length - 1; i >= 4; i--) high = (high << 7) | (buffer[start + i]! & 127)
    if (high < 0x2000000) {
      const half = high * 0x8000000 + (low >>> 1)
      return (low & 1) === 0 ? half : -half - 1
    }
  }
  source.at = start
  const value = source.bigLong()
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value
}

let lastDay = Number.NaN
let lastDayText = ''

function timestampInto(sink: ByteSink, source: ByteSource, zoned: boolean): void {
  const value = anyLong(source)
  let days: number
  let micros: number
  if (typeof value === 'number') {
    ;[days, micros] = splitMicros(value)
  } else {
    days = Number(value / BigInt(DAY_MICROS))
    if (value < 0n && value % BigInt(DAY_MICROS) !== 0n) days--
    micros = Number(value - BigInt(days) * BigInt(DAY_MICROS))
  }
  if (days !== lastDay) {
    lastDay = days
    lastDayText = formatDate(days)
  }
  const text = micros === 0 ? `${lastDayText} 00:00:00` : formatTimestampOn(lastDayText, days, micros)
  ascii(sink, zoned ? `${text}+00` : text)
}

function formatTimestampOn(day: string, days: number, micros: number): string {
  if (day.length !== 10) return formatTimestamp(days, micros)
  const seconds = Math.floor(micros / 1_000_000)
  const fraction = micros - seconds * 1_000_000
  const hours = (seconds / 3600) | 0
  const minutes = ((seconds % 3600) / 60) | 0
  const rest = seconds % 60
  const text = `${day} ${hours < 10 ? '0' : ''}${hours}:${minutes < 10 ? '0' : ''}${minutes}:${rest < 10 ? '0' : ''}${rest}`
  if (fraction === 0) return text
  let digits = String(fraction).padStart(6, '0')
  while (digits.charCodeAt(digits.length - 1) === 48) digits = digits.slice(0, -1)
  return `${text}.${digits}`
}

/** Appends the field's value escaped; null is `\N`. Says what state the field had. */
export function printField(source: ByteSource, kind: ValueKind, sink: ByteSink): FieldState {
  const branch = source.long()
  if (branch === BRANCH_NULL) {
    sink.reserve(2)
    sink.buffer[sink.at++] = 92
    sink.buffer[sink.at++] = 78
    return 'null'
  }
  if (branch === stateBranch(kind)) return source.long() === STATE_UNCHANGED ? 'unchanged' : 'absent'
  if (branch === BRANCH_TEXT && hasTextBranch(kind)) {
    const length = source.long()
    const start = source.skip(length)
    escapeInto(sink, source.buffer, start, start + length)
    return 'value'
  }
  if (branch !== BRANCH_VALUE) throw corrupt('a value has an unknown branch')
  switch (kind) {
    case 'bool':
      sink.reserve(1)
      sink.buffer[sink.at++] = source.byte() === 1 ? 116 : 102
      break
    case 'int':
      integerInto(sink, source.long())
      break
    case 'long': {
      const value = anyLong(source)
      if (typeof value === 'number') integerInto(sink, value)
      else ascii(sink, value.toString())
      break
    }
    case 'float':
      ascii(sink, float4Text(source.buffer.readFloatLE(source.skip(4))))
      break
    case 'double':
      ascii(sink, float8Text(source.buffer.readDoubleLE(source.skip(8))))
      break
    case 'date':
      ascii(sink, formatDate(source.long()))
      break
    case 'timestamp':
      timestampInto(sink, source, false)
      break
    case 'timestamptz':
      timestampInto(sink, source, true)
      break
    case 'bytes': {
      const length = source.long()
      const start = source.skip(length)
      ascii(sink, '\\\\x')
      if (length >= LARGE_VALUE && sink instanceof PieceSink) {
        sink.refer(hexSteps(source.buffer, start, start + length))
        break
      }
      sink.reserve(length * 2)
      const out = sink.buffer
      let at = sink.at
      for (let i = start; i < start + length; i++) {
        const byte = source.buffer[i]!
        out[at++] = HEX[byte >> 4]!
        out[at++] = HEX[byte & 15]!
      }
      sink.at = at
      break
    }
    case 'uuid':
    case 'text': {
      const length = source.long()
      const start = source.skip(length)
      if (length >= LARGE_VALUE && sink instanceof PieceSink)
        sink.refer(escapedSteps(source.buffer, start, start + length))
      else escapeInto(sink, source.buffer, start, start + length)
      break
    }
  }
  return 'value'
}

/** The field as text for people (history as JSON lines); bytes that are no UTF-8 are shown as `\x` hex. */
export function textOfField(
  source: ByteSource,
  kind: ValueKind,
): { readonly state: FieldState; readonly text: string | null } {
  const { state, raw } = rawField(source, kind)
  if (raw === null) return { state, text: null }
  const text = raw.toString('utf8')
  return { state, text: Buffer.from(text, 'utf8').equals(raw) ? text : `\\x${raw.toString('hex')}` }
}

/** The field as text for us, as Tidemark's own records are read: bytes that are no UTF-8 are escaped, and come back. */
export function escapedTextOfField(source: ByteSource, kind: ValueKind): string | null {
  const { raw } = rawField(source, kind)
  return raw === null ? null : textOfBytes(raw)
}

function rawField(
  source: ByteSource,
  kind: ValueKind,
): { readonly state: FieldState; readonly raw: Buffer | null } {
  const sink = new ByteSink(64)
  const state = printField(source, kind, sink)
  return { state, raw: state === 'value' ? unescapeCopy(sink.view()) : null }
}

function unescapeCopy(escaped: Buffer): Buffer {
  if (!escaped.includes(92)) return escaped
  const letters: Record<number, number> = { 110: 10, 116: 9, 114: 13, 118: 11, 102: 12, 98: 8, 92: 92 }
  const out = Buffer.allocUnsafe(escaped.length)
  let at = 0
  for (let i = 0; i < escaped.length; i++) {
    const byte = escaped[i]!
    out[at++] = byte === 92 ? letters[escaped[++i]!]! : byte
  }
  return out.subarray(0, at)
}

/**
 * Rows in COPY's binary format (PostgreSQL manual, COPY, "Binary Format"), for tables whose types all have a form there
 * that does not depend on version or settings. It spares both sides the text: about half of the cost of loading.
 */
import { NeedsNextForm, type RowPrinter } from '../../../core/ports/dialect.ts'
import type { RelationColumn, RelationVersion, ValueKind } from '../../../core/relation.ts'
import type { ByteSink } from '../../../core/byte-sink.ts'
import { type ByteSource, corrupt } from '../../../core/byte-source.ts'
import { typeOidOf } from './column-type.ts'
import { ONE_CHAR, oneCharOf } from './one-char.ts'
import { copiedInSteps, LARGE_VALUE, type PieceSink } from '../../../core/piece-sink.ts'
import { DAY_MICROS } from '../../../formats/temporal.ts'
import {
  BRANCH_NULL,
  BRANCH_TEXT,
  BRANCH_VALUE,
  hasTextBranch,
  stateBranch,
} from '../../../formats/value-kind.ts'

const JSONB = 3802
/** Types stored as text whose binary form is that text: text, varchar, char(n), name, json; jsonb with a version byte. */
const TEXTUAL: ReadonlySet<number> = new Set([25, 1043, 1042, 19, 114, JSONB])
const DAYS_TO_2000 = 10957
const MICROS_TO_2000 = DAYS_TO_2000 * DAY_MICROS
const EPOCH_HIGH = Math.floor(MICROS_TO_2000 / 4294967296)
const EPOCH_LOW = MICROS_TO_2000 % 4294967296

export function canBeBinary(columns: readonly RelationColumn[]): boolean {
  return (
    columns.length > 0 &&
    columns.every((column) => {
      const oid = typeOidOf(column)
      return column.kind !== 'text' || TEXTUAL.has(oid) || oid === ONE_CHAR
    })
  )
}

function header(sink: ByteSink): void {
  sink.reserve(32)
  sink.at += Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1').copy(sink.buffer, sink.at)
  sink.at = word(sink.buffer, sink.at, 0)
  sink.at = word(sink.buffer, sink.at, 0)
}

function trailer(sink: ByteSink): void {
  sink.reserve(2)
  sink.at = sink.buffer.writeInt16BE(-1, sink.at)
}

const BOOL = 0
const INT2 = 1
const INT4 = 2
const INT8 = 3
const FLOAT4 = 4
const FLOAT8 = 5
const DAYS = 6
const MICROS = 7
const UUID = 8
const RAW = 9
const VERSIONED = 10
const ONE_BYTE = 11

/** Bytes that any field without a length of its own takes here, its length word included. */
const FIELD_ROOM = 24

function formOf(kind: ValueKind, type: number): number {
  if (type === JSONB) return VERSIONED
  if (type === ONE_CHAR) return ONE_BYTE
  if (kind === 'int') return type === 21 ? INT2 : INT4
  const forms = {
    bool: BOOL,
    long: INT8,
    float: FLOAT4,
    double: FLOAT8,
    date: DAYS,
    timestamp: MICROS,
    timestamptz: MICROS,
    uuid: UUID,
    bytes: RAW,
    text: RAW,
  } as const
  return forms[kind]
}

/** Prints rows of one table. One loop over local variables: it sees every value of a restore. */
export class BinaryPrinter implements RowPrinter {
  readonly form = 'binary'
  readonly head = header
  readonly tail = trailer
  readonly #kinds: readonly ValueKind[]
  readonly #forms: Uint8Array

  constructor({ columns }: RelationVersion) {
    this.#kinds = columns.map(({ kind }) => kind)
    this.#forms = Uint8Array.from(columns, (column) => formOf(column.kind, typeOidOf(column)))
  }

  /** The row at `source`, which is moved past it. False where a value is unchanged or absent. @throws NeedsNextForm */
  // biome-ignore lint/complexity/noExcessiveCognitiveComplexity: the hot path: no call per value
  print(source: ByteSource, sink: PieceSink): boolean {
    const forms = this.#forms
    const width = forms.length
    const { buffer } = source
    let { at } = source
    sink.reserve(2 + width * FIELD_ROOM)
    let out = sink.buffer
    let to = sink.at
    out[to++] = width >>> 8
    out[to++] = width
    for (let i = 0; i < width; i++) {
      const branch = buffer[at++]! >> 1
      if (branch === BRANCH_NULL) {
        out[to] = out[to + 1] = out[to + 2] = out[to + 3] = 255
        to += 4
        continue
      }
      if (branch !== BRANCH_VALUE) {
        source.at = at
        sink.at = to
        if (!this.#infinity(branch, source, this.#kinds[i]!, sink)) return false
        at = source.at
        to = sink.at
        continue
      }
      const form = forms[i]!
      if (form === BOOL) {
        to = word(out, to, 1)
        out[to++] = buffer[at++]!
        continue
      }
      if (form === FLOAT4 || form === FLOAT8) {
        const bytes = form === FLOAT4 ? 4 : 8
        to = word(out, to, bytes)
        for (let k = bytes - 1; k >= 0; k--) out[to++] = buffer[at + k]!
        at += bytes
        continue
      }
      // All others begin with a varint: its zigzag value as two words, taken apart without 64-bit arithmetic.
      let byte = buffer[at++]!
      let low = byte & 127
      let high = 0
      if (byte >= 128) {
        byte = buffer[at++]!
        low |= (byte & 127) << 7
        if (byte >= 128) {
          byte = buffer[at++]!
          low |= (byte & 127) << 14
          if (byte >= 128) {
            byte = buffer[at++]!
            low |= (byte & 127) << 21
            if (byte >= 128) {
              byte = buffer[at++]!
              low |= (byte & 15) << 28
              high = (byte & 127) >>> 4
              for (let shift = 3; byte >= 128; shift += 7) {
                byte = buffer[at++]!
                high |= (byte & 127) << shift
              }
            }
          }
        }
      }
      const sign = -(low & 1)
      const value = ((low >>> 1) | (high << 31)) ^ sign
      switch (form) {
        case INT2:
          to = word(out, to, 2)
          out[to++] = value >>> 8
          out[to++] = value
          break
        case INT4:
          to = word(out, to, 4)
          to = word(out, to, value)
          break
        case DAYS:
          to = word(out, to, 4)
          to = word(out, to, value - DAYS_TO_2000)
          break
        case INT8:
          to = word(out, to, 8)
          to = word(out, to, (high >>> 1) ^ sign)
          to = word(out, to, value)
          break
        case MICROS: {
          const unsigned = value >>> 0
          to = word(out, to, 8)
          to = word(out, to, ((high >>> 1) ^ sign) - EPOCH_HIGH - (unsigned < EPOCH_LOW ? 1 : 0))
          to = word(out, to, (unsigned - EPOCH_LOW) | 0)
          break
        }
        case UUID:
          to = word(out, to, 16)
          to += out.write(buffer.toString('latin1', at, at + value).replaceAll('-', ''), to, 'hex')
          at += value
          break
        case ONE_BYTE:
          to = word(out, to, 1)
          out[to++] = oneCharOf(buffer, at, at + value)
          at += value
          break
        default: {
          const version = form === VERSIONED ? 1 : 0
          if (value >= LARGE_VALUE) {
            to = word(out, to, value + version)
            if (version === 1) out[to++] = 1
            sink.at = to
            sink.refer(copiedInSteps(buffer, at, at + value))
            at += value
            break
          }
          const needed = value + (width - i) * FIELD_ROOM
          if (to + needed > out.length) {
            sink.at = to
            sink.reserve(needed)
            out = sink.buffer
          }
          to = word(out, to, value + version)
          if (version === 1) out[to++] = 1
          if (value < 24) for (let k = 0; k < value; k++) out[to++] = buffer[at++]!
          else {
            buffer.copy(out, to, at, at + value)
            to += value
            at += value
          }
        }
      }
    }
    if (!(at <= source.end)) throw corrupt('bytes end inside a row')
    source.at = at
    sink.at = to
    return true
  }

  /** The text branch: infinities have a binary form; anything else is left to text. False for the state branch. */
  #infinity(branch: number, source: ByteSource, kind: ValueKind, sink: ByteSink): boolean {
    if (branch === stateBranch(kind)) return false
    if (branch !== BRANCH_TEXT || !hasTextBranch(kind)) throw corrupt('a value has an unknown branch')
    const text = source.string()
    const sign = text === 'infinity' ? 1 : text === '-infinity' ? -1 : 0
    if (sign === 0 || kind === 'float') throw new NeedsNextForm()
    const bytes = kind === 'date' ? 4 : 8
    sink.at = word(sink.buffer, sink.at, bytes)
    sink.at = word(sink.buffer, sink.at, sign > 0 ? 0x7fffffff : -0x80000000)
    if (bytes === 8) sink.at = word(sink.buffer, sink.at, sign > 0 ? -1 : 0)
    return true
  }
}

/** A big-endian word of 32 bits; returns what lies behind it. Room is reserved by the caller. */
function word(out: Buffer, at: number, value: number): number {
  out[at] = value >>> 24
  out[at + 1] = value >>> 16
  out[at + 2] = value >>> 8
  out[at + 3] = value
  return at + 4
}

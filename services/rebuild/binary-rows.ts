/**
 * Rows in COPY's binary format (PostgreSQL manual, COPY, "Binary Format"), for tables whose types all have a form there
 * that does not depend on version or settings. It spares both sides the text: about half of the cost of loading.
 */
import { TidemarkError } from '../core/errors.ts'
import type { TableColumn } from '../core/relation.ts'
import type { ByteSink } from '../formats/byte-sink.ts'
import { type ByteSource, corrupt } from '../formats/byte-source.ts'
import { DAY_MICROS } from '../formats/temporal.ts'
import { anyLong } from '../formats/value-printer.ts'
import { BRANCH_NULL, BRANCH_TEXT, BRANCH_VALUE, hasTextBranch, kindOf, stateBranch, type ValueKind } from '../formats/value-kind.ts'

const JSONB = 3802
/** Types stored as text whose binary form is that text: text, varchar, char(n), name, json; jsonb with a version byte. */
const TEXTUAL: ReadonlySet<number> = new Set([25, 1043, 1042, 19, 114, JSONB])
const DAYS_TO_2000 = 10957
const MICROS_TO_2000 = DAYS_TO_2000 * DAY_MICROS

/** A value that has no exact binary form here; the table is then loaded as text. */
export class NeedsText extends TidemarkError {
  constructor() {
    super('TARGET_FAILED', 'a value that only text can say')
  }
}

export function canBeBinary(columns: readonly TableColumn[]): boolean {
  return columns.length > 0 && columns.every((column) => kindOf(column.typeOid) !== 'text' || TEXTUAL.has(column.typeOid))
}

export function binaryHeader(sink: ByteSink): void {
  sink.reserve(32)
  sink.at += Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1').copy(sink.buffer, sink.at)
  int32(0, sink)
  int32(0, sink)
}

export function binaryTrailer(sink: ByteSink): void {
  sink.reserve(2)
  sink.at = sink.buffer.writeInt16BE(-1, sink.at)
}

/** One row. False where a value is unchanged or absent. */
export function printBinary(source: ByteSource, kinds: readonly ValueKind[], types: readonly number[], sink: ByteSink): boolean {
  sink.reserve(2 + kinds.length * 12)
  sink.at = sink.buffer.writeInt16BE(kinds.length, sink.at)
  for (let i = 0; i < kinds.length; i++) {
    const kind = kinds[i]!
    const branch = source.byte() >> 1
    if (branch === BRANCH_NULL) {
      int32(-1, sink)
      continue
    }
    if (branch === stateBranch(kind)) return false
    if (branch === BRANCH_TEXT && hasTextBranch(kind)) {
      infinity(source.string(), kind, sink)
      continue
    }
    if (branch !== BRANCH_VALUE) throw corrupt('a value has an unknown branch')
    value(source, kind, types[i]!, sink)
    if (sink.buffer.length - sink.at < (kinds.length - i) * 12) sink.reserve((kinds.length - i) * 12)
  }
  return true
}

function value(source: ByteSource, kind: ValueKind, type: number, sink: ByteSink): void {
  const out = sink.buffer
  switch (kind) {
    case 'bool':
      int32(1, sink)
      out[sink.at++] = source.byte()
      return
    case 'int':
      if (type === 21) {
        int32(2, sink)
        sink.at = out.writeInt16BE(source.long(), sink.at)
      } else {
        int32(4, sink)
        int32(source.long(), sink)
      }
      return
    case 'long':
      int64(anyLong(source), sink)
      return
    case 'float':
      int32(4, sink)
      sink.at = out.writeFloatBE(source.buffer.readFloatLE(source.skip(4)), sink.at)
      return
    case 'double':
      int32(8, sink)
      sink.at = out.writeDoubleBE(source.buffer.readDoubleLE(source.skip(8)), sink.at)
      return
    case 'date':
      int32(4, sink)
      int32(source.long() - DAYS_TO_2000, sink)
      return
    case 'timestamp':
    case 'timestamptz': {
      const micros = anyLong(source)
      const shifted = typeof micros === 'number' ? micros - MICROS_TO_2000 : micros - BigInt(MICROS_TO_2000)
      int64(typeof shifted === 'number' && !Number.isSafeInteger(shifted) ? BigInt(micros) - BigInt(MICROS_TO_2000) : shifted, sink)
      return
    }
    case 'uuid': {
      const length = source.long()
      const start = source.skip(length)
      int32(16, sink)
      sink.at += out.write(source.buffer.toString('latin1', start, start + length).replaceAll('-', ''), sink.at, 'hex')
      return
    }
    default: {
      const length = source.long()
      const start = source.skip(length)
      const version = type === JSONB ? 1 : 0
      sink.reserve(length + 16)
      int32(length + version, sink)
      if (version === 1) sink.buffer[sink.at++] = 1
      source.buffer.copy(sink.buffer, sink.at, start, start + length)
      sink.at += length
    }
  }
}

/** Room is reserved by the caller. */
function int32(value: number, sink: ByteSink): void {
  const { buffer, at } = sink
  buffer[at] = value >>> 24
  buffer[at + 1] = value >>> 16
  buffer[at + 2] = value >>> 8
  buffer[at + 3] = value
  sink.at = at + 4
}

function int64(value: number | bigint, sink: ByteSink): void {
  int32(8, sink)
  if (typeof value === 'bigint') {
    sink.at = sink.buffer.writeBigInt64BE(value, sink.at)
    return
  }
  const high = Math.floor(value / 4294967296)
  int32(high, sink)
  int32((value - high * 4294967296) | 0, sink)
}

/** The text branch: infinities have a binary form; anything else is left to text. */
function infinity(text: string, kind: ValueKind, sink: ByteSink): void {
  const sign = text === 'infinity' ? 1 : text === '-infinity' ? -1 : 0
  if (sign === 0 || kind === 'float') throw new NeedsText()
  if (kind === 'date') {
    int32(4, sink)
    int32(sign > 0 ? 0x7fffffff : -0x80000000, sink)
  } else {
    int64(sign > 0 ? 0x7fffffffffffffffn : -0x8000000000000000n, sink)
  }
}

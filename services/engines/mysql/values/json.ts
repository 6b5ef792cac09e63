/** MySQL's binary JSON, printed as the server prints it (MySQL, sql/json_binary.h; json_dom.cc). MariaDB's JSON is text already. */
import { TidemarkError } from '../../../core/errors.ts'
import { TYPE } from '../events/table-map.ts'
import { decimalText } from './decimal.ts'
import { doubleText } from './floating.ts'
import { packedDatetimeText, packedTimeText } from './temporal.ts'

const KIND = {
  smallObject: 0,
  largeObject: 1,
  smallArray: 2,
  largeArray: 3,
  literal: 4,
  int16: 5,
  uint16: 6,
  int32: 7,
  uint32: 8,
  int64: 9,
  uint64: 10,
  double: 11,
  string: 12,
  opaque: 15,
} as const

/** As deep as the server itself goes. */
const DEEPEST = 100

/** @throws TidemarkError PROTOCOL */
export function jsonText(bytes: Buffer): string {
  // What was never set: an empty value stands for null.
  if (bytes.length === 0) return 'null'
  try {
    return valueText(bytes, bytes[0]!, 1, 0)
  } catch (error) {
    if (error instanceof RangeError)
      throw new TidemarkError('PROTOCOL', 'a JSON value of the binlog ends within itself', { cause: error })
    throw error
  }
}

function valueText(bytes: Buffer, kind: number, at: number, depth: number): string {
  switch (kind) {
    case KIND.smallObject:
    case KIND.largeObject:
      return containerText(bytes, kind === KIND.largeObject, true, at, depth + 1)
    case KIND.smallArray:
    case KIND.largeArray:
      return containerText(bytes, kind === KIND.largeArray, false, at, depth + 1)
    case KIND.literal:
      return literalText(bytes.readUInt8(at))
    case KIND.int16:
      return String(bytes.readInt16LE(at))
    case KIND.uint16:
      return String(bytes.readUInt16LE(at))
    case KIND.int32:
      return String(bytes.readInt32LE(at))
    case KIND.uint32:
      return String(bytes.readUInt32LE(at))
    case KIND.int64:
      return String(bytes.readBigInt64LE(at))
    case KIND.uint64:
      return String(bytes.readBigUInt64LE(at))
    case KIND.double:
      return jsonDouble(bytes.readDoubleLE(at))
    case KIND.string: {
      const { length, from } = variableLength(bytes, at)
      return quoted(within(bytes, from, length).toString('utf8'))
    }
    case KIND.opaque:
      return opaqueText(bytes, at)
    default:
      throw new TidemarkError('PROTOCOL', 'the binlog has a JSON value of a kind that is not known here')
  }
}

function literalText(value: number): string {
  const text = ['null', 'true', 'false'][value]
  if (text === undefined) throw new TidemarkError('PROTOCOL', 'the binlog has a JSON literal that is none')
  return text
}

/** Offsets count from the container's beginning; small values stand in the entry itself. */
function containerText(
  bytes: Buffer,
  large: boolean,
  isObject: boolean,
  start: number,
  depth: number,
): string {
  if (depth > DEEPEST)
    throw new TidemarkError('PROTOCOL', 'a JSON value of the binlog is deeper than any may be')
  const size = large ? 4 : 2
  const count = bytes.readUIntLE(start, size)
  const keys = start + 2 * size
  const values = isObject ? keys + count * (size + 2) : keys
  const parts: string[] = []
  for (let i = 0; i < count; i++) {
    const entry = values + i * (size + 1)
    const kind = bytes.readUInt8(entry)
    const isInline =
      kind === KIND.literal ||
      kind === KIND.int16 ||
      kind === KIND.uint16 ||
      (large && (kind === KIND.int32 || kind === KIND.uint32))
    const at = isInline ? entry + 1 : start + bytes.readUIntLE(entry + 1, size)
    const text = valueText(bytes, kind, at, depth)
    if (!isObject) parts.push(text)
    else {
      const key = keys + i * (size + 2)
      const name = within(bytes, start + bytes.readUIntLE(key, size), bytes.readUInt16LE(key + size))
      parts.push(`${quoted(name.toString('utf8'))}: ${text}`)
    }
  }
  return isObject ? `{${parts.join(', ')}}` : `[${parts.join(', ')}]`
}

/** Seven bits a byte, the lowest first. */
function variableLength(bytes: Buffer, at: number): { readonly length: number; readonly from: number } {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = bytes.readUInt8(at + i)
    length += (byte & 0x7f) * 2 ** (7 * i)
    if ((byte & 0x80) === 0) return { length, from: at + i + 1 }
  }
  throw new TidemarkError('PROTOCOL', 'a JSON value of the binlog has a length that is none')
}

function within(bytes: Buffer, from: number, length: number): Buffer {
  if (from + length > bytes.length) throw new RangeError('beyond the end')
  return bytes.subarray(from, from + length)
}

function opaqueText(bytes: Buffer, at: number): string {
  const type = bytes.readUInt8(at)
  const { length, from } = variableLength(bytes, at + 1)
  const value = within(bytes, from, length)
  switch (type) {
    case TYPE.newdecimal:
      return decimalText(value, 2, value.readUInt8(0), value.readUInt8(1))
    case TYPE.date:
      return `"${packedDatetimeText(value.readBigInt64LE(0), true)}"`
    case TYPE.datetime:
    case TYPE.timestamp:
      return `"${packedDatetimeText(value.readBigInt64LE(0), false)}"`
    case TYPE.time:
      return `"${packedTimeText(value.readBigInt64LE(0))}"`
    default:
      return `"base64:type${type}:${value.toString('base64')}"`
  }
}

/** A double says that it is one. */
function jsonDouble(value: number): string {
  const text = doubleText(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

function quoted(text: string): string {
  return `"${text.replace(/["\\\u0000-\u001f]/g, (one) => ESCAPES[one] ?? `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`
}

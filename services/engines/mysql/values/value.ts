/**
 * A value of a rows event in a form that the server takes back: text in ASCII where the type has one, else the column's own
 * bytes, whose character set stands with the column. Nothing is converted: bytes that are no text of their set stay as they are.
 */
import { inflateRawSync, inflateSync } from 'node:zlib'
import { TidemarkError } from '../../../core/errors.ts'
import { type BinlogColumn, TYPE } from '../events/table-map.ts'
import { decimalText } from './decimal.ts'
import { doubleText, floatText } from './floating.ts'
import { jsonText } from './json.ts'
import {
  datetimeText,
  dateText,
  oldDatetimeText,
  oldTimestampText,
  oldTimeText,
  timestampText,
  timeText,
  yearText,
} from './temporal.ts'
import { prefixBytes } from './value-bytes.ts'

/** @param end of the value, its length in front included. @throws TidemarkError PROTOCOL */
export function readValue(column: BinlogColumn, bytes: Buffer, at: number, end: number): string | Buffer {
  const { type, meta, unsigned } = column
  switch (type) {
    case TYPE.tiny:
    case TYPE.short:
    case TYPE.int24:
    case TYPE.long:
      return String(unsigned ? bytes.readUIntLE(at, end - at) : bytes.readIntLE(at, end - at))
    case TYPE.longlong:
      return String(unsigned ? bytes.readBigUInt64LE(at) : bytes.readBigInt64LE(at))
    case TYPE.float:
      return floatText(bytes.readFloatLE(at))
    case TYPE.double:
      return doubleText(bytes.readDoubleLE(at))
    case TYPE.newdecimal:
      return decimalText(bytes, at, meta, column.scale)
    case TYPE.year:
      return yearText(bytes.readUInt8(at))
    case TYPE.date:
    case TYPE.newdate:
      return dateText(bytes, at)
    case TYPE.datetime2:
      return datetimeText(bytes, at, meta)
    case TYPE.timestamp2:
      return timestampText(bytes, at, meta)
    case TYPE.time2:
      return timeText(bytes, at, meta)
    case TYPE.datetime:
      return oldDatetimeText(bytes, at)
    case TYPE.timestamp:
      return oldTimestampText(bytes, at)
    case TYPE.time:
      return oldTimeText(bytes, at)
    case TYPE.enum:
      return enumLabel(column, bytes.readUIntLE(at, end - at))
    case TYPE.set:
      return setLabels(column, bytes, at, end)
    case TYPE.json:
      return jsonText(bytes.subarray(at + meta, end))
    case TYPE.bit:
      return bytes.subarray(at, end)
    case TYPE.mariadbVarcharCompressed:
    case TYPE.mariadbBlobCompressed:
      return uncompressed(bytes.subarray(at + prefixBytes(column), end))
    case TYPE.string: {
      const own = bytes.subarray(at + prefixBytes(column), end)
      return column.collation === BINARY ? padded(own, meta) : own
    }
    default:
      return bytes.subarray(at + prefixBytes(column), end)
  }
}

/** The collation of bytes. */
const BINARY = 63

const COMMA = Buffer.from(',')

function labelsOf({ labels }: BinlogColumn): readonly Buffer[] {
  if (labels === undefined)
    throw new TidemarkError('PROTOCOL', 'the binlog does not name the labels of an ENUM or SET', {
      next: 'SET GLOBAL binlog_row_metadata = FULL, then a new generation',
    })
  return labels
}

/** 0 is the empty text that a statement without strict mode leaves of what is no label. */
function enumLabel(column: BinlogColumn, index: number): Buffer {
  if (index === 0) return Buffer.alloc(0)
  const label = labelsOf(column)[index - 1]
  if (label === undefined) throw new TidemarkError('PROTOCOL', 'the binlog has an ENUM value without a label')
  return label
}

function setLabels(column: BinlogColumn, bytes: Buffer, at: number, end: number): Buffer {
  const parts: Buffer[] = []
  for (const [i, label] of labelsOf(column).entries()) {
    const byte = at + (i >> 3)
    if (byte >= end || ((bytes[byte]! >> (i & 7)) & 1) === 0) continue
    if (parts.length > 0) parts.push(COMMA)
    parts.push(label)
  }
  return Buffer.concat(parts)
}

/**
 * The method in the upper four bits of the first byte, a bit for zlib without its wrapping, and in the lowest three how many
 * bytes the length takes (MariaDB, sql/field_comp.cc).
 */
function uncompressed(bytes: Buffer): Buffer {
  const [first] = bytes
  if (first === undefined) return bytes
  if (first === 0) return bytes.subarray(1)
  if (first >> 4 !== 8)
    throw new TidemarkError(
      'PROTOCOL',
      'the binlog has a compressed column of a method that is not known here',
    )
  const packed = bytes.subarray(1 + (first & 0x07))
  return (first & 0x08) === 0 ? inflateSync(packed) : inflateRawSync(packed)
}

/** Of BINARY(n), what the log leaves out at its end. */
function padded(bytes: Buffer, length: number): Buffer {
  return bytes.length < length ? Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]) : bytes
}

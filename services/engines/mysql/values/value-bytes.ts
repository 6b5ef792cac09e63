/** How many bytes of a rows event a value takes, its own length in front included. */
import { TidemarkError } from '../../../core/errors.ts'
import { type BinlogColumn, TYPE } from '../events/table-map.ts'
import { decimalBytes } from './decimal.ts'

/** Bytes of a fraction of seconds, by its digits. */
export function fractionBytes(digits: number): number {
  return (digits + 1) >> 1
}

/** @throws TidemarkError PROTOCOL */
export function valueBytes(column: BinlogColumn, bytes: Buffer, at: number, end: number): number {
  switch (column.type) {
    case TYPE.tiny:
    case TYPE.year:
      return 1
    case TYPE.short:
      return 2
    case TYPE.int24:
    case TYPE.date:
    case TYPE.newdate:
    case TYPE.time:
      return 3
    case TYPE.long:
    case TYPE.float:
    case TYPE.timestamp:
      return 4
    case TYPE.longlong:
    case TYPE.double:
    case TYPE.datetime:
      return 8
    case TYPE.null:
      return 0
    case TYPE.timestamp2:
      return 4 + fractionBytes(column.meta)
    case TYPE.datetime2:
      return 5 + fractionBytes(column.meta)
    case TYPE.time2:
      return 3 + fractionBytes(column.meta)
    case TYPE.newdecimal:
      return decimalBytes(column.meta, column.scale)
    case TYPE.bit:
      return (column.meta + 7) >> 3
    case TYPE.enum:
    case TYPE.set:
      return column.meta
    case TYPE.string:
    case TYPE.varString:
    case TYPE.varchar:
    case TYPE.mariadbVarcharCompressed:
      return prefixed(bytes, at, end, column.meta > 255 ? 2 : 1)
    case TYPE.tinyBlob:
    case TYPE.mediumBlob:
    case TYPE.longBlob:
    case TYPE.blob:
    case TYPE.mariadbBlobCompressed:
    case TYPE.json:
    case TYPE.geometry:
    case TYPE.vector:
      return prefixed(bytes, at, end, column.meta)
    default:
      throw new TidemarkError(
        'PROTOCOL',
        `the binlog has a value of type ${column.type}, which is not known here`,
      )
  }
}

function prefixed(bytes: Buffer, at: number, end: number, prefix: number): number {
  if (prefix < 1 || prefix > 4 || at + prefix > end)
    throw new TidemarkError('PROTOCOL', 'an event of the binlog ends within the length of a value')
  return prefix + bytes.readUIntLE(at, prefix)
}

/** Bytes of the length in front of a value that has one; zero for others. */
export function prefixBytes({ type, meta }: BinlogColumn): number {
  switch (type) {
    case TYPE.string:
    case TYPE.varString:
    case TYPE.varchar:
    case TYPE.mariadbVarcharCompressed:
      return meta > 255 ? 2 : 1
    case TYPE.tinyBlob:
    case TYPE.mediumBlob:
    case TYPE.longBlob:
    case TYPE.blob:
    case TYPE.mariadbBlobCompressed:
    case TYPE.json:
    case TYPE.geometry:
    case TYPE.vector:
      return meta
    default:
      return 0
  }
}

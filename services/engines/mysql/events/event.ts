/**
 * The frame of a binlog event, version 4, and its checksum (MySQL internals manual, "Binlog Event"; MariaDB Knowledge Base,
 * "Replication Protocol: event header").
 */
import { crc32 } from 'node:zlib'
import { TidemarkError } from '../../../core/errors.ts'

/** Types that both servers have, and after 160 MariaDB's own. Others are named by their number alone. */
export const EVENT = {
  query: 2,
  stop: 3,
  rotate: 4,
  intvar: 5,
  rand: 13,
  userVariable: 14,
  formatDescription: 15,
  xid: 16,
  beginLoadQuery: 17,
  executeLoadQuery: 18,
  tableMap: 19,
  writeRowsV1: 23,
  updateRowsV1: 24,
  deleteRowsV1: 25,
  incident: 26,
  heartbeat: 27,
  ignorable: 28,
  rowsQuery: 29,
  writeRows: 30,
  updateRows: 31,
  deleteRows: 32,
  gtid: 33,
  anonymousGtid: 34,
  previousGtids: 35,
  transactionContext: 36,
  viewChange: 37,
  xaPrepare: 38,
  partialUpdateRows: 39,
  transactionPayload: 40,
  heartbeatV2: 41,
  gtidTagged: 42,
  mariadbAnnotate: 160,
  mariadbCheckpoint: 161,
  mariadbGtid: 162,
  mariadbGtidList: 163,
  mariadbStartEncryption: 164,
  mariadbQueryCompressed: 165,
  mariadbWriteRowsCompressedV1: 166,
  mariadbUpdateRowsCompressedV1: 167,
  mariadbDeleteRowsCompressedV1: 168,
  mariadbWriteRowsCompressed: 169,
  mariadbUpdateRowsCompressed: 170,
  mariadbDeleteRowsCompressed: 171,
} as const

/** Of the event's flags: a reader that does not know its type may pass over it. */
export const IGNORABLE_FLAG = 0x80
/** Made by the server for this reader alone; it has no place in the log. */
export const ARTIFICIAL_FLAG = 0x20

const HEADER_BYTES = 19
const CHECKSUM_BYTES = 4

export interface BinlogEvent {
  readonly type: number
  /** Seconds since 1970, of the statement's beginning. */
  readonly timestamp: number
  readonly serverId: number
  /** Where the next event begins in its file, 32 bits: wraps in files of 4 GiB. */
  readonly nextPosition: number
  readonly flags: number
  /** Without header and checksum; a view of the packet. */
  readonly body: Buffer
}

export type Checksum = 'none' | 'crc32'

/**
 * @param bytes one event, without the packet's status byte
 * @param checksum of the log file that it is of; a format description tells its own
 * @throws TidemarkError PROTOCOL where the bytes are not those that the server wrote
 */
export function readEvent(bytes: Buffer, checksum: Checksum): BinlogEvent {
  if (bytes.length < HEADER_BYTES) throw new TidemarkError('PROTOCOL', 'an event of the binlog has no header')
  const type = bytes.readUInt8(4)
  const length = bytes.readUInt32LE(9)
  if (length !== bytes.length)
    throw new TidemarkError('PROTOCOL', 'an event of the binlog is not as long as its header says')
  const own = type === EVENT.formatDescription ? checksumOf(bytes) : checksum
  const end = own === 'crc32' ? bytes.length - CHECKSUM_BYTES : bytes.length
  if (own === 'crc32' && (end < HEADER_BYTES || crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)))
    throw new TidemarkError(
      'PROTOCOL',
      'an event of the binlog does not have the checksum that was written with it',
    )
  return {
    type,
    timestamp: bytes.readUInt32LE(0),
    serverId: bytes.readUInt32LE(5),
    nextPosition: bytes.readUInt32LE(13),
    flags: bytes.readUInt16LE(17),
    body: bytes.subarray(HEADER_BYTES, end),
  }
}

/** A format description ends with the algorithm and, whatever that is, room for a checksum. */
function checksumOf(description: Buffer): Checksum {
  const algorithm = description.at(-CHECKSUM_BYTES - 1)
  if (algorithm === 0) return 'none'
  if (algorithm === 1) return 'crc32'
  throw new TidemarkError('PROTOCOL', 'the binlog has checksums of a kind that is not known here')
}

/** What the format description says of the events behind it. */
export function checksumBehind(description: Buffer): Checksum {
  return checksumOf(description)
}

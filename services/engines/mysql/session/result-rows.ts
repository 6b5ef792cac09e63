/**
 * Rows of a query as the server sends them, over a socket that is ours: bytes, not values (MySQL internals manual, "Text
 * Resultset"). Nothing is read on while the caller is busy.
 */
import { TidemarkError } from '../../../core/errors.ts'
import type { PacketLine } from './packets.ts'

const COMMAND_QUERY = 0x03
const REFUSED = 0xff
const END = 0xfe
/** An END packet is shorter than this; a row that begins with the same byte is longer. */
const END_BYTES = 9
const NULL_BYTE = 0xfb

/** Where a column's bytes lie, from and to; `at` is -1 where it is NULL. */
export interface ResultRow {
  readonly bytes: Buffer
  /** Two numbers a column; used again for the next row. */
  readonly offsets: Int32Array
}

/**
 * One query after the other; the rows of one are all taken before the next is asked.
 *
 * @throws TidemarkError SOURCE_UNREACHABLE, PROTOCOL; what the server refuses as SOURCE_UNSUITABLE
 */
export async function* queryRows(line: PacketLine, sql: string): AsyncGenerator<ResultRow> {
  line.send(Buffer.concat([Buffer.from([COMMAND_QUERY]), Buffer.from(sql, 'utf8')]))
  const columns = columnCount(await line.next())
  if (columns === 0) return
  for (let i = 0; i < columns; i++) await line.next()
  if (!isEnd(await line.next())) throw unexpected()
  const offsets = new Int32Array(2 * columns)
  for (;;) {
    const packet = await line.next()
    if (isEnd(packet)) return
    if (packet[0] === REFUSED) throw refusalOf(packet)
    readRow(packet, offsets)
    yield { bytes: packet, offsets }
  }
}

function columnCount(packet: Buffer): number {
  if (packet[0] === REFUSED) throw refusalOf(packet)
  const [count = 0] = packet
  // Zero: done, and there are no rows.
  if (count > 0xfc) throw unexpected()
  return count === 0xfc ? packet.readUInt16LE(1) : count
}

function isEnd(packet: Buffer): boolean {
  return packet[0] === END && packet.length < END_BYTES
}

function unexpected(): TidemarkError {
  return new TidemarkError('PROTOCOL', 'the server answers a query with something that is no result')
}

/** ERR packet: a number, the SQL state, and words of the server's own. */
export function refusalOf(packet: Buffer): TidemarkError {
  const number = packet.readUInt16LE(1)
  const text = packet
    .subarray(3)
    .toString('utf8')
    .replace(/^#...../, '')
  return new TidemarkError('SOURCE_UNSUITABLE', `the server refuses (${number}): ${text}`)
}

/** Each value with its length in front. @throws TidemarkError PROTOCOL */
function readRow(bytes: Buffer, offsets: Int32Array): void {
  let at = 0
  for (let i = 0; i < offsets.length; i += 2) {
    const first = bytes[at++]
    if (first === undefined) throw unexpected()
    if (first === NULL_BYTE) {
      offsets[i] = -1
      continue
    }
    let length = first
    if (first > NULL_BYTE) {
      const size = first === 0xfc ? 2 : first === 0xfd ? 3 : 8
      if (at + size > bytes.length) throw unexpected()
      length = size === 8 ? Number(bytes.readBigUInt64LE(at)) : bytes.readUIntLE(at, size)
      at += size
    }
    if (length > bytes.length - at) throw unexpected()
    offsets[i] = at
    at += length
    offsets[i + 1] = at
  }
}

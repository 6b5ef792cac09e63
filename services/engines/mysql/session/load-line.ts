/** Statements with bytes in them, and rows from a stream, over a socket that is ours: nothing is held but what is being sent. */
import { TidemarkError } from '../../../core/errors.ts'
import type { PacketLine } from './packets.ts'

const COMMAND_QUERY = 0x03
const OK = 0x00
const REFUSED = 0xff
const ASKS_FOR_FILE = 0xfb

/** What the server refuses, with its number and state. */
export class ServerRefusal extends Error {
  readonly errno: number
  readonly sqlState: string
  constructor(packet: Buffer) {
    super(
      packet
        .subarray(3)
        .toString('utf8')
        .replace(/^#...../, ''),
    )
    this.name = 'ServerRefusal'
    this.errno = packet.readUInt16LE(1)
    this.sqlState = packet[3] === 0x23 ? packet.toString('latin1', 4, 9) : 'HY000'
  }
}

export interface Done {
  readonly rows: number
  readonly warnings: number
}

/** @throws ServerRefusal, TidemarkError SOURCE_UNREACHABLE, PROTOCOL */
export async function execute(line: PacketLine, parts: readonly Buffer[]): Promise<Done> {
  await line.sendAll([Buffer.from([COMMAND_QUERY]), ...parts])
  return done(await line.next())
}

/**
 * LOAD DATA LOCAL: the rows are what the server takes for the file. A reader that fails ends the connection, and with it the
 * statement: half of the rows are none.
 *
 * @throws ServerRefusal, TidemarkError SOURCE_UNREACHABLE, PROTOCOL, and what the rows throw
 */
export async function loadLocal(line: PacketLine, sql: string, rows: AsyncIterable<Buffer>): Promise<Done> {
  await line.sendAll([Buffer.from([COMMAND_QUERY]), Buffer.from(sql, 'utf8')])
  const answer = await line.next()
  if (answer[0] === REFUSED) throw new ServerRefusal(answer)
  if (answer[0] !== ASKS_FOR_FILE) throw unexpected()
  try {
    let sequence = 2
    for await (const chunk of rows) if (chunk.length > 0) sequence = await line.sendPiece(chunk, sequence)
    await line.sendPiece(Buffer.alloc(0), sequence)
  } catch (error) {
    line.close()
    throw error
  }
  return done(await line.next())
}

function done(packet: Buffer): Done {
  if (packet[0] === REFUSED) throw new ServerRefusal(packet)
  if (packet[0] !== OK) throw unexpected()
  const rows = lengthEncoded(packet, 1)
  const last = lengthEncoded(packet, rows.next)
  // Two bytes of state in between.
  return { rows: rows.value, warnings: packet.readUInt16LE(last.next + 2) }
}

function lengthEncoded(packet: Buffer, at: number): { readonly value: number; readonly next: number } {
  const first = packet[at] ?? 0
  if (first < 0xfb) return { value: first, next: at + 1 }
  const size = first === 0xfc ? 2 : first === 0xfd ? 3 : 8
  const value = size === 8 ? Number(packet.readBigUInt64LE(at + 1)) : packet.readUIntLE(at + 1, size)
  return { value, next: at + 1 + size }
}

function unexpected(): TidemarkError {
  return new TidemarkError('PROTOCOL', 'the server answers a statement with something that is no answer')
}

/** Asks a server for its binlog, as a replica does, and yields the events with their checksums proven. */
import { TidemarkError } from '../../../core/errors.ts'
import { type OpenSession, takeLine } from '../session/connect.ts'
import type { PacketLine } from '../session/packets.ts'
import { refusalOf } from '../session/result-rows.ts'
import { type BinlogEvent, type Checksum, checksumBehind, EVENT, readEvent } from '../events/event.ts'
import type { ExecutedGtids } from '../events/gtid.ts'

export interface DumpRequest {
  /** What was read already: everything else that the server has comes. */
  readonly executed: ExecutedGtids
  /** Of this reader among all replicas of the server: two with one number throw each other out. */
  readonly serverId: number
  /** How often the server says that it is there while nothing happens. */
  readonly heartbeatMs: number
  /** Bytes of the largest event. */
  readonly largest: number
}

const COMMAND_DUMP = 0x12
const COMMAND_DUMP_GTID = 0x1e
/** The server looks at the GTIDs and not at the position. */
const THROUGH_GTID = 0x04
/** Where the first event of a file begins. */
const FIRST_POSITION = 4
/** That this replica knows MariaDB's GTIDs. */
const MARIADB_CAPABILITY = 4
const NANOS_PER_MS = 1_000_000

const OK = 0x00
const END = 0xfe
const REFUSED = 0xff

/**
 * The events from the first that is not in `executed` on, for ever: ends with the signal, or throws. The session is used up.
 *
 * @throws TidemarkError SOURCE_UNREACHABLE, PROTOCOL; what the server refuses as SOURCE_UNSUITABLE
 */
export async function* dumpBinlog(
  session: OpenSession,
  request: DumpRequest,
  signal: AbortSignal,
): AsyncGenerator<BinlogEvent> {
  await announce(session, request)
  const line = takeLine(session, request.largest)
  const stop = (): void => line.close()
  signal.addEventListener('abort', stop, { once: true })
  try {
    line.send(commandOf(request))
    yield* events(line)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    line.close()
  }
}

async function* events(line: PacketLine): AsyncGenerator<BinlogEvent> {
  let checksum: Checksum = 'none'
  for (;;) {
    const packet = await line.next()
    if (packet[0] === REFUSED) throw refusalOf(packet)
    if (packet[0] === END) throw new TidemarkError('SOURCE_UNREACHABLE', 'the server ended its binlog')
    if (packet[0] !== OK) throw new TidemarkError('PROTOCOL', 'the server sent something that is no event')
    const bytes = packet.subarray(1)
    const event = readEvent(bytes, checksum)
    if (event.type === EVENT.formatDescription) checksum = checksumBehind(bytes)
    yield event
  }
}

/** What a replica says of itself before it asks; without the first the server takes the checksums away. */
async function announce({ connection, server }: OpenSession, request: DumpRequest): Promise<void> {
  const heartbeat = request.heartbeatMs * NANOS_PER_MS
  const { executed } = request
  const mariadb =
    executed.flavour === 'mariadb'
      ? `, @mariadb_slave_capability = ${MARIADB_CAPABILITY}, @slave_connect_state = '${executed.set.toString()}', @slave_gtid_strict_mode = 1`
      : ''
  if (executed.flavour !== server.flavour)
    throw new TidemarkError('SOURCE_CHANGED', `the source is ${server.version} by now`)
  await connection.query(
    `SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum, @master_heartbeat_period = ${heartbeat}, @source_heartbeat_period = ${heartbeat}${mariadb}`,
  )
}

function commandOf({ executed, serverId }: DumpRequest): Buffer {
  if (executed.flavour === 'mariadb') {
    const command = Buffer.alloc(11)
    command.writeUInt8(COMMAND_DUMP, 0)
    command.writeUInt32LE(FIRST_POSITION, 1)
    command.writeUInt32LE(serverId, 7)
    return command
  }
  const set = executed.set.encode()
  const head = Buffer.alloc(23)
  head.writeUInt8(COMMAND_DUMP_GTID, 0)
  head.writeUInt16LE(THROUGH_GTID, 1)
  head.writeUInt32LE(serverId, 3)
  head.writeBigUInt64LE(BigInt(FIRST_POSITION), 11)
  head.writeUInt32LE(set.length, 19)
  return Buffer.concat([head, set])
}

/**
 * Packets of the client/server protocol over a socket that the driver has opened and authenticated (MySQL internals manual,
 * "MySQL Packets"). The driver's own reading of the binlog knows no back-pressure, no GTIDs and no checksums: behind the
 * handshake the socket is ours.
 */
import type { Socket } from 'node:net'
import { TidemarkError } from '../../../core/errors.ts'

/** A packet of this length goes on in the next. */
const MOST = 0xff_ffff
const HEADER = 4
const NOTHING = Buffer.alloc(0)

/** Sends one command; commands are far shorter than a packet may be. */
function sendCommand(socket: Socket, command: Buffer): void {
  const header = Buffer.alloc(HEADER)
  header.writeUIntLE(command.length, 0, 3)
  socket.write(Buffer.concat([header, command]))
}

/**
 * The server's packets, in order, each whole. Nothing is read from the socket while the reader is busy.
 *
 * @param largest bytes: a larger one is refused before it is held
 * @throws TidemarkError PROTOCOL
 */
async function* readPackets(socket: Socket, largest: number): AsyncGenerator<Buffer> {
  const splitter = new PacketSplitter(largest)
  for await (const chunk of socket as AsyncIterable<Buffer>) yield* splitter.take(chunk)
  if (splitter.isWithin)
    throw new TidemarkError('PROTOCOL', 'the server ended the connection within a packet')
}

/** A socket of ours: commands out, packets in, one after the other. */
export class PacketLine {
  readonly #socket: Socket
  readonly #packets: AsyncGenerator<Buffer>

  /** @param largest bytes of the largest packet that may be held */
  constructor(socket: Socket, largest: number) {
    this.#socket = socket
    this.#packets = readPackets(socket, largest)
  }

  send(command: Buffer): void {
    sendCommand(this.#socket, command)
  }

  /** A command in parts, of any length; resolves when it is out. */
  async sendAll(parts: readonly Buffer[]): Promise<void> {
    await this.#write(parts, 0)
  }

  /** A piece of what follows a command. @returns the number of the next one */
  async sendPiece(piece: Buffer, sequence: number): Promise<number> {
    return await this.#write([piece], sequence)
  }

  /** A body of exactly the largest length has an empty packet behind it. */
  async #write(parts: readonly Buffer[], sequence: number): Promise<number> {
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    let number = sequence
    let left = length
    let room = 0
    const header = (): void => {
      const size = Math.min(left, MOST)
      const bytes = Buffer.alloc(HEADER)
      bytes.writeUIntLE(size, 0, 3)
      bytes[3] = number++ & 0xff
      this.#socket.write(bytes)
      room = size
      left -= size
    }
    this.#socket.cork()
    header()
    for (const part of parts)
      for (let at = 0; at < part.length; ) {
        if (room === 0) header()
        const end = Math.min(part.length, at + room)
        this.#socket.write(part.subarray(at, end))
        room -= end - at
        at = end
      }
    if (length > 0 && length % MOST === 0) header()
    // Until it is out the bytes are the sender's; one that is cut off is told by the answer that does not come.
    const sent = new Promise<void>((resolve) => void this.#socket.write(NOTHING, () => resolve()))
    this.#socket.uncork()
    await sent
    return number
  }

  /** @throws TidemarkError SOURCE_UNREACHABLE, PROTOCOL */
  async next(): Promise<Buffer> {
    const { value, done } = await this.#packets.next()
    if (done === true) throw new TidemarkError('SOURCE_UNREACHABLE', 'the server ended the connection')
    return value
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** Cuts what arrives into packets; its own memory is one packet. */
export class PacketSplitter {
  readonly #largest: number
  #rest: Buffer = Buffer.alloc(0)
  /** Of a packet that spans several. */
  #parts: Buffer[] = []
  #held = 0
  /** Filled piece by piece where a packet is longer than what arrives at once. */
  #filling: { readonly bytes: Buffer; at: number } | undefined

  constructor(largest: number) {
    this.#largest = largest
  }

  get isWithin(): boolean {
    return this.#rest.length > 0 || this.#parts.length > 0 || this.#filling !== undefined
  }

  *take(chunk: Buffer): Generator<Buffer> {
    let bytes = chunk
    if (this.#filling !== undefined) {
      bytes = this.#fill(bytes)
      if (this.#filling.at < this.#filling.bytes.length) return
      const { bytes: body } = this.#filling
      this.#filling = undefined
      yield* this.#packet(body)
    }
    if (this.#rest.length > 0) bytes = Buffer.concat([this.#rest, bytes])
    let at = 0
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUIntLE(at, 3)
      if (this.#held + length > this.#largest)
        throw new TidemarkError('PROTOCOL', 'the server sends a packet that is larger than may be held')
      if (bytes.length - at - HEADER < length) {
        if (length <= chunk.length) break
        this.#rest = Buffer.alloc(0)
        this.#filling = { bytes: Buffer.allocUnsafe(length), at: 0 }
        this.#fill(bytes.subarray(at + HEADER))
        return
      }
      const from = at + HEADER
      at = from + length
      yield* this.#packet(bytes.subarray(from, at))
    }
    this.#rest = bytes.subarray(at)
  }

  /** @returns what is left of the bytes */
  #fill(bytes: Buffer): Buffer {
    const filling = this.#filling!
    const taken = bytes.copy(filling.bytes, filling.at, 0, filling.bytes.length - filling.at)
    filling.at += taken
    return bytes.subarray(taken)
  }

  *#packet(body: Buffer): Generator<Buffer> {
    if (body.length === MOST) {
      this.#parts.push(body)
      this.#held += body.length
      return
    }
    if (this.#parts.length === 0) {
      yield body
      return
    }
    const whole = Buffer.concat([...this.#parts, body])
    this.#parts = []
    this.#held = 0
    yield whole
  }
}

/**
 * The bulk protocol over a connection that `pg` has opened (it does TLS, SCRAM and the start-up): from here on the
 * socket is ours, so that a row costs a look at its length and nothing else. PostgreSQL manual, "Frontend/Backend
 * Protocol": every message is a type byte, a 32-bit length that counts itself, and a body.
 */
import type { Socket } from 'node:net'
import type pg from 'pg'
import { TidemarkError } from '../../../core/errors.ts'
import { bytesOfText, textOfBytes } from '../../../core/escaped-bytes.ts'
import { release } from '../../../core/release.ts'
import { deferred } from '../../../core/running-state.ts'
import { LARGE_MESSAGE, LargeMessage } from './large-message.ts'
import { cancelStatement } from './cancel-statement.ts'
import { backendOf, connect, type ConnectionOptions, connectionError } from './session.ts'

const COPY_DATA = 0x64 // d
const COPY_DONE = 0x63 // c
const COMPLETE = 0x43 // C
const COPY_IN_RESPONSE = 0x47 // G
const COPY_OUT_RESPONSE = 0x48 // H
const COPY_BOTH_RESPONSE = 0x57 // W
const DATA_ROW = 0x44 // D
const ERROR = 0x45 // E
const NOTICE = 0x4e // N
const READY = 0x5a // Z

/** Sees each CopyData body: [start, end) of the buffer, valid during the call only. */
export type CopyDataHandler = (buffer: Buffer, start: number, end: number) => void

/** What becomes of a CopyData message whose body is larger than `limit`: its first bytes are told, the rest is passed over. */
export interface CopyDataLimit {
  /** Bytes. */
  readonly limit: number
  readonly onRefused: (head: Buffer, bytes: number) => void
}

/** What the server says beside the data, without ending anything, in its place among them. */
export interface Notice {
  readonly message: string
  /** The server's function that says it; unlike the message never translated. */
  readonly routine: string
}

export type NoticeHandler = (notice: Notice) => void

interface Exchange {
  onNotice: NoticeHandler | undefined
  onCopyData: CopyDataHandler | undefined
  limit: CopyDataLimit | undefined
  onStarted: (() => void) | undefined
  rows: (string | null)[][]
  /** The last command tag, e.g. COPY 42. */
  tag: string
  error: Error | undefined
  settle(error: Error | undefined): void
}

interface Outcome {
  readonly rows: (string | null)[][]
  readonly tag: string
}

export class WireSession {
  /** Of the server's process. */
  readonly processId: number
  readonly #socket: Socket
  readonly #cancel: () => void
  readonly #options: ConnectionOptions
  #pending: Buffer[] = []
  #pendingBytes = 0
  #needed = 5
  #large: LargeMessage | undefined
  #exchange: Exchange | undefined
  #closed: Error | undefined

  private constructor(client: pg.Client, options: ConnectionOptions) {
    const { socket, processId } = backendOf(client)
    this.#socket = socket
    this.processId = processId
    this.#cancel = () => cancelStatement(client)
    this.#options = options
    socket.removeAllListeners('data')
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#feed(chunk)
      } catch (error) {
        this.#end(error instanceof Error ? error : new Error(String(error)))
      }
    })
    socket.on('error', (error) => this.#end(connectionError(error, options.role)))
    socket.on('close', () =>
      this.#end(new TidemarkError(unreachable(options), 'the server closed the connection')),
    )
  }

  static async open(options: ConnectionOptions): Promise<WireSession> {
    return new WireSession(await connect(options), options)
  }

  /** Bytes that have come so far; undefined while we do not read, or have asked for nothing. */
  get heard(): number | undefined {
    return this.#socket.isPaused() || this.#exchange === undefined ? undefined : this.#socket.bytesRead
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    if (this.#closed === undefined) this.#socket.resume()
  }

  /** Runs statements by the simple protocol; resolves with the rows' texts. */
  async query(sql: string): Promise<(string | null)[][]> {
    return (await this.#run(sql)).rows
  }

  /** COPY … TO STDOUT. `onCopyData` may pause the session and resume it later. */
  async copyOut(sql: string, onCopyData: CopyDataHandler, limit?: CopyDataLimit): Promise<void> {
    await this.#run(sql, { onCopyData, limit })
  }

  /** COPY … FROM STDIN; a chunk's bytes may change once the second one after it is asked for. Resolves with the rows taken. */
  async copyIn(sql: string, chunks: AsyncIterable<Buffer>): Promise<number> {
    const started = Promise.withResolvers<void>()
    const done = this.#run(sql, { onStarted: started.resolve })
    done.catch(started.reject)
    await started.promise
    let before: Promise<void> = Promise.resolve()
    try {
      for await (const chunk of chunks) {
        if (this.#exchange === undefined || this.#exchange.error !== undefined) break
        const header = Buffer.allocUnsafe(5)
        header[0] = COPY_DATA
        header.writeInt32BE(chunk.length + 4, 1)
        const sent = deferred<void>()
        this.#socket.cork()
        this.#socket.write(header)
        // Called with an error too, when the connection ends.
        this.#socket.write(chunk, () => sent.resolve())
        this.#socket.uncork()
        // One chunk may be under way while the next is made: the one before it is free again (see the contract).
        await before
        before = sent.promise
      }
    } catch (error) {
      // CopyFail: the server drops all of it.
      this.#socket.write(frame(0x66, Buffer.from('stopped\0')))
      await done.catch(() => undefined)
      throw error
    }
    this.#socket.write(frame(COPY_DONE, Buffer.alloc(0)))
    return Number(/^COPY (\d+)$/.exec((await done).tag)?.[1] ?? -1)
  }

  /** START_REPLICATION: resolves when the stream has started; `ended` settles when it ends, normally with an error. */
  async replicate(
    sql: string,
    onCopyData: CopyDataHandler,
    limit?: CopyDataLimit,
    onNotice?: NoticeHandler,
  ): Promise<{ readonly ended: Promise<void> }> {
    const started = Promise.withResolvers<void>()
    const ended = this.#run(sql, { onCopyData, limit, onNotice, onStarted: started.resolve }).then(
      () => undefined,
    )
    ended.catch(started.reject)
    await started.promise
    return { ended }
  }

  /** One CopyData message to the server (feedback). */
  sendCopyData(body: Buffer): void {
    if (this.#closed === undefined) this.#socket.write(frame(COPY_DATA, body))
  }

  /** Ends the connection at once, and a statement that is under way. Idempotent. */
  close(): void {
    // One that sends data ends when the server finds nobody to send it to.
    if (this.#exchange !== undefined && this.#exchange.onCopyData === undefined) this.#cancel()
    if (this.#closed === undefined && this.#socket.writable) this.#socket.write(frame(0x58, Buffer.alloc(0)))
    this.#end(new TidemarkError('INTERRUPTED', 'connection closed by us'))
    this.#socket.destroy()
  }

  #run(
    sql: string,
    handlers: Partial<Pick<Exchange, 'onCopyData' | 'limit' | 'onNotice' | 'onStarted'>> = {},
  ): Promise<Outcome> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (this.#exchange !== undefined)
      return Promise.reject(new TidemarkError('INTERNAL', 'two exchanges at once on one connection'))
    const result = Promise.withResolvers<Outcome>()
    const exchange: Exchange = {
      onCopyData: handlers.onCopyData,
      limit: handlers.limit,
      onNotice: handlers.onNotice,
      onStarted: handlers.onStarted,
      rows: [],
      tag: '',
      error: undefined,
      settle: (error) =>
        error === undefined
          ? result.resolve({ rows: exchange.rows, tag: exchange.tag })
          : result.reject(error),
    }
    this.#exchange = exchange
    this.#socket.write(frame(0x51, bytesOfText(`${sql}\0`)))
    return result.promise
  }

  /** Cuts the chunk into messages; what is incomplete waits, and is joined once when its last byte is there. */
  #feed(chunk: Buffer): void {
    let buffer = chunk
    if (this.#large !== undefined) {
      const taken = this.#large.take(chunk)
      if (!this.#large.isWhole) return
      const message = this.#large
      this.#large = undefined
      this.#largeMessage(message)
      buffer = chunk.subarray(taken)
    }
    if (this.#pendingBytes > 0) {
      this.#pending.push(chunk)
      this.#pendingBytes += chunk.length
      if (this.#pendingBytes < this.#needed) return
      buffer = Buffer.concat(this.#pending, this.#pendingBytes)
      this.#pending = []
      this.#pendingBytes = 0
    }
    const length = buffer.length
    const most = this.#most
    let at = 0
    while (length - at >= 5) {
      const end =
        at +
        1 +
        ((buffer[at + 1]! << 24) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 8) | buffer[at + 4]!)
      if (end > length) break
      const type = buffer[at]!
      if (type !== COPY_DATA) this.#message(type, buffer, at + 5, end)
      else if (end - at - 5 <= most) this.#exchange?.onCopyData?.(buffer, at + 5, end)
      else this.#exchange?.limit?.onRefused(buffer.subarray(at + 5, end), end - at - 5)
      at = end
    }
    if (at < length) {
      this.#needed = length - at >= 5 ? 1 + buffer.readInt32BE(at + 1) : 5
      if (this.#needed >= LARGE_MESSAGE) {
        const isTaken = buffer[at] !== COPY_DATA || this.#needed - 5 <= this.#most
        this.#large = new LargeMessage(this.#needed, isTaken)
        this.#large.take(buffer.subarray(at))
        return
      }
      this.#pending = [buffer.subarray(at)]
      this.#pendingBytes = length - at
    }
  }

  /** The largest body of a CopyData message that is taken. */
  get #most(): number {
    return this.#exchange?.limit?.limit ?? Number.POSITIVE_INFINITY
  }

  #largeMessage({ bytes, length, isTaken }: LargeMessage): void {
    if (bytes[0] !== COPY_DATA) this.#message(bytes[0]!, bytes, 5, length)
    else if (isTaken) this.#exchange?.onCopyData?.(bytes, 5, length)
    else this.#exchange?.limit?.onRefused(bytes.subarray(5), length - 5)
    // It was valid during the call alone.
    release(bytes)
  }

  #message(type: number, buffer: Buffer, start: number, end: number): void {
    const exchange = this.#exchange
    switch (type) {
      case DATA_ROW:
        exchange?.rows.push(dataRow(buffer, start))
        break
      case ERROR:
        if (exchange !== undefined) exchange.error ??= serverError(buffer, start, end)
        else this.#end(connectionError(serverError(buffer, start, end), this.#options.role))
        break
      case NOTICE:
        exchange?.onNotice?.(serverError(buffer, start, end))
        break
      case COPY_IN_RESPONSE:
      case COPY_OUT_RESPONSE:
      case COPY_BOTH_RESPONSE:
        exchange?.onStarted?.()
        break
      case COMPLETE:
        if (exchange !== undefined) exchange.tag = buffer.toString('latin1', start, end - 1)
        break
      case READY:
        this.#exchange = undefined
        exchange?.settle(exchange.error)
        break
      default:
        break
    }
  }

  #end(error: Error): void {
    if (this.#closed !== undefined) return
    const exchange = this.#exchange
    this.#closed = exchange?.error ?? error
    this.#exchange = undefined
    exchange?.settle(this.#closed)
    this.#socket.destroy()
  }
}

function unreachable({ role }: ConnectionOptions): 'SOURCE_UNREACHABLE' | 'TARGET_UNREACHABLE' {
  return role === 'source' ? 'SOURCE_UNREACHABLE' : 'TARGET_UNREACHABLE'
}

function frame(type: number, body: Buffer): Buffer {
  const out = Buffer.allocUnsafe(5 + body.length)
  out[0] = type
  out.writeInt32BE(4 + body.length, 1)
  body.copy(out, 5)
  return out
}

function dataRow(buffer: Buffer, start: number): (string | null)[] {
  const row: (string | null)[] = []
  let at = start + 2
  for (let left = buffer.readInt16BE(start); left > 0; left--) {
    const length = buffer.readInt32BE(at)
    at += 4
    if (length < 0) row.push(null)
    else {
      row.push(textOfBytes(buffer, at, at + length))
      at += length
    }
  }
  return row
}

/** ErrorResponse and NoticeResponse: fields of a type byte and a string. Detail and context may hold row values and are left out. */
function serverError(
  buffer: Buffer,
  start: number,
  end: number,
): Error & { readonly code: string; readonly routine: string } {
  let message = 'server error'
  let code = ''
  let routine = ''
  for (let at = start; at < end && buffer[at] !== 0; ) {
    const stop = buffer.indexOf(0, at + 1)
    const text = buffer.toString('utf8', at + 1, stop)
    if (buffer[at] === 0x4d) message = text
    if (buffer[at] === 0x43) code = text
    if (buffer[at] === 0x52) routine = text
    at = stop + 1
  }
  return Object.assign(new Error(message), { code, routine })
}

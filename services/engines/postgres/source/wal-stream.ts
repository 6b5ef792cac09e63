/** The running stream: START_REPLICATION, frames in, items out, back-pressure on the socket. */
import { BoundedQueue } from '../../../core/bounded-queue.ts'
import { type Clock, type Randomness, systemRandomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { rowTooLarge } from '../../../core/row-limit.ts'
import {
  comparePositions,
  laterPosition,
  ORIGIN,
  type Position,
  positionOf,
  positionText,
} from '../../../core/position.ts'
import { NO_SUBJECTS, type Subjects } from '../../../core/relation.ts'
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { bytesOf, type LogItem } from '../../../core/transaction.ts'
import type { TextEncoding } from '../../../formats/change-schema.ts'
import type { SlotState } from '../admin/slot.ts'
import { Feedback } from './feedback.ts'
import type { HistoryProof } from './history-proof.ts'
import { OUR_SCHEMA } from '../session/names.ts'
import { type SilenceLimits, watchSilence } from '../session/silence.ts'
import { publicationHole, streamError } from '../admin/slot.ts'
import { type RefusedRow, TransactionAssembler } from './transaction-assembler.ts'
import { type Notice, WireSession } from '../session/wire-session.ts'

const XLOG_DATA = 0x77 // w
const KEEPALIVE = 0x6b // k
const XLOG_HEADER = 25

export interface WalStreamOptions {
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly text: TextEncoding
  readonly subjects?: Subjects | undefined
  readonly timelineOf: (lsn: Position) => number
  readonly applicationName: string
  readonly clock: Clock
  readonly randomness?: Randomness | undefined
  /** Rows whose messages have more bytes are passed over, with a gap; none where it is not given. */
  readonly largestRow?: number | undefined
  readonly silence?: SilenceLimits | undefined
  /** What must come again before anything else counts. */
  readonly proof?: HistoryProof | undefined
  readonly slotState: () => Promise<SlotState | undefined>
}

export class WalStream {
  readonly #options: WalStreamOptions
  readonly #queue: BoundedQueue<LogItem>
  #session: WireSession | undefined
  #feedback: Feedback | undefined
  /** The server's newest WAL position that it told us. */
  serverHead: Position = positionOf(0n)
  #received: Position = positionOf(0n)
  #acknowledged: Position = ORIGIN
  #lastHeartbeat = 0
  #heartbeatWanted = false
  /** Whether the source has the history that is stored; nothing is acknowledged before. */
  #isProven = true
  /** What comes behind is no part of the stream. */
  #isOver = false

  constructor(options: WalStreamOptions) {
    this.#options = options
    this.#queue = new BoundedQueue<LogItem>(LIMITS.changeLogBytes / 4, bytesOf)
  }

  acknowledge(end: Position): void {
    this.#acknowledged = laterPosition(this.#acknowledged, end)
    if (this.#isProven) this.#feedback?.advance(end)
  }

  /** Asks for a heartbeat at the next keepalive, whatever the time. */
  wantHeartbeat(): void {
    this.#heartbeatWanted = true
    this.#feedback?.askForKeepalive()
  }

  /** Yields items until the signal or an error ends it. Connects when first asked. */
  async *run(from: Position, signal: AbortSignal): AsyncIterable<LogItem> {
    const { clock } = this.#options
    const session = await WireSession.open({
      url: this.#options.url,
      applicationName: this.#options.applicationName,
      replication: true,
      role: 'source',
    })
    const onAbort = (): void => session.close()
    signal.addEventListener('abort', onAbort, { once: true })
    this.#session = session
    const over = new AbortController()
    try {
      signal.throwIfAborted()
      const { proof } = this.#options
      this.#isProven = proof === undefined || proof.isComplete
      const assembler = new TransactionAssembler({
        emit: (item) => this.#emit(item),
        text: this.#options.text,
        subjects: this.#options.subjects ?? NO_SUBJECTS,
        timelineOf: this.#options.timelineOf,
        skipBelow: from,
        onSkipped: (head) => proof?.see(head),
        onReached: (lsn) => this.#prove(proof, lsn),
        onRefused: (row) => this.#refuse(row),
      })
      const { silence = LIMITS.silence } = this.#options
      // An idle line is asked often enough never to count as silent.
      const intervalMs = Math.min(await statusInterval(session), silence.silenceMs / 3)
      const feedback = new Feedback({
        send: (body) => session.sendCopyData(body),
        clock,
        // Zero leaves the slot where it is: what comes again from there is the proof.
        durable: this.#isProven ? this.#acknowledged : ORIGIN,
        intervalMs,
      })
      this.#feedback = feedback
      this.#lastHeartbeat = clock.elapsed() - LIMITS.heartbeatMs + LIMITS.firstHeartbeatMs
      this.#queue.onRoom = () => session.resume()
      const { ended } = await session.replicate(
        this.#command(this.#isProven ? from : ORIGIN),
        (buffer, start, end) => {
          if (buffer[start] === XLOG_DATA) {
            this.serverHead = laterPosition(this.serverHead, positionOf(buffer.readBigUInt64BE(start + 9)))
            assembler.message(buffer, start + XLOG_HEADER, end)
          } else if (buffer[start] === KEEPALIVE) {
            this.#keepalive(buffer, start, assembler, feedback, proof)
          }
        },
        {
          limit: this.#largestRow + XLOG_HEADER,
          onRefused: (head, bytes) => assembler.refused(head, XLOG_HEADER, bytes - XLOG_HEADER),
        },
        (notice) => this.#notice(notice),
      )
      void watchSilence(
        {
          url: this.#options.url,
          clock,
          pid: session.processId,
          // Who does not read hears nothing: that is no silence of the server.
          heard: () => session.heard,
          onDead: (error) => {
            this.#queue.fail(error)
            session.close()
          },
          limits: silence,
        },
        over.signal,
      )
      ended.then(
        () => this.#queue.fail(new TidemarkError('SOURCE_UNREACHABLE', 'the source ended the stream')),
        async (error) => {
          if (this.#isOver) return
          const known = await streamError(error, this.#options.slotState)
          // What came before is whole, and stays: it is the last that the stream has.
          if (known.code === 'PUBLICATION_MISSING') this.#queue.end(known)
          else this.#queue.fail(known)
        },
      )
      yield* this.#queue.read(signal)
    } catch (error) {
      signal.throwIfAborted()
      throw await streamError(error, this.#options.slotState)
    } finally {
      over.abort(new DOMException('over', 'AbortError'))
      signal.removeEventListener('abort', onAbort)
      // A last word, so that a stop leaves the slot at what is durable.
      this.#feedback?.answer()
      this.#feedback?.stop()
      session.close()
    }
  }

  #command(from: Position): string {
    const options = [
      `proto_version '1'`,
      `publication_names ${quoteLiteral(quoteName(this.#options.publication))}`,
    ]
    return `START_REPLICATION SLOT ${quoteName(this.#options.slot)} LOGICAL ${positionText(from)} (${options.join(', ')})`
  }

  get #largestRow(): number {
    return this.#options.largestRow ?? Number.POSITIVE_INFINITY
  }

  /** Its table has a gap from there. @throws TidemarkError ROW_TOO_LARGE where only we can write that row */
  #refuse({ at, table: { oid, schema, name }, bytes }: RefusedRow): void {
    const reason = rowTooLarge(bytes, this.#largestRow)
    if (schema === OUR_SCHEMA)
      throw new TidemarkError('ROW_TOO_LARGE', `${reason}: it is the record of a schema change`)
    const { randomness = systemRandomness } = this.#options
    this.#emit({
      kind: 'gap',
      gap: { id: randomness.uuid(), from: at, reason, scope: { kind: 'table', oid, schema, name } },
    })
  }

  /** In its place in the stream: nothing that comes behind it counts. */
  #notice({ routine, message }: Notice): void {
    if (routine !== 'LoadPublications' || this.#isOver) return
    this.#queue.end(publicationHole(message))
    this.#isOver = true
    this.#session?.close()
  }

  #emit(item: LogItem): void {
    if (this.#isOver) return
    if (item.kind === 'changes' && item.end !== undefined) this.#received = item.end
    if (!this.#queue.push(item)) this.#session?.pause()
  }

  /** 'k': the server's end of WAL, its clock, and whether it wants an answer. */
  #keepalive(
    buffer: Buffer,
    start: number,
    assembler: TransactionAssembler,
    feedback: Feedback,
    proof: HistoryProof | undefined,
  ): void {
    const walEnd = positionOf(buffer.readBigUInt64BE(start + 1))
    this.serverHead = laterPosition(this.serverHead, walEnd)
    const replyWanted = buffer[start + 17] === 1
    if (replyWanted) feedback.answer()
    if (assembler.inTransaction) return
    this.#prove(proof, walEnd)
    const further = comparePositions(walEnd, feedback.durable)
    if (!this.#isProven || further < 0) return
    const now = this.#options.clock.elapsed()
    // Everything received before it must be durable first: the item takes its place behind it in the queue.
    const isWanted = this.#heartbeatWanted && further > 0
    if (!isWanted && now - this.#lastHeartbeat < LIMITS.heartbeatMs) return
    // Of a server that writes nothing, it is of use that time has passed; whoever asked waits for a further place.
    if (further > 0) this.#heartbeatWanted = false
    this.#lastHeartbeat = now
    const at = laterPosition(walEnd, this.#received)
    this.#emit({ kind: 'heartbeat', at, timeline: this.#options.timelineOf(at) })
  }

  /** @throws TidemarkError SOURCE_DIVERGED */
  #prove(proof: HistoryProof | undefined, reached: Position): void {
    if (this.#isProven) return
    proof?.passed(reached)
    this.#isProven = proof?.isComplete !== false
    if (this.#isProven) this.#feedback?.advance(this.#acknowledged)
  }
}

async function statusInterval(session: WireSession): Promise<number> {
  const rows = await session.query(
    `SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'`,
  )
  const timeoutMs = Number(rows[0]?.[0] ?? '60000')
  return timeoutMs === 0 ? 10_000 : Math.max(250, Math.min(10_000, Math.floor(timeoutMs / 3)))
}

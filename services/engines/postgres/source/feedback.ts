/**
 * Standby status updates, all ours (hazards 1, 2, 4, 8, 10): the flush position is the end of what is durable and
 * nothing else, unchanged (never + 1); it goes out when durability advances, when the server asks, and on a timer that
 * does not depend on reading. On the timer it asks for an answer, so that a line on which nothing happens says something.
 */
import type { Clock } from '../../../core/clock.ts'
import { LIMITS } from '../../../core/limits.ts'
import { comparePositions, type Position } from '../../../core/position.ts'
import { POSTGRES_EPOCH_MICROS } from './pgoutput.ts'

export class Feedback {
  readonly #send: (body: Buffer) => void
  readonly #clock: Clock
  readonly #timer: NodeJS.Timeout
  readonly #first: NodeJS.Timeout
  #durable: Position

  /**
   * @param durable zero where nothing is known: the server then leaves the slot as it is
   * @param intervalMs below half of wal_sender_timeout
   */
  constructor(options: {
    send: (body: Buffer) => void
    clock: Clock
    durable: Position
    intervalMs: number
  }) {
    this.#send = options.send
    this.#clock = options.clock
    this.#durable = options.durable
    this.#timer = setInterval(() => this.askForKeepalive(), options.intervalMs)
    // A server that has nothing to send says for the first time after half of wal_sender_timeout where it stands.
    this.#first = setTimeout(() => this.askForKeepalive(), LIMITS.firstHeartbeatMs + 100)
  }

  get durable(): Position {
    return this.#durable
  }

  advance(durable: Position): void {
    if (comparePositions(durable, this.#durable) <= 0) return
    this.#durable = durable
    this.answer()
  }

  answer(): void {
    this.#send(statusUpdate(this.#durable, this.#clock.now()))
  }

  /** The server answers such an update with a keepalive at once. */
  askForKeepalive(): void {
    this.#send(statusUpdate(this.#durable, this.#clock.now(), true))
  }

  stop(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#first)
  }
}

/** The 34-byte 'r' message: written, flushed and applied positions, clock, whether a reply is wanted. */
export function statusUpdate(durable: Position, nowMs: number, replyWanted = false): Buffer {
  const body = Buffer.alloc(34)
  body[0] = 0x72
  body.writeBigUInt64BE(durable, 1)
  body.writeBigUInt64BE(durable, 9)
  body.writeBigUInt64BE(durable, 17)
  body.writeBigInt64BE(BigInt(nowMs) * 1000n - POSTGRES_EPOCH_MICROS, 25)
  body[33] = replyWanted ? 1 : 0
  return body
}

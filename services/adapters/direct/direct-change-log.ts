/**
 * ChangeLog in one process: a bounded queue from replicator to compactor. The source's own WAL is the buffer behind it;
 * durable means: ledger entry written.
 */
import type { StreamPoint } from '../../core/ports/source.ts'
import { BoundedQueue } from '../../core/bounded-queue.ts'
import { GrowingMark } from '../../core/growing-mark.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import { ORIGIN, type Position } from '../../core/position.ts'
import { bytesOf, type LogItem } from '../../core/transaction.ts'

export class DirectChangeLog implements ChangeLog {
  readonly #queue: BoundedQueue<LogItem>
  readonly #durable = new GrowingMark()

  constructor(limitBytes: number = LIMITS.changeLogBytes) {
    this.#queue = new BoundedQueue(limitBytes, bytesOf)
  }

  readonly complete: StreamPoint = { position: ORIGIN, resume: undefined }

  get waitingBytes(): number {
    return this.#queue.bytes
  }

  async append(item: LogItem, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#queue.push(item)) await this.#queue.room(signal)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  end(): void {
    this.#queue.end()
  }

  fail(error: unknown): void {
    this.#queue.fail(error)
  }

  read(signal: AbortSignal): AsyncIterable<LogItem> {
    return this.#queue.read(signal)
  }

  get durable(): Position {
    return this.#durable.at
  }

  markDurable(end: Position): void {
    this.#durable.advance(end)
  }

  onAcknowledgeable(listener: (end: Position) => void): () => void {
    return this.#durable.on(listener)
  }
}

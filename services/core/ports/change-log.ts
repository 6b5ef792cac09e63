/**
 * ChangeLog: where the replicator puts transactions and the compactor takes them.
 *
 * - Order: items come out in the order in which they went in; parts of a transaction are never interleaved with others.
 * - `append` resolves when the log has *accepted* the item, and not before there is room (back-pressure). Accepted is
 *   not durable.
 * - `durable` is the position up to which the compactor's ledger entries are durable. It never goes back. Only this may be
 *   acknowledged to the source, unless the operator chose to trust the log with what is not in the store yet.
 * - A log may keep its items over a crash: `complete` is the end of the last transaction that it holds, and what is read
 *   after a restart may begin with items that were read before (their places in commit order tell).
 * - A failure of either side ends both: `append` and the iteration reject with it.
 */
import type { Position } from '../position.ts'
import type { StreamPoint } from './source.ts'
import type { LogItem } from '../transaction.ts'

export interface ChangeLog {
  append(item: LogItem, signal: AbortSignal): Promise<void>
  /** No more items: the reader drains what is there and ends. */
  end(): void
  read(signal: AbortSignal): AsyncIterable<LogItem>
  /** Said by the compactor after the ledger entry. */
  markDurable(end: Position): void
  readonly durable: Position
  /** Hears what may be acknowledged to the source: what is durable, or, by the operator's choice, what the log keeps. */
  onAcknowledgeable(listener: (end: Position) => void): () => void
  fail(error: unknown): void
  /** Where the last transaction ends that the log held when it was opened; zero where it keeps nothing. */
  readonly complete: StreamPoint
  close(): Promise<void>
  /** Bytes accepted and not yet taken. */
  readonly waitingBytes: number
}

/**
 * Folds the changes of one table to one last state per key, then streams the older rows through: the cost follows the
 * size of the result, not the number of changes. Fold must equal replay: a property test says so.
 *
 * A fold has two phases: `apply` for every change in order, then `feed` for every older row and `finish`.
 */
import type { ByteSource } from '../core/byte-source.ts'

/** Sees one row: [start, end) of the buffer, valid during the call; a large one until the fold is asked for more. */
export type EmitRow = (buffer: Buffer, start: number, end: number) => void

/** Takes the row at `source` and moves past it. */
export type PassRow = (source: ByteSource) => void

/** A row of a change, at [start, end) of a buffer that stays as it is; undefined where the change has none. */
export interface RowSlice {
  readonly start: number
  readonly end: number
}

export interface Fold {
  insert(buffer: Buffer, row: RowSlice): void
  update(buffer: Buffer, old: RowSlice | undefined, row: RowSlice): void
  delete(buffer: Buffer, old: RowSlice): void
  truncate(): void
  /** Bytes kept alive. */
  readonly bytes: number
  /** No further change may come: the next one needs a fold of its own over this one's result. */
  readonly isFull: boolean
  /** No further change comes: frees what only changes need. */
  seal(): void
  feed(buffer: Buffer, start: number, end: number, emit: EmitRow): void
  /**
   * The same for the row at `source`, which is moved past it. A row that no change concerns goes to `pass`, which moves
   * past it by itself: one walk over the row instead of two.
   */
  feedNext(source: ByteSource, emit: EmitRow, pass: PassRow): void
  /** Emits what no older row brought; yields now and then, so that the taker can make room: what was emitted before is then out. */
  finish(emit: EmitRow): Generator<void>
}

/** Rows between two yields of `finish`. */
export const BREATH = 256
/** A row of this size is followed by one. */
export const LARGE_ROW = 1024 * 1024

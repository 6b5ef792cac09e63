/** The fold of tables without a key: rows are counted. Changes carry whole old rows, so their order does not matter. */
import { TidemarkError } from '../core/errors.ts'
import type { ByteSource } from '../core/byte-source.ts'
import { ByteTable } from './byte-table.ts'
import { BREATH, LARGE_ROW, type EmitRow, type Fold, type PassRow, type RowSlice } from './fold.ts'
import { grow } from './grow.ts'
import type { RowLayout } from '../history/row-layout.ts'

export class MultisetFold implements Fold {
  readonly #layout: RowLayout
  readonly #table: string
  readonly #rows = new ByteTable()
  #count: Int32Array = new Int32Array(512)
  #truncated = false
  #kept = 0
  #lastBuffer: Buffer | undefined

  constructor(layout: RowLayout, table: string) {
    this.#layout = layout
    this.#table = table
  }

  get bytes(): number {
    return this.#kept + this.#rows.size * 30
  }

  get isFull(): boolean {
    return false
  }

  seal(): void {}

  insert(buffer: Buffer, row: RowSlice): void {
    this.#add(buffer, row, 1)
  }

  update(buffer: Buffer, old: RowSlice | undefined, row: RowSlice): void {
    if (old === undefined)
      throw new TidemarkError(
        'FOLD_MISMATCH',
        `${this.#table}: an update of a table without a key carries no old row`,
      )
    this.#add(buffer, old, -1)
    this.#add(buffer, row, 1)
  }

  delete(buffer: Buffer, old: RowSlice): void {
    this.#add(buffer, old, -1)
  }

  truncate(): void {
    this.#rows.clear()
    this.#lastBuffer = undefined
    this.#kept = 0
    this.#truncated = true
  }

  feedNext(source: ByteSource, emit: EmitRow, _pass: PassRow): void {
    const start = source.at
    this.#layout.skip(source)
    this.feed(source.buffer, start, source.at, emit)
  }

  feed(buffer: Buffer, start: number, end: number, emit: EmitRow): void {
    if (this.#truncated) return
    const id = this.#rows.find(buffer, start, end)
    if (id >= 0 && this.#count[id]! < 0) {
      this.#count[id]!++
      return
    }
    emit(buffer, start, end)
  }

  *finish(emit: EmitRow): Generator<void> {
    for (let id = 0; id < this.#rows.size; id++) {
      const count = this.#count[id]!
      if (count < 0)
        throw new TidemarkError(
          'FOLD_MISMATCH',
          `${this.#table}: a change belongs to a row that the base does not have`,
        )
      const row = this.#rows.bytesOf(id)
      for (let k = 0; k < count; k++) {
        emit(row.buffer, row.start, row.end)
        if (k % BREATH === BREATH - 1 || row.end - row.start >= LARGE_ROW) yield
      }
      if (id % BREATH === 0) yield
    }
  }

  #add(buffer: Buffer, row: RowSlice, by: number): void {
    const held = this.#rows.find(buffer, row.start, row.end)
    if (held >= 0) {
      this.#count[held]! += by
      return
    }
    // Only a row that is new here keeps its buffer: the same row over and over costs nothing.
    if (this.#lastBuffer !== buffer) {
      this.#lastBuffer = buffer
      this.#kept += buffer.length
    }
    const id = this.#rows.put(buffer, row.start, row.end, this.#rows.keep(buffer))
    if (id >= this.#count.length) this.#count = grow(this.#count, new Int32Array(this.#count.length * 2))
    this.#count[id] = by
  }
}

/** The fold of tables with a replica identity: one last state per key, found by hash, over typed arrays. */
import { TidemarkError } from '../core/errors.ts'
import { ByteSink } from '../core/byte-sink.ts'
import { ByteSource } from '../core/byte-source.ts'
import { ByteTable } from './byte-table.ts'
import { BREATH, LARGE_ROW, type EmitRow, type Fold, type PassRow, type RowSlice } from './fold.ts'
import { grow } from './grow.ts'
import type { RowLayout } from '../history/row-layout.ts'

const NO_ROW = -1
/** What becomes of the older row with this key. */
const FATE_UNTOUCHED = -1
const FATE_DROPPED = -2
/** Below this nothing is worth copying. */
const COMPACT_ABOVE = 16 * 1024 * 1024

export class KeyedFold implements Fold {
  readonly #layout: RowLayout
  readonly #table: string
  readonly #keys = new ByteTable()
  #keyArena = new ByteSink(1 << 16)
  #arenaIndex = -1

  // By key id.
  #row: Int32Array = new Int32Array(512)
  /** FATE_UNTOUCHED, FATE_DROPPED, or the row that takes its unchanged values from the older row. */
  #fate: Int32Array = new Int32Array(512)
  #met: Uint8Array = new Uint8Array(512)

  // By row id.
  readonly #rowBuffers: Buffer[] = []
  readonly #bufferIndex = new Map<Buffer, number>()
  #lastBuffer: Buffer | undefined
  #lastIndex = 0
  #rowStart: Float64Array = new Float64Array(512)
  #rowEnd: Float64Array = new Float64Array(512)
  #rowBuffer: Uint32Array = new Uint32Array(512)
  /** 0 dead, 1 whole and not from an older row, 2 waits for its older row, 3 written. */
  #rowState: Uint8Array = new Uint8Array(512)
  #rows = 0

  #truncated = false
  #arena = new ByteSink(1 << 16)
  readonly #scratch = new ByteSink(256)
  readonly #offsetsA: Float64Array
  readonly #offsetsB: Float64Array
  #kept = 0
  /** Bytes of the rows that still count; the rest of `#kept` is older images and other rows of their blocks. */
  #live = 0

  constructor(layout: RowLayout, table: string) {
    this.#layout = layout
    this.#table = table
    this.#offsetsA = new Float64Array(layout.kinds.length + 1)
    this.#offsetsB = new Float64Array(layout.kinds.length + 1)
  }

  get bytes(): number {
    return this.#kept + this.#keys.size * 40
  }

  get isFull(): boolean {
    return false
  }

  seal(): void {}

  insert(buffer: Buffer, row: RowSlice): void {
    const key = this.#keyOf(buffer, row)
    if (this.#row[key] !== NO_ROW) throw this.#mismatch('a row is inserted that is there already')
    this.#row[key] = this.#newRow(buffer, row.start, row.end, 1)
  }

  update(buffer: Buffer, old: RowSlice | undefined, image: RowSlice): void {
    const from = this.#keyOf(buffer, old ?? image)
    let row = image
    if (old !== undefined) {
      // A TOASTed key that did not change is "unchanged" in the new row, and spelled out in the old key.
      const whole = this.#withOldKey(buffer, old, image)
      buffer = whole.buffer
      row = whole
    }
    const to = old === undefined ? from : this.#keyOf(buffer, row)
    let id = this.#row[from]!
    if (id === NO_ROW) {
      if (this.#fate[from] !== FATE_UNTOUCHED || this.#truncated)
        throw this.#mismatch('a row is updated that is not there')
      id = this.#newRow(buffer, row.start, row.end, 2)
      this.#fate[from] = id
    } else {
      this.#merge(id, buffer, row)
    }
    if (from !== to) {
      if (this.#row[to] !== NO_ROW) throw this.#mismatch('a row moves to a key that is taken')
      this.#row[from] = NO_ROW
    }
    this.#row[to] = id
  }

  delete(buffer: Buffer, old: RowSlice): void {
    const key = this.#keyOf(buffer, old)
    const id = this.#row[key]!
    if (id !== NO_ROW) {
      this.#rowState[id] = 0
      this.#live -= this.#rowEnd[id]! - this.#rowStart[id]!
      this.#row[key] = NO_ROW
      return
    }
    if (this.#fate[key] !== FATE_UNTOUCHED || this.#truncated)
      throw this.#mismatch('a row is deleted that is not there')
    this.#fate[key] = FATE_DROPPED
  }

  truncate(): void {
    this.#keys.clear()
    this.#keyArena = new ByteSink(1 << 16)
    this.#arena = new ByteSink(1 << 16)
    this.#arenaIndex = -1
    this.#forgetBuffers()
    this.#rows = 0
    this.#kept = 0
    this.#live = 0
    this.#truncated = true
  }

  feed(buffer: Buffer, start: number, end: number, emit: EmitRow): void {
    this.feedNext(new ByteSource(buffer, start, end), emit, () => emit(buffer, start, end))
  }

  feedNext(source: ByteSource, emit: EmitRow, pass: PassRow): void {
    const { buffer, at: start } = source
    if (this.#truncated) {
      this.#layout.skip(source)
      return
    }
    const scratch = this.#scratch
    scratch.at = 0
    this.#layout.key(source, scratch)
    source.at = start
    const key = this.#keys.find(scratch.buffer, 0, scratch.at)
    if (key < 0) {
      pass(source)
      return
    }
    this.#layout.skip(source)
    const end = source.at
    const fate = this.#fate[key]!
    if (fate === FATE_UNTOUCHED || this.#met[key] === 1)
      throw this.#mismatch('an older row has the key of a row that was inserted later')
    this.#met[key] = 1
    if (fate === FATE_DROPPED || this.#rowState[fate] === 0) return
    const id = this.#filled(fate, buffer, start, end)
    this.#rowState[fate] = 3
    emit(id.buffer, id.start, id.end)
  }

  *finish(emit: EmitRow): Generator<void> {
    if (!this.#truncated) {
      for (let key = 0; key < this.#keys.size; key++) {
        if (this.#fate[key] !== FATE_UNTOUCHED && this.#met[key] === 0)
          throw this.#mismatch('a change belongs to a row that the base does not have')
      }
    }
    for (let id = 0; id < this.#rows; id++) {
      const start = this.#rowStart[id]!
      const end = this.#rowEnd[id]!
      const isEmitted = this.#rowState[id] === 1
      if (isEmitted) emit(this.#rowBuffers[this.#rowBuffer[id]!]!, start, end)
      if (id % BREATH === 0 || (isEmitted && end - start >= LARGE_ROW)) yield
    }
  }

  #keyOf(buffer: Buffer, row: RowSlice): number {
    const arena = this.#keyArena
    const start = arena.at
    this.#layout.key(new ByteSource(buffer, row.start, row.end), arena)
    const end = arena.at
    // The arena may have moved when it grew: its old bytes stay where their keys point.
    if (this.#arenaIndex < 0 || this.#keptArena !== arena.buffer) {
      this.#keptArena = arena.buffer
      this.#arenaIndex = this.#keys.keep(arena.buffer)
    }
    const before = this.#keys.size
    const key = this.#keys.put(arena.buffer, start, end, this.#arenaIndex)
    if (this.#keys.size === before) {
      arena.at = start
      return key
    }
    if (key >= this.#row.length) {
      this.#row = grow(this.#row, new Int32Array(this.#row.length * 2))
      this.#fate = grow(this.#fate, new Int32Array(this.#fate.length * 2))
      this.#met = grow(this.#met, new Uint8Array(this.#met.length * 2))
    }
    this.#row[key] = NO_ROW
    this.#fate[key] = FATE_UNTOUCHED
    this.#met[key] = 0
    if (end > 1 << 22) {
      this.#keyArena = new ByteSink(1 << 16)
      this.#arenaIndex = -1
    }
    return key
  }

  #keptArena: Buffer | undefined

  #newRow(buffer: Buffer, start: number, end: number, state: number): number {
    const id = this.#rows++
    if (id >= this.#rowState.length) {
      this.#rowStart = grow(this.#rowStart, new Float64Array(id * 2))
      this.#rowEnd = grow(this.#rowEnd, new Float64Array(id * 2))
      this.#rowBuffer = grow(this.#rowBuffer, new Uint32Array(id * 2))
      this.#rowState = grow(this.#rowState, new Uint8Array(id * 2))
    }
    this.#rowState[id] = state
    this.#rowStart[id] = 0
    this.#rowEnd[id] = 0
    this.#place(id, buffer, start, end)
    return id
  }

  #place(id: number, buffer: Buffer, start: number, end: number): void {
    if (this.#lastBuffer !== buffer) {
      this.#lastBuffer = buffer
      let index = this.#bufferIndex.get(buffer)
      if (index === undefined) {
        index = this.#rowBuffers.push(buffer) - 1
        this.#bufferIndex.set(buffer, index)
        this.#kept += buffer.length
      }
      this.#lastIndex = index
    }
    this.#live += end - start - (this.#rowEnd[id]! - this.#rowStart[id]!)
    this.#rowBuffer[id] = this.#lastIndex
    this.#rowStart[id] = start
    this.#rowEnd[id] = end
    if (this.#kept > COMPACT_ABOVE && this.#kept > 4 * this.#live) this.#compact()
  }

  #forgetBuffers(): void {
    this.#rowBuffers.length = 0
    this.#bufferIndex.clear()
    this.#lastBuffer = undefined
  }

  /** Copies the rows that still count together and lets go of everything else: one row changed for ever stays one row. */
  #compact(): void {
    const held = [...this.#rowBuffers]
    this.#forgetBuffers()
    this.#kept = 0
    let arena = Buffer.allocUnsafeSlow(0)
    let at = 0
    for (let id = 0; id < this.#rows; id++) {
      if (this.#rowState[id] === 0) continue
      const from = this.#rowStart[id]!
      const length = this.#rowEnd[id]! - from
      if (at + length > arena.length) {
        arena = Buffer.allocUnsafeSlow(Math.max(1 << 20, length))
        at = 0
        this.#rowBuffers.push(arena)
        this.#kept += arena.length
      }
      held[this.#rowBuffer[id]!]!.copy(arena, at, from, from + length)
      this.#rowBuffer[id] = this.#rowBuffers.length - 1
      this.#rowStart[id] = at
      this.#rowEnd[id] = at + length
      at += length
    }
  }

  /** Puts a newer image over a row: its unchanged values come from the image before. */
  #merge(id: number, buffer: Buffer, row: RowSlice): void {
    const held = this.#rowBuffers[this.#rowBuffer[id]!]!
    const merged = this.#over(buffer, row.start, row.end, held, this.#rowStart[id]!, this.#rowEnd[id]!)
    this.#place(id, merged.buffer, merged.start, merged.end)
  }

  #filled(
    id: number,
    older: Buffer,
    start: number,
    end: number,
  ): { buffer: Buffer; start: number; end: number } {
    return this.#over(
      this.#rowBuffers[this.#rowBuffer[id]!]!,
      this.#rowStart[id]!,
      this.#rowEnd[id]!,
      older,
      start,
      end,
    )
  }

  /** The newer row with its unchanged fields taken from the older one. */
  #over(
    newer: Buffer,
    newStart: number,
    newEnd: number,
    older: Buffer,
    oldStart: number,
    oldEnd: number,
  ): { buffer: Buffer; start: number; end: number } {
    const layout = this.#layout
    const a = this.#offsetsA
    layout.offsets(new ByteSource(newer, newStart, newEnd), a)
    const width = layout.kinds.length
    let partial = false
    for (let i = 0; i < width && !partial; i++) partial = layout.isState(newer, a[i]!, i)
    if (!partial) return { buffer: newer, start: newStart, end: newEnd }
    const b = this.#offsetsB
    layout.offsets(new ByteSource(older, oldStart, oldEnd), b)
    const needed = newEnd - newStart + oldEnd - oldStart
    if (this.#arena.at + needed > this.#arena.buffer.length)
      this.#arena = new ByteSink(Math.max(1 << 20, needed))
    const arena = this.#arena
    const start = arena.at
    for (let i = 0; i < width; i++) {
      const fromOld = layout.isState(newer, a[i]!, i)
      const source = fromOld ? older : newer
      const offsets = fromOld ? b : a
      source.copy(arena.buffer, arena.at, offsets[i]!, offsets[i + 1]!)
      arena.at += offsets[i + 1]! - offsets[i]!
    }
    return { buffer: arena.buffer, start, end: arena.at }
  }

  #withOldKey(buffer: Buffer, old: RowSlice, row: RowSlice): { buffer: Buffer; start: number; end: number } {
    const layout = this.#layout
    const a = this.#offsetsA
    layout.offsets(new ByteSource(buffer, row.start, row.end), a)
    if (!layout.keys.some((key) => layout.isState(buffer, a[key]!, key)))
      return { buffer, start: row.start, end: row.end }
    const b = this.#offsetsB
    layout.offsets(new ByteSource(buffer, old.start, old.end), b)
    const fields = layout.kinds.map((_, i) =>
      layout.keys.includes(i) && layout.isState(buffer, a[i]!, i)
        ? buffer.subarray(b[i]!, b[i + 1]!)
        : buffer.subarray(a[i]!, a[i + 1]!),
    )
    const joined = Buffer.concat(fields)
    return { buffer: joined, start: 0, end: joined.length }
  }

  #mismatch(what: string): TidemarkError {
    return new TidemarkError('FOLD_MISMATCH', `${this.#table}: ${what}`)
  }
}

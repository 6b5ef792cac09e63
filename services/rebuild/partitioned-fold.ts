/**
 * The fold of a table whose changes do not fit into memory: changes are partitioned on disk by the key that their row
 * had at the beginning, older rows that a change may concern follow them there, and then one partition after the other
 * is folded in memory. Older rows that no change concerns go straight through.
 *
 * A row whose key moves stays in the partition where it began, because its unchanged values may lie in its older row:
 * `#moved` knows where such keys are. When that map has grown too large the fold says so, and the next one begins.
 */
import { TidemarkError } from '../core/errors.ts'
import { release } from '../core/release.ts'
import { ByteSink } from '../core/byte-sink.ts'
import { ByteSource } from '../core/byte-source.ts'
import { hash } from './byte-table.ts'
import type { EmitRow, Fold, PassRow, RowSlice } from './fold.ts'
import type { RowLayout } from '../history/row-layout.ts'
import type { SpillFile } from './spill-file.ts'

const INSERT = 0
const UPDATE = 1
const MOVE = 2
const DELETE = 3
const OLDER = 4

/** A record of this size is a chunk by itself. */
const LARGE_RECORD = 4 * 1024 * 1024

export interface PartitionedFoldOptions {
  readonly layout: RowLayout
  readonly table: string
  readonly partitions: number
  /** Bytes gathered for one partition before they go to disk. */
  readonly chunkBytes: number
  /** Bits of the filter that tells older rows which no change concerns; a power of two. */
  readonly filterBits: number
  /** Keys away from their natural partition: beyond this the next fold begins. */
  readonly movedKeys: number
  readonly spill: SpillFile
  /** The fold of one partition, in memory. */
  readonly inner: () => Fold
}

/** What waits for one partition: records on disk, and those not yet there. */
class Partition {
  readonly changes: number[] = []
  readonly older: number[] = []
  pendingChanges: ByteSink | undefined
  pendingOlder: ByteSink | undefined
}

export class PartitionedFold implements Fold {
  readonly #options: PartitionedFoldOptions
  #partitions: Partition[]
  #filter: Uint8Array
  readonly #moved = new Map<string, number>()
  readonly #from = new ByteSink(256)
  readonly #to = new ByteSink(256)
  #truncated = false

  constructor(options: PartitionedFoldOptions) {
    this.#options = options
    this.#partitions = Array.from({ length: options.partitions }, () => new Partition())
    this.#filter = new Uint8Array(options.filterBits / 8)
  }

  get bytes(): number {
    return this.#partitions.length * this.#options.chunkBytes
  }

  get isFull(): boolean {
    return this.#moved.size >= this.#options.movedKeys
  }

  seal(): void {
    this.#moved.clear()
    for (const partition of this.#partitions) this.#flush(partition, 'changes')
  }

  insert(buffer: Buffer, row: RowSlice): void {
    this.#write(this.#where(this.#keyOf(buffer, row)), INSERT, buffer, undefined, row)
  }

  update(buffer: Buffer, old: RowSlice | undefined, row: RowSlice): void {
    if (!this.#options.layout.isKeyed) {
      if (old === undefined)
        throw new TidemarkError(
          'FOLD_MISMATCH',
          `${this.#options.table}: an update of a table without a key carries no old row`,
        )
      this.delete(buffer, old)
      this.insert(buffer, row)
      return
    }
    if (old === undefined) {
      this.#write(this.#where(this.#keyOf(buffer, row)), UPDATE, buffer, undefined, row)
      return
    }
    const from = this.#keyOf(buffer, old)
    const partition = this.#where(from)
    const to = this.#newKey(buffer, old, row)
    this.#write(partition, MOVE, buffer, old, row)
    if (from.equals(to)) return
    this.#moved.delete(text(from))
    if (this.#naturalOf(hash(to, 0, to.length)) !== partition) this.#moved.set(text(to), partition)
    // Should an older row have this key all the same, its partition finds that out.
    this.#markCode(hash(to, 0, to.length))
  }

  delete(buffer: Buffer, old: RowSlice): void {
    const key = this.#keyOf(buffer, old)
    this.#write(this.#where(key), DELETE, buffer, old, undefined)
    this.#moved.delete(text(key))
  }

  truncate(): void {
    this.#partitions = this.#partitions.map(() => new Partition())
    this.#filter = new Uint8Array(this.#options.filterBits / 8)
    this.#moved.clear()
    this.#truncated = true
  }

  feed(buffer: Buffer, start: number, end: number, emit: EmitRow): void {
    this.feedNext(new ByteSource(buffer, start, end), emit, () => emit(buffer, start, end))
  }

  feedNext(source: ByteSource, _emit: EmitRow, pass: PassRow): void {
    const { layout } = this.#options
    const start = source.at
    if (!layout.isKeyed || this.#truncated) layout.skip(source)
    if (this.#truncated) return
    const key = layout.isKeyed
      ? this.#keyOf(source.buffer, { start, end: source.end })
      : source.buffer.subarray(start, source.at)
    const code = hash(key, 0, key.length)
    if (!this.#isMarked(code)) {
      source.at = start
      pass(source)
      return
    }
    if (layout.isKeyed) layout.skip(source)
    // Older rows have the keys of the beginning: moves do not concern them.
    this.#write(this.#naturalOf(code), OLDER, source.buffer, undefined, { start, end: source.at })
  }

  *finish(emit: EmitRow): Generator<void> {
    for (const [index, partition] of this.#partitions.entries()) {
      this.#flush(partition, 'changes')
      this.#flush(partition, 'older')
      const fold = this.#options.inner()
      if (this.#truncated) fold.truncate()
      const changes: Buffer[] = []
      for (const chunk of partition.changes) {
        const read = this.#options.spill.read(chunk)
        changes.push(read)
        replay(read, fold)
        yield
      }
      for (const chunk of partition.older) {
        const read = this.#options.spill.read(chunk)
        const source = new ByteSource(read)
        while (!source.done) {
          source.byte()
          const row = slice(source)
          fold.feed(source.buffer, row.start, row.end, emit)
        }
        yield
        release(read)
      }
      yield* fold.finish(emit)
      yield
      for (const read of changes) release(read)
      this.#partitions[index] = new Partition()
    }
  }

  /** The key's encoded bytes, valid until the next call: the whole row where there is no key. */
  #keyOf(buffer: Buffer, row: RowSlice): Buffer {
    const { layout } = this.#options
    if (!layout.isKeyed) return buffer.subarray(row.start, row.end)
    this.#from.at = 0
    layout.key(new ByteSource(buffer, row.start, row.end), this.#from)
    return this.#from.view()
  }

  /** A key column that did not change and lies in TOAST is spelled out in the old key alone. */
  #newKey(buffer: Buffer, old: RowSlice, row: RowSlice): Buffer {
    const { layout } = this.#options
    const a = new Float64Array(layout.kinds.length + 1)
    const b = new Float64Array(layout.kinds.length + 1)
    layout.offsets(new ByteSource(buffer, row.start, row.end), a)
    layout.offsets(new ByteSource(buffer, old.start, old.end), b)
    this.#to.at = 0
    for (const key of layout.keys) {
      const from = layout.isState(buffer, a[key]!, key) ? b : a
      const length = from[key + 1]! - from[key]!
      this.#to.reserve(length)
      buffer.copy(this.#to.buffer, this.#to.at, from[key]!, from[key + 1]!)
      this.#to.at += length
    }
    return this.#to.view()
  }

  /** The partition of a key as it is now; marks the key where it lies at its natural place. */
  #where(key: Buffer): number {
    const moved = this.#moved.size === 0 ? undefined : this.#moved.get(text(key))
    if (moved !== undefined) return moved
    const code = hash(key, 0, key.length)
    this.#markCode(code)
    return this.#naturalOf(code)
  }

  /** Other bits than the hash tables inside use, else each of them would fill one corner. */
  #naturalOf(code: number): number {
    return (Math.imul(code, 0x9e3779b1) >>> 8) % this.#partitions.length
  }

  #markCode(code: number): void {
    const bit = code & (this.#options.filterBits - 1)
    this.#filter[bit >>> 3]! |= 1 << (bit & 7)
  }

  #isMarked(code: number): boolean {
    const bit = code & (this.#options.filterBits - 1)
    return (this.#filter[bit >>> 3]! & (1 << (bit & 7))) !== 0
  }

  /** A record: what it is, then the slices it has, each with its length. */
  #write(
    index: number,
    what: number,
    buffer: Buffer,
    old: RowSlice | undefined,
    row: RowSlice | undefined,
  ): void {
    const partition = this.#partitions[index]!
    const which = what === OLDER ? 'older' : 'changes'
    const bytes =
      (old === undefined ? 0 : old.end - old.start) + (row === undefined ? 0 : row.end - row.start)
    if (bytes >= LARGE_RECORD) {
      this.#flush(partition, which)
      partition[which].push(this.#options.spill.append(largeRecord(what, buffer, old, row)))
      return
    }
    const sink =
      what === OLDER
        ? (partition.pendingOlder ??= new ByteSink(1024))
        : (partition.pendingChanges ??= new ByteSink(1024))
    sink.reserve(21 + bytes)
    sink.byte(what)
    if (old !== undefined) sink.slice(buffer, old.start, old.end)
    if (row !== undefined) sink.slice(buffer, row.start, row.end)
    if (sink.at >= this.#options.chunkBytes) this.#flush(partition, which)
  }

  #flush(partition: Partition, which: 'changes' | 'older'): void {
    const sink = which === 'older' ? partition.pendingOlder : partition.pendingChanges
    if (sink === undefined || sink.at === 0) return
    partition[which].push(this.#options.spill.append([sink.view()]))
    if (which === 'older') partition.pendingOlder = undefined
    else partition.pendingChanges = undefined
  }
}

/** As #write has it; its rows go to disk from where they lie. */
function largeRecord(
  what: number,
  buffer: Buffer,
  old: RowSlice | undefined,
  row: RowSlice | undefined,
): Buffer[] {
  const pieces: Buffer[] = [Buffer.from([what])]
  for (const slice of [old, row]) {
    if (slice === undefined) continue
    const length = new ByteSink(10)
    length.long(slice.end - slice.start)
    pieces.push(length.take(), buffer.subarray(slice.start, slice.end))
  }
  return pieces
}

function replay(buffer: Buffer, fold: Fold): void {
  const source = new ByteSource(buffer)
  while (!source.done) {
    const what = source.byte()
    if (what === INSERT) fold.insert(buffer, slice(source))
    else if (what === UPDATE) fold.update(buffer, undefined, slice(source))
    else if (what === MOVE) {
      const old = slice(source)
      fold.update(buffer, old, slice(source))
    } else fold.delete(buffer, slice(source))
  }
}

function slice(source: ByteSource): RowSlice {
  const length = source.long()
  const start = source.skip(length)
  return { start, end: start + length }
}

function text(key: Buffer): string {
  return key.toString('latin1')
}

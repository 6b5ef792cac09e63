/**
 * One segment being filled: rows go to their table's block, full blocks are compressed in worker threads, and the end
 * puts the blocks of each table side by side into one Avro file.
 */
import { LIMITS } from '../core/limits.ts'
import { release } from '../core/release.ts'
import type { ChangeShape, EncodedChanges } from '../core/transaction.ts'
import { ByteSink } from '../core/byte-sink.ts'
import { segmentSchema } from '../formats/change-schema.ts'
import { type KeySpan, KeyRange } from '../formats/key-range.ts'
import { type Block, compressBlock, compressRow, containerFile } from '../formats/container.ts'

interface TableRun {
  readonly shape: ChangeShape
  /** The union index as a varint. */
  readonly tag: Buffer
  readonly sink: ByteSink
  rows: number
  totalRows: number
  readonly blocks: Promise<Block>[]
  readonly range: KeyRange
  /** Of each block. */
  readonly spans: (KeySpan | undefined)[]
}

export interface BuiltSegment {
  /** The file. */
  readonly pieces: readonly Buffer[]
  readonly rawBytes: number
  /** In file order. */
  readonly blocks: readonly {
    readonly shape: ChangeShape
    readonly rows: number
    readonly bytes: number
    readonly keys: KeySpan | undefined
  }[]
}

/** Counts compressions over all builders of a process; callers wait where too many are under way. */
export class CompressionGate {
  #inFlight = 0
  #bytes = 0
  readonly #idle: Buffer[] = []
  #waiting: (() => void)[] = []

  /** @param bytes what it holds until it is compressed */
  track(block: Promise<Block>, bytes: number): void {
    this.#inFlight++
    this.#bytes += bytes
    const done = (): void => {
      this.#inFlight--
      this.#bytes -= bytes
      this.#waiting.shift()?.()
    }
    block.then(done, done)
  }

  /** A buffer of at least this size; given back when its block is compressed, so that blocks make no garbage. */
  borrow(bytes: number): Buffer {
    const index = this.#idle.findIndex((buffer) => buffer.length >= bytes)
    return index < 0
      ? Buffer.allocUnsafeSlow(Math.max(bytes, LIMITS.blockBytes + LIMITS.partBytes))
      : this.#idle.splice(index, 1)[0]!
  }

  giveBack(buffer: Buffer): void {
    if (this.#idle.length < LIMITS.compressionsInFlight && buffer.length <= 2 * LIMITS.blockBytes)
      this.#idle.push(buffer)
  }

  async room(): Promise<void> {
    while (this.isFull) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  get isFull(): boolean {
    return this.#inFlight >= LIMITS.compressionsInFlight || this.#bytes >= LIMITS.compressionBytes
  }
}

export class SegmentBuilder {
  readonly #runs = new Map<string, TableRun>()
  readonly #gate: CompressionGate
  rawBytes = 0
  rows = 0

  constructor(gate: CompressionGate) {
    this.#gate = gate
  }

  add(changes: EncodedChanges): void {
    const runs = changes.shapes.map((shape) => this.#run(shape))
    const { bytes, offsets, shapeOf, count } = changes
    for (let i = 0; i < count; i++) {
      const run = runs[shapeOf[i]!]!
      const start = offsets[i]!
      const end = offsets[i + 1]!
      if (end - start >= LIMITS.blockBytes) {
        this.#large(run, bytes.subarray(start, end), changes.isOwn === true)
        continue
      }
      const sink = run.sink
      sink.reserve(end - start + 8)
      const out = sink.buffer
      let at = sink.at
      for (let k = 0; k < run.tag.length; k++) out[at++] = run.tag[k]!
      bytes.copy(out, at, start, end)
      run.range.add(bytes, start)
      sink.at = at + end - start
      run.rows++
      if (sink.at >= LIMITS.blockBytes) this.#close(run)
    }
    this.rawBytes += bytes.length
    this.rows += count
  }

  #run(shape: ChangeShape): TableRun {
    let run = this.#runs.get(shape.id)
    if (run === undefined) {
      const tag = new ByteSink(8)
      tag.long(this.#runs.size)
      run = {
        shape,
        tag: tag.take(),
        sink: new ByteSink(16 * 1024),
        rows: 0,
        totalRows: 0,
        blocks: [],
        range: new KeyRange(shape),
        spans: [],
      }
      this.#runs.set(shape.id, run)
    }
    return run
  }

  /** A row that makes a block by itself is compressed where it lies. */
  #large(run: TableRun, row: Buffer, isOwn: boolean): void {
    if (run.rows > 0) this.#close(run)
    run.range.add(row, 0)
    const block = compressRow([run.tag, row])
    block.then(
      () => isOwn && release(row),
      () => undefined,
    )
    run.rows = 1
    this.#closed(run, block, row.length)
  }

  #close(run: TableRun): void {
    const raw = this.#gate.borrow(run.sink.at)
    run.sink.buffer.copy(raw, 0, 0, run.sink.at)
    const bytes = run.sink.at
    const block = compressBlock(raw.subarray(0, bytes), run.rows)
    run.sink.at = 0
    const done = (): void => this.#gate.giveBack(raw)
    block.then(done, done)
    this.#closed(run, block, bytes)
  }

  #closed(run: TableRun, block: Promise<Block>, bytes: number): void {
    this.#gate.track(block, bytes)
    run.blocks.push(block)
    run.spans.push(run.range.take())
    run.totalRows += run.rows
    run.rows = 0
  }

  /** The finished file. The builder is empty of use afterwards. */
  async finish(sync: Buffer): Promise<BuiltSegment> {
    const runs = [...this.#runs.values()]
    for (const run of runs) if (run.rows > 0) this.#close(run)
    const blocks: Block[] = []
    const described: BuiltSegment['blocks'][number][] = []
    for (const run of runs) {
      for (const [i, block] of (await Promise.all(run.blocks)).entries()) {
        blocks.push(block)
        described.push({ shape: run.shape, rows: block.rows, bytes: block.rawBytes, keys: run.spans[i] })
      }
    }
    const { chunks } = containerFile(segmentSchema(runs.map((run) => run.shape)), sync, blocks)
    return { pieces: chunks, rawBytes: this.rawBytes, blocks: described }
  }
}

/**
 * All changes of one table as a chain of fold stages: a change of the column set or of the identity ends a stage; its
 * result, brought to the new columns, is what the next stage folds over.
 */
import { TidemarkError } from '../core/errors.ts'
import { compareLsn, type Lsn } from '../core/position.ts'
import { ByteSource } from '../formats/byte-source.ts'
import { carryRows } from './carry.ts'
import type { EmitRow, Fold, PassRow } from './fold.ts'
import { KeyedFold } from './keyed-fold.ts'
import { type FoldRoom, IN_MEMORY } from './fold-room.ts'
import { MultisetFold } from './multiset-fold.ts'
import { PartitionedFold } from './partitioned-fold.ts'
import { RowLayout } from './row-layout.ts'
import { type ChangeBlock, ChangeCursor } from './segment-reader.ts'
import type { TableHistory } from './table-history.ts'
import { relationOfFacts } from './relation-of-facts.ts'

/** By key where there is one, else by counting; on disk where the changes do not fit into memory. */
export function foldFor(layout: RowLayout, table: string, room: FoldRoom = IN_MEMORY): Fold {
  const inner = (): Fold => (layout.isKeyed ? new KeyedFold(layout, table) : new MultisetFold(layout, table))
  return room.kind === 'memory' ? inner() : new PartitionedFold({ layout, table, inner, ...room })
}

interface Stage {
  readonly layout: RowLayout
  readonly shape: string
  readonly step: number
  readonly fold: Fold
}

export class TableFold {
  readonly #history: TableHistory
  readonly #stages: Stage[] = []
  /** Changes below this are in the base copy already. */
  readonly #position: Lsn
  readonly #to: Lsn
  changes = 0

  readonly #room: FoldRoom

  constructor(history: TableHistory, position: Lsn, to: Lsn, room: FoldRoom) {
    this.#room = room
    this.#history = history
    this.#position = position
    this.#to = to
  }

  get bytes(): number {
    return this.#stages.reduce((sum, stage) => sum + stage.fold.bytes, 0)
  }

  /** The blocks of this table in one segment: usually one shape; several are put into commit order first. */
  apply(blocks: readonly ChangeBlock[]): void {
    if (blocks.every((block) => block.shape === blocks[0]!.shape)) {
      for (const block of blocks) this.#applyBlock(block)
    } else {
      this.#applyMixed(blocks)
    }
  }

  #applyBlock(block: ChangeBlock): void {
    const cursor = new ChangeCursor(block)
    while (cursor.next()) {
      if (compareLsn(cursor.lsn, this.#position) < 0) continue
      if (compareLsn(cursor.lsn, this.#to) > 0) return
      this.#change(this.#stage(block), cursor.operation, cursor.buffer, { ...cursor.old }, { ...cursor.new })
    }
  }

  #applyMixed(blocks: readonly ChangeBlock[]): void {
    const all: {
      lsn: Lsn
      ordinal: number
      block: ChangeBlock
      operation: number
      old: { start: number; end: number }
      new: { start: number; end: number }
    }[] = []
    for (const block of blocks) {
      const cursor = new ChangeCursor(block)
      while (cursor.next()) {
        if (compareLsn(cursor.lsn, this.#position) < 0 || compareLsn(cursor.lsn, this.#to) > 0) continue
        all.push({
          lsn: cursor.lsn,
          ordinal: cursor.ordinal,
          block,
          operation: cursor.operation,
          old: { ...cursor.old },
          new: { ...cursor.new },
        })
      }
    }
    all.sort((a, b) => compareLsn(a.lsn, b.lsn) || a.ordinal - b.ordinal)
    for (const change of all)
      this.#change(this.#stage(change.block), change.operation, change.block.raw, change.old, change.new)
  }

  #change(
    stage: Stage,
    operation: number,
    buffer: Buffer,
    old: { start: number; end: number },
    row: { start: number; end: number },
  ): void {
    this.changes++
    const { fold } = stage
    switch (operation) {
      case 0:
        fold.insert(buffer, row)
        break
      case 1:
        fold.update(buffer, old.start < 0 ? undefined : old, row)
        break
      case 2:
        fold.delete(buffer, old)
        break
      case 3:
        fold.truncate()
        break
      default:
        throw new TidemarkError('OBJECT_CORRUPT', 'a change of an unknown kind')
    }
  }

  #stage(block: ChangeBlock): Stage {
    const last = this.#stages.at(-1)
    if (last?.shape === block.shape && !last.fold.isFull) return last
    last?.fold.seal()
    const step = this.#history.stepOf(block.layout.relation, last?.step ?? 0)
    const stage = {
      layout: block.layout,
      shape: block.shape,
      step,
      fold: foldFor(block.layout, this.#history.name, this.#room),
    }
    this.#stages.push(stage)
    return stage
  }

  /**
   * Opens the stream of older rows: returns what takes the next of them (moving past it), and what ends it. `take` gets
   * the rows as they are at the point, in the table's last version, and moves past each.
   *
   * @param base the layout of the older rows and the step they belong to; undefined where the table began in the stream
   */
  open(
    base: RowLayout | undefined,
    take: PassRow,
  ): { next: (source: ByteSource) => void; finish: () => Generator<void>; layout: RowLayout } {
    const lastStep = this.#history.steps.length - 1
    const final = new RowLayout(
      relationOfFacts(this.#history.last!.facts),
      base?.text ?? this.#stages[0]?.layout.text ?? 'utf8',
    )
    const emit: EmitRow = (buffer, start, end) => take(new ByteSource(buffer, start, end))
    let next: EmitRow = emit
    let layout = final
    let step = lastStep
    let firstOut: EmitRow | undefined
    const finishers: (() => Generator<void>)[] = []
    for (const stage of this.#stages.toReversed()) {
      const out = this.#carry(stage.layout, stage.step, layout, step, next)
      finishers.unshift(() => stage.fold.finish(out))
      next = (buffer, start, end) => stage.fold.feed(buffer, start, end, out)
      firstOut = out
      layout = stage.layout
      step = stage.step
    }
    const feed = base === undefined ? next : this.#carry(base, 0, layout, step, next)
    const first = this.#stages[0]
    // Where nothing has to be carried on the way, a row is walked over once.
    const through = (out: EmitRow): PassRow => {
      if (out === emit) return take
      return (source) => {
        const start = source.at
        base!.skip(source)
        out(source.buffer, start, source.at)
      }
    }
    let takeNext = through(feed)
    if (first !== undefined && feed === next) {
      const out = firstOut!
      const pass = through(out)
      takeNext = (source) => first.fold.feedNext(source, out, pass)
    }
    function* finish(): Generator<void> {
      for (const stage of finishers) yield* stage()
    }
    return { next: takeNext, finish, layout: final }
  }

  #carry(from: RowLayout, fromStep: number, to: RowLayout, toStep: number, next: EmitRow): EmitRow {
    return carryRows(from, to, this.#history.carry(fromStep, toStep), next)
  }
}

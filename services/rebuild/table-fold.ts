/**
 * All changes of one table as a chain of fold stages. A change of the column set does not end a stage: every change is
 * brought to the columns of the stage's last version as it comes in, once. Only a change of the replica identity ends
 * one; its result is what the next stage folds over.
 */
import { TidemarkError } from '../core/errors.ts'
import { type ChangePlace, comparePositions, isBefore, type Position } from '../core/position.ts'
import { release } from '../core/release.ts'
import { ByteSink } from '../core/byte-sink.ts'
import { ByteSource } from '../core/byte-source.ts'
import { carryRows, RowCarrier } from './carry.ts'
import { inCommitOrder } from './commit-order.ts'
import type { EmitRow, Fold, PassRow, RowSlice } from './fold.ts'
import { KeyedFold } from './keyed-fold.ts'
import { type FoldRoom, IN_MEMORY } from './fold-room.ts'
import { MultisetFold } from './multiset-fold.ts'
import { PartitionedFold } from './partitioned-fold.ts'
import { RowLayout } from '../history/row-layout.ts'
import { type ChangeBlock, ChangeCursor } from '../history/segment-reader.ts'
import type { TableHistory } from '../history/table-history.ts'

/** By key where there is one, else by counting; on disk where the changes do not fit into memory. */
export function foldFor(layout: RowLayout, table: string, room: FoldRoom = IN_MEMORY): Fold {
  const inner = (): Fold => (layout.isKeyed ? new KeyedFold(layout, table) : new MultisetFold(layout, table))
  return room.kind === 'memory' ? inner() : new PartitionedFold({ layout, table, inner, ...room })
}

interface Stage {
  /** Of the rows as they are folded: the columns of step `step`, the stage's key. */
  readonly layout: RowLayout
  readonly step: number
  /** Attribute numbers of the key, as text; none where whole rows are counted. */
  readonly key: string
  readonly fold: Fold
}

/** What a version's changes go through. */
interface Door {
  readonly stage: Stage
  readonly carrier: RowCarrier
}

/** Changes in a row that go the same way: those of one shape, up to the next record of the table. */
interface Way {
  readonly shape: string
  /** Undefined behind the last record. */
  readonly until: ChangePlace | undefined
  readonly door: Door
}

/** Carried rows share buffers of about this size. */
const ARENA_BYTES = { least: 64 * 1024, most: 1024 * 1024 }

export class TableFold {
  readonly #history: TableHistory
  readonly #stages: Stage[] = []
  readonly #doors = new Map<string, Door>()
  #way: Way | undefined
  #arena = new ByteSink(0)
  /** Changes below this are in the base copy already. */
  readonly #position: Position
  readonly #to: Position
  changes = 0

  readonly #room: FoldRoom

  constructor(history: TableHistory, position: Position, to: Position, room: FoldRoom) {
    this.#room = room
    this.#history = history
    this.#position = position
    this.#to = to
  }

  get bytes(): number {
    return this.#stages.reduce((sum, stage) => sum + stage.fold.bytes, 0)
  }

  /** The blocks of this table in one segment: usually one shape; several are gone through in commit order. */
  apply(blocks: readonly ChangeBlock[]): void {
    const isOneShape = blocks.every((block) => block.shape === blocks[0]!.shape)
    for (const { block, cursor } of isOneShape ? inTurn(blocks) : inCommitOrder(blocks)) {
      if (
        comparePositions(cursor.position, this.#position) < 0 ||
        comparePositions(cursor.position, this.#to) > 0
      )
        continue
      this.#change(this.#door(block, cursor), cursor)
    }
    // What is folded on disk has been copied there.
    if (this.#room.kind === 'disk') for (const { raw } of blocks) release(raw)
  }

  #change({ stage, carrier }: Door, cursor: ChangeCursor): void {
    this.changes++
    const { fold } = stage
    let { buffer } = cursor
    let old: RowSlice = { ...cursor.old }
    let row: RowSlice = { ...cursor.new }
    if (!carrier.isIdentity) {
      const arena = this.#arenaWithRoom()
      old = carried(carrier, buffer, old, arena)
      row = carried(carrier, buffer, row, arena)
      buffer = arena.buffer
    }
    switch (cursor.operation) {
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

  /** Where carried rows go: a buffer that has room begins small, since most tables see few changes of their columns. */
  #arenaWithRoom(): ByteSink {
    if (this.#arena.at >= ARENA_BYTES.most || this.#arena.buffer.length === 0)
      this.#arena = new ByteSink(this.#arena.at === 0 ? ARENA_BYTES.least : ARENA_BYTES.most)
    return this.#arena
  }

  #door(block: ChangeBlock, place: ChangePlace): Door {
    const way = this.#way
    if (
      way?.shape === block.shape &&
      !way.door.stage.fold.isFull &&
      (way.until === undefined || isBefore(place, way.until))
    )
      return way.door
    const step = this.#history.stepOf(block.layout.relation, place)
    const door = this.#doorOf(block, step)
    this.#way = { shape: block.shape, until: this.#history.steps[step + 1], door }
    return door
  }

  #doorOf(block: ChangeBlock, step: number): Door {
    const last = this.#stages.at(-1)
    const id = `${step} ${block.shape}`
    const known = this.#doors.get(id)
    if (known !== undefined && known.stage === last && !last.fold.isFull) return known
    const ids = this.#history.idsOf(block.layout.relation, step)!
    const key = block.layout.keys.map((index) => ids[index]!)
    const stage = this.#stage(block.layout, step, key)
    const carrier = new RowCarrier(block.layout, stage.layout, this.#history.carry(ids, step, stage.step))
    const door = { stage, carrier }
    this.#doors.set(id, door)
    return door
  }

  /** The stage that is open where the key is still its key, else the next one. */
  #stage(from: RowLayout, step: number, key: readonly number[]): Stage {
    const history = this.#history
    const last = this.#stages.at(-1)
    const id = key.join(',')
    const holds = (at: number): boolean =>
      key.every((id) => history.steps[at]!.columns.some((column) => column.id === id))
    if (last?.key === id && !last.fold.isFull && step <= last.step && holds(last.step)) return last
    last?.fold.seal()
    const folded = history.foldedAt(step)
    const at = Math.max(last?.step ?? 0, holds(folded) ? folded : step)
    if (!holds(at))
      throw new TidemarkError(
        'FOLD_MISMATCH',
        `${history.name}: its rows are told apart by columns that no record of the table names as its key`,
      )
    const stage = {
      layout: layoutAt(history, at, key, from),
      step: at,
      key: id,
      fold: foldFor(layoutAt(history, at, key, from), history.name, this.#room),
    }
    this.#stages.push(stage)
    return stage
  }

  /**
   * Opens the stream of older rows: returns what takes the next of them (moving past it), and what ends it. `take` gets
   * the rows as they are at the point, in the table's last version, and moves past each.
   *
   * @param base the layout of the older rows, which belong to step 0; undefined where the table began in the stream
   */
  open(
    base: RowLayout | undefined,
    take: PassRow,
  ): { next: (source: ByteSource) => void; finish: () => Generator<void>; layout: RowLayout } {
    const history = this.#history
    const lastStep = history.steps.length - 1
    const final = new RowLayout(
      history.last!.table.relation,
      base?.text ?? this.#stages[0]?.layout.text ?? 'utf8',
    )
    const emit: EmitRow = (buffer, start, end) => take(new ByteSource(buffer, start, end))
    let next: EmitRow = emit
    let layout = final
    let step = lastStep
    let firstOut: EmitRow | undefined
    const finishers: (() => Generator<void>)[] = []
    for (const stage of this.#stages.toReversed()) {
      const stored = history.steps[stage.step]!.columns.map((column) => column.id)
      const columns = history.carry(stored, stage.step, step)
      const out = carryRows(stage.layout, layout, columns, next)
      finishers.unshift(() => stage.fold.finish(out))
      next = (buffer, start, end) => stage.fold.feed(buffer, start, end, out)
      firstOut = out
      layout = stage.layout
      step = stage.step
    }
    const feed = base === undefined ? next : carryRows(base, layout, this.#fromBase(base, step), next)
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

  #fromBase(base: RowLayout, step: number): ReturnType<TableHistory['carry']> {
    const ids = this.#history.idsOf(base.relation, 0)
    if (ids === undefined)
      throw new TidemarkError(
        'FOLD_MISMATCH',
        `${this.#history.name}: its copy has other columns than the version that it was copied under`,
      )
    return this.#history.carry(ids, 0, step)
  }
}

/** Each block after the one before it. */
function* inTurn(
  blocks: readonly ChangeBlock[],
): Generator<{ readonly block: ChangeBlock; readonly cursor: ChangeCursor }> {
  for (const block of blocks) {
    const entry = { block, cursor: new ChangeCursor(block) }
    while (entry.cursor.next()) yield entry
  }
}

function layoutAt(history: TableHistory, step: number, key: readonly number[], from: RowLayout): RowLayout {
  const { table, columns } = history.steps[step]!
  const { relation } = table
  const keys = new Set(key)
  return new RowLayout(
    {
      ...relation,
      identity: from.relation.identity,
      columns: relation.columns.map((column, i) => ({ ...column, key: keys.has(columns[i]!.id) })),
    },
    from.text,
  )
}

/** The slice brought to the stage's columns, in the arena; the buffer may be another one afterwards. */
function carried(carrier: RowCarrier, buffer: Buffer, row: RowSlice, arena: ByteSink): RowSlice {
  if (row.start < 0) return row
  const start = arena.at
  carrier.write(buffer, row.start, row.end, arena)
  return { start, end: arena.at }
}

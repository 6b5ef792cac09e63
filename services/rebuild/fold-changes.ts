/** One pass over the segments of a plan, each object opened once: every table's changes go to its fold. */
import type { Randomness } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import { parsePosition, type Position, positionOf } from '../core/position.ts'
import type { Repository } from '../repository/repository.ts'
import { foldRooms, IN_MEMORY } from './fold-room.ts'
import type { RestorePlan, TablePlan } from './plan.ts'
import { type ChangeBlock, objectBlocks, type SegmentsEntry } from '../history/segment-reader.ts'
import { SpillFile } from './spill-file.ts'
import { TableFold } from './table-fold.ts'

export interface FoldOptions {
  readonly repository: Repository
  readonly plan: Pick<RestorePlan, 'segments' | 'point'> & { readonly tables: readonly TablePlan[] }
  readonly randomness: Randomness
  /** Bytes of changes kept in memory; LIMITS.foldBytes where it is not given. */
  readonly memoryBytes?: number | undefined
  readonly signal: AbortSignal
  onProgress?(done: number, total: number): void
}

/** Holds the scratch file that large folds live in: dispose it when the tables are loaded. */
export class FoldedChanges implements Disposable {
  readonly #folds: ReadonlyMap<number, TableFold>
  readonly #spill: SpillFile

  private constructor(folds: ReadonlyMap<number, TableFold>, spill: SpillFile) {
    this.#folds = folds
    this.#spill = spill
  }

  /** @throws TidemarkError what reading the store throws; FOLD_MISMATCH, SPILL_FAILED */
  static async read(options: FoldOptions): Promise<FoldedChanges> {
    const { repository, plan, signal } = options
    const spill = new SpillFile(options.randomness)
    const rooms = foldRooms(plan.tables, options.memoryBytes ?? LIMITS.foldBytes, spill)
    const folds = new Map(
      plan.tables.map((table) => [
        table.oid,
        new TableFold(
          table.history,
          basePosition(table),
          plan.point.position,
          rooms.get(table.oid) ?? IN_MEMORY,
        ),
      ]),
    )
    const wanted = (oid: number): boolean => folds.has(oid)
    try {
      // The next object is fetched and decompressed while this one is folded.
      let before: Promise<Map<number, ChangeBlock[]>> | undefined
      const fold = async (): Promise<void> => {
        const opened = before
        before = undefined
        for (const [oid, ofTable] of (await opened) ?? []) folds.get(oid)!.apply(ofTable)
      }
      let done = 0
      for await (const { body } of plan.segments.entries()) {
        for (const object of body.objects) {
          if (!object.tables.some((table) => wanted(table.oid))) continue
          signal.throwIfAborted()
          // Two at once would be two large rows.
          if (rawBytes(object) >= LIMITS.largeSegmentBytes) await fold()
          const opening = blocksByTable(repository, body, object, wanted)
          opening.catch(() => undefined)
          await fold()
          before = opening
        }
        options.onProgress?.(++done, plan.segments.count)
      }
      await fold()
      return new FoldedChanges(folds, spill)
    } catch (error) {
      spill.close()
      throw error
    }
  }

  of(table: TablePlan): TableFold {
    return this.#folds.get(table.oid)!
  }

  /** Bytes that did not fit into memory. */
  get spilledBytes(): number {
    return this.#spill.size
  }

  [Symbol.dispose](): void {
    this.#spill.close()
  }
}

/** Before compression. */
function rawBytes(object: SegmentsEntry['objects'][number]): number {
  return object.tables.reduce((sum, table) => sum + Number(table.bytes), 0)
}

async function blocksByTable(
  repository: Repository,
  entry: SegmentsEntry,
  object: SegmentsEntry['objects'][number],
  wanted: (oid: number) => boolean,
): Promise<Map<number, ChangeBlock[]>> {
  const blocks = new Map<number, ChangeBlock[]>()
  for await (const block of objectBlocks(repository, entry, object, wanted)) {
    const { oid } = block.layout.relation
    const held = blocks.get(oid)
    if (held === undefined) blocks.set(oid, [block])
    else held.push(block)
  }
  return blocks
}

/** Without a copy nothing is in it: rows in front of the table's first record are refused by the fold, never passed over. */
function basePosition(table: TablePlan): Position {
  return table.base === undefined ? positionOf(0n) : parsePosition(table.base.body.position)
}

/** The changes of one table in one segment, brought together from blocks of several shapes. */
import { comparePositions } from '../core/position.ts'
import { type ChangeBlock, ChangeCursor } from '../history/segment-reader.ts'

interface Run {
  readonly blocks: ChangeBlock[]
  /** The block being gone through, and where in it. */
  entry: { readonly block: ChangeBlock; readonly cursor: ChangeCursor } | undefined
}

/**
 * All changes of the blocks in commit order. The blocks of one shape are in that order among themselves, and tables seldom
 * change their shape: the run with the next change is gone through until another one's comes first.
 */
export function* inCommitOrder(
  blocks: readonly ChangeBlock[],
): Generator<{ readonly block: ChangeBlock; readonly cursor: ChangeCursor }> {
  const byShape = new Map<string, Run>()
  for (const block of blocks) {
    const run = byShape.get(block.shape)
    if (run === undefined) byShape.set(block.shape, { blocks: [block], entry: undefined })
    else run.blocks.push(block)
  }
  const runs = [...byShape.values()].filter(advance)
  while (runs.length > 0) {
    runs.sort(byPlace)
    const [first, second] = runs
    do {
      yield first!.entry!
      if (!advance(first!)) {
        runs.shift()
        break
      }
    } while (second === undefined || byPlace(first!, second) <= 0)
  }
}

/** Moves to the run's next change; false at its end. */
function advance(run: Run): boolean {
  while (run.entry?.cursor.next() !== true) {
    const block = run.blocks.shift()
    if (block === undefined) return false
    run.entry = { block, cursor: new ChangeCursor(block) }
  }
  return true
}

function byPlace(a: Run, b: Run): number {
  const one = a.entry!.cursor
  const other = b.entry!.cursor
  return comparePositions(one.position, other.position) || one.ordinal - other.ordinal
}

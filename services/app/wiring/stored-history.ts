/** The newest cuts as the ledger has them in the clear: a writer cannot read the segments that an earlier one wrote. */
import { comparePositions, parsePosition, type Position } from '../../core/position.ts'
import type { StoredCut, StoredHistory } from '../../core/ports/source.ts'
import { parseInstant } from '../../formats/temporal.ts'
import type { Generation } from '../../repository/generation.ts'
import { isSegments } from '../../repository/segment-log.ts'

/** More than a slot lags behind after a crash of its server. */
const MOST_CUTS = 4096

/** @param from what lies below it does not matter */
export async function storedHistory(generation: Generation, from: Position): Promise<StoredHistory> {
  const cuts: StoredCut[] = []
  let known = from
  for await (const entry of generation.segments.backwards((c) => comparePositions(c.to, from) >= 0)) {
    if (!isSegments(entry)) continue
    const { body } = entry
    known = parsePosition(body.from)
    cuts.unshift({
      from: known,
      to: parsePosition(body.to),
      transactions: BigInt(body.transactions),
      firstCommittedAt: parseInstant(body.firstCommittedAt),
      lastCommittedAt: parseInstant(body.lastCommittedAt),
    })
    if (cuts.length === MOST_CUTS) break
  }
  return { from: known, end: generation.end, cuts }
}

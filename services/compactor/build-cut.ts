/** One cut from the items of its transactions: what a compactor does that helps the one that writes the ledger. */
import type { Clock, Randomness } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Position } from '../core/position.ts'
import { growingPauses, isOutage, retrying } from '../core/retry.ts'
import { encodedBytes, type TransactionPart } from '../core/transaction.ts'
import type { Repository } from '../repository/repository.ts'
import { CutObjects } from './cut-objects.ts'
import type { MadeCut } from './made-cut.ts'
import { OpenCut } from './open-cut.ts'
import { CompressionGate } from './segment-builder.ts'

export interface CutRequest {
  readonly parts: AsyncIterable<TransactionPart>
  /** Where the cut before ended. */
  readonly from: Position
  readonly repository: Repository
  readonly generation: number
  /** A segment is finished at this size, before compression. */
  readonly segmentBytes: number
  readonly clock: Clock
  readonly randomness: Randomness
  readonly signal: AbortSignal
  onRetry?(error: { readonly code: string; readonly message: string }): void
  /** Named points of the write path, for crash tests. */
  onPoint?(point: string): unknown
}

/** @throws TidemarkError what reading the parts throws, and what no second try of the store mends */
export async function buildCut(request: CutRequest): Promise<MadeCut> {
  const { repository, generation, clock, randomness, signal } = request
  const gate = new CompressionGate()
  const cut = new OpenCut(request.from, clock.elapsed(), gate)
  const patiently = <T>(action: () => Promise<T>): Promise<T> =>
    retrying(action, {
      clock,
      pauses: growingPauses(randomness),
      passes: isOutage,
      signal,
      onAgain: ({ code, message }) => request.onRetry?.({ code, message }),
    })
  const objects = new CutObjects({
    repository,
    generation,
    randomness,
    signal,
    retrying: patiently,
    events: request.onPoint === undefined ? {} : { onPoint: request.onPoint.bind(request) },
  })
  let open = 0
  for await (const part of request.parts) {
    cut.add(part, clock.elapsed())
    open += encodedBytes(part)
    if (gate.isFull) await gate.room()
    if (open < request.segmentBytes || part.end !== undefined) continue
    // A large transaction: its segments are stored as they come.
    const isLarge = open >= LIMITS.largeSegmentBytes
    open = 0
    const index = cut.nextSegment(randomness)
    cut.finished[index] = objects.early(cut, index, cut.finished[index]!)
    if (isLarge) await cut.finished[index]
    else if (index >= LIMITS.segmentsInFlight) await cut.finished[index - LIMITS.segmentsInFlight]
  }
  return objects.put(cut)
}

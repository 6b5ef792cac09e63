/**
 * A look at the history of a source beside no job: what its slot sends once more is compared with what is stored, and nothing is acknowledged.
 * A source that was set back and has written past the ledger's end since is told by nothing else.
 */
import type { Clock } from '../../../core/clock.ts'
import { asTidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { comparePositions } from '../../../core/position.ts'
import type { StoredHistory } from '../../../core/ports/source.ts'
import type { SlotState } from '../admin/slot.ts'
import { HistoryProof } from './history-proof.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import { timelineOf, type Timelines } from '../admin/timeline.ts'
import { WalStream } from './wal-stream.ts'

export interface HistoryLook {
  readonly url: string
  readonly publication: string
  readonly slot: SlotState
  readonly timelines: Timelines
  readonly stored: StoredHistory
  readonly clock: Clock
}

/**
 * Says nothing where it cannot tell: a job that reads the slot has proven it, and proves it itself where it comes meanwhile.
 *
 * @throws TidemarkError SOURCE_DIVERGED
 */
export async function lookAtHistory(look: HistoryLook): Promise<void> {
  const { slot, stored, clock, timelines } = look
  if (slot.active || comparePositions(slot.confirmed, stored.end) >= 0) return
  const proof = new HistoryProof(stored, slot.confirmed)
  const stream = new WalStream({
    url: look.url,
    slot: slot.name,
    publication: look.publication,
    // Rows are passed over, whatever is in them.
    text: 'bytes',
    timelineOf: (lsn) => timelineOf(timelines, lsn),
    applicationName: APPLICATION_NAME,
    clock,
    largestRow: LIMITS.historyLook.largestRow,
    proof,
    slotState: () => Promise.resolve(undefined),
  })
  const over = new AbortController()
  const late = clock.sleep(LIMITS.historyLook.limitMs, over.signal).then(
    () => over.abort(new DOMException('looked for long enough', 'AbortError')),
    () => undefined,
  )
  // The first item behind what is stored: at a source that writes nothing, this heartbeat.
  stream.wantHeartbeat()
  try {
    for await (const _ of stream.run(stored.end, over.signal)) if (proof.isComplete) break
  } catch (error) {
    const { code } = asTidemarkError(error)
    if (code === 'SOURCE_DIVERGED' || code === 'INTERNAL') throw error
  } finally {
    over.abort(new DOMException('over', 'AbortError'))
    await late
  }
}

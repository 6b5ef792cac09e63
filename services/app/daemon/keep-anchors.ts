/** Anchors the head of the ledger from time to time. A place that cannot be written is said, and tried again: an anchor is no part of a backup. */
import { systemClock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Anchors } from '../../repository/anchors.ts'
import type { Signer } from '../../formats/signed-line.ts'
import type { Say } from './up-events.ts'

/** @returns whether there are anchors, and the head stands in all of them now */
export async function writeAnchors(
  anchors: Anchors | undefined,
  signer: () => Signer,
  say: Say,
): Promise<boolean> {
  if (anchors === undefined || anchors.isEmpty) return false
  const failures = await anchors.write(signer())
  for (const failure of failures) say({ event: 'anchor-failed', ...failure })
  return failures.length === 0
}

export async function keepAnchors(write: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await write()
    await systemClock.sleep(LIMITS.anchorMs, signal).catch(() => undefined)
  }
}

/** Anchors the head of the ledger from time to time. A place that cannot be written is said, and tried again: an anchor is no part of a backup. */
import { LIMITS } from '../../core/limits.ts'
import type { Signer } from '../../formats/signed-line.ts'
import type { Anchors } from '../../repository/anchors.ts'
import type { Task } from './supervisor.ts'
import type { Say } from './up-events.ts'

export interface AnchorOptions {
  readonly anchors: Anchors
  readonly signer: () => Signer
  readonly say: Say
  /** The head stands in every anchor. */
  readonly onAnchored: () => void
  /** What the anchors say may still be what was lost: until that is given up nothing is written over it. */
  readonly mayWrite: () => boolean
}

export function anchorTask({ anchors, signer, say, onAnchored, mayWrite }: AnchorOptions): Task {
  return {
    name: 'anchors',
    due: { everyMs: LIMITS.anchorMs, andLast: true },
    async run() {
      if (anchors.isEmpty || !mayWrite()) return
      const failures = await anchors.write(signer())
      for (const failure of failures) say({ event: 'anchor-failed', ...failure })
      if (failures.length === 0) onAnchored()
    },
  }
}

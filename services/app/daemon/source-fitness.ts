/**
 * What `up` would refuse of its source at the next start, looked for while it runs: after a crash in the night it would stay down, and
 * nobody would have been told before.
 */
import { unlessAborted } from '../../core/bounded-queue.ts'
import { LIMITS } from '../../core/limits.ts'
import type { SourceAdmin } from '../../core/ports/source-admin.ts'
import { unfitness } from '../operations/examine-source.ts'
import type { Task } from './supervisor.ts'
import type { UpEvent } from './up-events.ts'

export interface FitnessOptions {
  /** Undefined while there is no generation. */
  readonly admin: () => SourceAdmin | undefined
  readonly isConnected: () => boolean
  readonly say: (event: UpEvent) => void
}

export function fitnessTask({ admin, isConnected, say }: FitnessOptions): Task {
  const { everyMs } = LIMITS.sourceFitness
  let told: string | undefined
  return {
    name: 'source fitness',
    due: { firstMs: LIMITS.sourceFitness.firstMs, everyMs },
    needs: { are: isConnected, lookMs: everyMs },
    async run({ signal }) {
      const asked = admin()
      if (asked === undefined) return
      const refused = await unlessAborted(unfitness(asked), signal)
      if (refused?.code === told) return
      told = refused?.code
      const trouble =
        refused === undefined ? null : { code: refused.code, message: refused.what, next: refused.fix }
      say({ event: 'source-fitness', trouble })
    },
    // Of the source's outage the stream tells. A mistake of ours ends the job like any other.
    failed: ({ code }) => ({ meaning: code === 'INTERNAL' ? 'drains' : 'reported' }),
  }
}

/** Fills the copies behind the primary store, each at its own pace: one that is away holds up no other, and catches up by itself. */
import type { Clock } from '../../core/clock.ts'
import type { Signer } from '../../formats/signed-line.ts'
import type { Ledger } from '../../repository/ledger.ts'
import type { Floor } from '../../repository/floor.ts'
import { mirror } from '../../repository/mirror.ts'
import { setOrphansAside } from '../../repository/orphans.ts'
import type { OpenedCopy } from '../wiring/store-set.ts'
import { isOutage } from '../../core/retry.ts'
import type { Task } from './supervisor.ts'
import type { Say } from './up-events.ts'

/** How often the ledger is looked at for more. */
const FOLLOW_MS = 500
/** A copy that only a person can mend is looked at this often. */
const PERSON_MS = 60_000

export interface CopiesOptions {
  readonly ledger: Ledger
  readonly stream: string
  /** Where the backup begins by now. */
  readonly floor: () => Floor | undefined
  readonly signer: () => Signer
  readonly copies: readonly OpenedCopy[]
  readonly say: Say
  readonly clock: Clock
  /** A copy has everything up to this entry. */
  readonly onCopied: (place: string, entry: bigint) => void
  /** Several processes may write: one of them fills the copies. */
  readonly isOurs: () => boolean
}

/** What a synchronous copy lacks it gets with the next entry, before that counts as durable: here are the mirrored ones. */
export function copyTasks(options: CopiesOptions): Task[] {
  return options.copies
    .filter((copy) => copy.place.mode === 'mirrored')
    .map((copy) => copyTask(options, copy))
}

function copyTask(options: CopiesOptions, { store, place }: OpenedCopy): Task {
  const { ledger, stream, floor, signer, say, clock, onCopied, isOurs } = options
  let done: bigint | undefined
  let failing = false
  return {
    name: `copy ${store.place}`,
    due: { everyMs: FOLLOW_MS, reportedMs: PERSON_MS },
    needs: { are: isOurs, lookMs: FOLLOW_MS },
    async run({ signal, gotOn }) {
      if (done !== undefined && done >= ledger.headNumber) return
      const before = done
      if (done === undefined) await setOrphansAside(ledger, store, stream, signer())
      const { bandwidth } = place
      done = await mirror({
        ledger,
        stream,
        to: store,
        floor: floor(),
        from: done,
        bandwidth,
        clock,
        signal,
        onEntry: gotOn,
      })
      if (before === undefined || failing) say({ event: 'copy', place: store.place, entry: String(done) })
      failing = false
      onCopied(store.place, done)
    },
    failed(error) {
      // It was promoted: this store is no longer the primary one, and nothing more may count as durable here.
      if (error.code === 'STORE_SUPERSEDED') return { meaning: 'ends' }
      say({ event: 'copy-failed', place: store.place, code: error.code, message: error.message })
      failing = true
      // Looked at anew: it may have been exchanged.
      done = undefined
      return { meaning: isOutage(error) ? 'retried' : 'reported' }
    },
  }
}

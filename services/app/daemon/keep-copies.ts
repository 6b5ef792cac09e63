/** Fills the copies behind the primary store, each at its own pace: one that is away holds up no other, and catches up by itself. */
import { systemClock, systemRandomness } from '../../core/clock.ts'
import { asTidemarkError, type TidemarkError } from '../../core/errors.ts'
import { Backoff } from '../../core/running-state.ts'
import type { Signer } from '../../formats/signed-line.ts'
import type { Ledger } from '../../repository/ledger.ts'
import type { Floor } from '../../repository/floor.ts'
import { mirror } from '../../repository/mirror.ts'
import { setOrphansAside } from '../../repository/orphans.ts'
import type { OpenedCopy } from '../wiring/store-set.ts'
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
  /** A copy has everything up to this entry. */
  readonly onCopied: (place: string, entry: bigint) => void
  /** A copy was promoted: this store is no longer the primary one, and nothing more may count as durable here. */
  readonly onSuperseded: (error: TidemarkError) => void
  /** Several processes may write: one of them fills the copies. */
  readonly isOurs: () => boolean
}

export async function keepCopies(options: CopiesOptions, signal: AbortSignal): Promise<void> {
  // What a synchronous copy lacks it gets with the next entry, before that counts as durable.
  await Promise.all(
    options.copies
      .filter((copy) => copy.place.mode === 'mirrored')
      .map((copy) => keepCopy(options, copy, signal)),
  )
}

async function keepCopy(
  { ledger, stream, floor, signer, say, onCopied, onSuperseded, isOurs }: CopiesOptions,
  { store, place }: OpenedCopy,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(systemClock, systemRandomness)
  let done: bigint | undefined
  let failing = false
  while (!signal.aborted) {
    try {
      if (isOurs() && (done === undefined || done < ledger.headNumber)) {
        const before = done
        if (done === undefined) await setOrphansAside(ledger, store, stream, signer())
        done = await mirror({
          ledger,
          stream,
          to: store,
          floor: floor(),
          from: done,
          bandwidth: place.bandwidth,
          clock: systemClock,
          signal,
          onEntry: () => backoff.reset(),
        })
        if (before === undefined || failing) say({ event: 'copy', place: store.place, entry: String(done) })
        failing = false
        onCopied(store.place, done)
        backoff.reset()
      }
      await systemClock.sleep(FOLLOW_MS, signal)
    } catch (error) {
      if (signal.aborted) return
      const known = asTidemarkError(error)
      if (known.code === 'STORE_SUPERSEDED') return onSuperseded(known)
      say({ event: 'copy-failed', place: store.place, code: known.code, message: known.message })
      failing = true
      // Looked at anew: it may have been exchanged.
      done = undefined
      await (known.retry === 'again' ? backoff.pause(signal) : systemClock.sleep(PERSON_MS, signal)).catch(
        () => undefined,
      )
    }
  }
}

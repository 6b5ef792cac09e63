/** What runs beside the stream, in the process that writes the ledger: anchors, copies, and the upkeep of what is stored. */
import { systemClock } from '../../core/clock.ts'
import type { TidemarkError } from '../../core/errors.ts'
import type { Repository } from '../../repository/repository.ts'
import { keepAnchors } from './keep-anchors.ts'
import { keepCopies } from './keep-copies.ts'
import type { OpenedCopy } from '../wiring/store-set.ts'
import { keepUp } from './upkeep.ts'
import type { Say } from './up-events.ts'

export interface BesideOptions {
  readonly repository: Repository
  readonly copies: readonly OpenedCopy[]
  readonly scrubDays: number
  readonly say: Say
  readonly onCopied: (place: string, entry: bigint) => void
  readonly onSuperseded: (error: TidemarkError) => void
  readonly writeAnchors: () => Promise<void>
  /** Several processes may write: one of them does this. */
  readonly leads: () => boolean
  readonly isConnected: () => boolean
}

export async function runBeside(
  {
    repository,
    copies,
    scrubDays,
    say,
    onCopied,
    onSuperseded,
    writeAnchors,
    leads,
    isConnected,
  }: BesideOptions,
  signal: AbortSignal,
): Promise<void> {
  const { ledger, catalog } = repository
  await Promise.all([
    keepAnchors(writeAnchors, signal),
    keepCopies(
      {
        ledger,
        stream: catalog.stream,
        floor: () => catalog.removedFloor,
        signer: () => repository.signer,
        copies,
        say,
        onCopied,
        onSuperseded,
        isOurs: leads,
      },
      signal,
    ),
    keepUp(
      { repository, copies, scrubDays, say, clock: systemClock, isOurs: () => leads() && isConnected() },
      signal,
    ),
  ])
}

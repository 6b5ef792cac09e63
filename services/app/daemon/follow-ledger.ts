/** The replicator alone: what another process writes into the ledger tells what is durable. */
import { TidemarkError } from '../../core/errors.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Task } from './supervisor.ts'

/** How often it is looked at. */
const FOLLOW_MS = 500

/** Fails with LOG_UNREACHABLE where the log began anew, SIGNER_REFUSED, and what reading the ledger throws. */
export function followTask(repository: Repository, log: ChangeLog, number: number): Task {
  return {
    name: 'follow the ledger',
    due: { everyMs: FOLLOW_MS },
    async run() {
      await repository.ledger.refresh()
      // It writes no entry for long, and would end at some later start.
      repository.confirmSigner()
      const generation = repository.catalog.generations.find((g) => g.facts.generation === number)
      if (generation !== undefined) log.markDurable(generation.end)
      // The compactor found a hole: what this process put into the log no longer counts.
      if (Number(generation?.log?.since ?? 0) > Number(repository.claimedAt))
        throw new TidemarkError(
          'LOG_UNREACHABLE',
          "the log begins anew: everything behind the store's end is sent again",
        )
    },
  }
}

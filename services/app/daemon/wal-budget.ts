/** While a store holds up what counts as durable, WAL waits on the source: how much, and how long the source can bear it. */
import type { Clock } from '../../core/clock.ts'
import type { Generation } from '../../repository/generation.ts'
import { askSource } from '../operations/status.ts'
import type { Task } from './supervisor.ts'
import type { Say, UpEvent } from './up-events.ts'

/** Told this often at most. */
const EVERY_MS = 60_000
/** How often it is looked at whether somebody wants to know. */
const LOOK_MS = 500

export interface WalBudgetOptions {
  readonly url: string
  readonly generation: () => Generation | undefined
  readonly say: Say
  readonly clock: Clock
}

export class WalBudget {
  readonly #options: WalBudgetOptions
  #isWanted = false

  constructor(options: WalBudgetOptions) {
    this.#options = options
  }

  see(event: UpEvent): void {
    this.#isWanted ||= event.event === 'retry' && event.code.startsWith('STORE_')
  }

  /** By a connection of its own: without the store there may be none to the source. Nobody waits for the answer. */
  get task(): Task {
    const { url, generation, say, clock } = this.#options
    return {
      name: 'WAL budget',
      due: { everyMs: EVERY_MS },
      needs: { are: () => this.#isWanted && generation() !== undefined, lookMs: LOOK_MS },
      run: async () => {
        this.#isWanted = false
        const asked = generation()
        if (asked === undefined) return
        const { lag, budget } = await askSource(url, asked, clock)
        if (budget === null) return
        const { bytes, seconds } = budget
        say({ event: 'wal-budget', bytes, seconds, lagBytes: lag.bytes })
      },
      // Of the source's own outage the stream tells.
      failed: () => ({ meaning: 'reported' }),
    }
  }
}

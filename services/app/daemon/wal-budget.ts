/** While a store holds up what counts as durable, WAL waits on the source: how much, and how long the source can bear it. */
import { systemClock } from '../../core/clock.ts'
import type { Generation } from '../../repository/generation.ts'
import { askSource } from '../operations/status.ts'
import type { Say, UpEvent } from './up-events.ts'

/** Told this often at most. */
const EVERY_MS = 60_000

export class WalBudget {
  readonly #url: string
  readonly #generation: () => Generation | undefined
  readonly #say: Say
  #toldAt = -EVERY_MS
  #asking: Promise<void> = Promise.resolve()

  constructor(url: string, generation: () => Generation | undefined, say: Say) {
    this.#url = url
    this.#generation = generation
    this.#say = say
  }

  see(event: UpEvent): void {
    const generation = this.#generation()
    if (
      event.event !== 'retry' ||
      !event.code.startsWith('STORE_') ||
      generation === undefined ||
      systemClock.elapsed() - this.#toldAt < EVERY_MS
    )
      return
    this.#toldAt = systemClock.elapsed()
    this.#asking = askSource(this.#url, generation).then(
      ({ lag, budget }) => {
        if (budget !== null)
          this.#say({
            event: 'wal-budget',
            bytes: budget.bytes,
            seconds: budget.seconds,
            lagBytes: lag.bytes,
          })
      },
      // Of the source's own outage others tell.
      () => undefined,
    )
  }

  /** Nothing is asked any more. */
  get over(): Promise<void> {
    return this.#asking
  }
}

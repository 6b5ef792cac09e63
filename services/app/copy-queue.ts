/** Copies beside the stream: the base first, then tables with a gap, one after the other. */
import { systemClock, systemRandomness } from '../core/clock.ts'
import { compareLsn, type Lsn, parseLsn } from '../core/position.ts'
import { BaseCopy, type BaseEvents } from '../replicator/base-copy.ts'
import type { Repository } from '../repository/repository.ts'
import type { openSource } from './compose.ts'
import type { UpEvent } from './up-events.ts'

export class CopyQueue {
  readonly #source: ReturnType<typeof openSource>
  readonly #repository: Repository
  readonly #generation: number
  readonly #events: BaseEvents
  readonly #wanted: { readonly id: string; readonly oid: number }[] = []
  readonly #known = new Set<string>()
  #wake: (() => void) | undefined

  constructor(
    source: ReturnType<typeof openSource>,
    repository: Repository,
    generation: number,
    events: BaseEvents,
  ) {
    this.#source = source
    this.#repository = repository
    this.#generation = generation
    this.#events = events
  }

  /** A gap of the ledger; each is closed once. */
  want(gap: { readonly id: string; readonly oid: number }): void {
    if (this.#known.has(gap.id)) return
    this.#known.add(gap.id)
    this.#wanted.push(gap)
    this.#wake?.()
  }

  async run(signal: AbortSignal, say: (event: UpEvent) => void, onBase: () => void): Promise<void> {
    const copy = (): BaseCopy =>
      new BaseCopy({
        source: this.#source,
        repository: this.#repository,
        generation: this.#generation,
        clock: systemClock,
        randomness: systemRandomness,
        events: this.#events,
      })
    const generation = this.#repository.catalog.generations.find(
      (g) => g.facts.generation === this.#generation,
    )
    if (generation?.base === undefined) {
      const base = await copy().base(signal)
      say({ event: 'base', closing: base.closing, rows: base.rows, bytes: base.bytes })
      await this.#reached(parseLsn(base.closing), signal)
      onBase()
    }
    for (;;) {
      const next = this.#wanted.shift()
      if (next === undefined) {
        await new Promise<void>((resolve, reject) => {
          this.#wake = resolve
          if (signal.aborted) reject(signal.reason as Error)
          else signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        })
        continue
      }
      await copy().closeGap(next, signal)
      const closedAt = this.#repository.catalog.gaps.find((gap) => gap.id === next.id)?.closedAt
      if (closedAt !== undefined) await this.#reached(closedAt, signal)
      say({ event: 'gap-closed', id: next.id })
    }
  }

  /** A copy is of use once the stream is durable up to it: asks for heartbeats where the source is quiet. */
  async #reached(position: Lsn, signal: AbortSignal): Promise<void> {
    for (;;) {
      const generation = this.#repository.catalog.generations.find(
        (g) => g.facts.generation === this.#generation,
      )
      if (generation !== undefined && compareLsn(generation.end, position) >= 0) return
      this.#source.wantHeartbeat()
      await systemClock.sleep(100, signal)
    }
  }
}

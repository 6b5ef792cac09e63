/** Copies beside the stream: the base first, then tables with a gap, one after the other. */
import { systemClock, systemRandomness } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
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
      const next = await this.#next(signal)
      await copy().closeGap(next, signal)
      const closedAt = this.#repository.catalog.gaps.find((gap) => gap.id === next.id)?.closedAt
      if (closedAt !== undefined) await this.#reached(closedAt, signal)
      say({ event: 'gap-closed', id: next.id })
    }
  }

  /** The next gap whose table is in the stream again: a copy of one that is left out would be old at once. */
  async #next(signal: AbortSignal): Promise<{ readonly id: string; readonly oid: number }> {
    for (;;) {
      const leftOut = new Set(
        this.#wanted.length === 0 ? [] : (await this.#source.leftOut()).map((table) => table.oid),
      )
      const index = this.#wanted.findIndex((gap) => !leftOut.has(gap.oid))
      const [next] = index < 0 ? [] : this.#wanted.splice(index, 1)
      if (next !== undefined) return next
      await this.#woken(signal, this.#wanted.length === 0 ? undefined : LIMITS.identityPollMs)
    }
  }

  #woken(signal: AbortSignal, limitMs: number | undefined): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        clearTimeout(timer)
        reject(signal.reason as Error)
      }
      const timer = limitMs === undefined ? undefined : setTimeout(() => this.#wake?.(), limitMs)
      this.#wake = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
    })
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

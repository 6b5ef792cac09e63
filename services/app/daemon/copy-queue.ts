/** Copies beside the stream: the base first, then tables with a gap, those that wait under one snapshot. */
import { type Clock, systemRandomness } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import { comparePositions, parsePosition, type Position } from '../../core/position.ts'
import { BaseCopy, type BaseEvents } from '../../replicator/base-copy.ts'
import type { Repository } from '../../repository/repository.ts'
import type { openSource } from '../wiring/compose.ts'
import type { UpEvent } from './up-events.ts'

export interface CopyQueueEvents extends BaseEvents {
  /** Copying a table again begins, or is over. */
  onCopying?(oid: number, isUnderWay: boolean): void
}

interface WantedCopy {
  readonly id: string
  readonly oid: number
  /** On the monotonic clock: a copy that was refused waits. */
  readonly due: number
  readonly pauseMs: number
}

export class CopyQueue {
  readonly #source: ReturnType<typeof openSource>
  readonly #repository: Repository
  readonly #generation: number
  readonly #events: CopyQueueEvents
  readonly #clock: Clock
  readonly #wanted: WantedCopy[] = []
  readonly #known = new Set<string>()
  #wake: (() => void) | undefined

  constructor(
    source: ReturnType<typeof openSource>,
    repository: Repository,
    generation: number,
    events: CopyQueueEvents,
    clock: Clock,
  ) {
    this.#source = source
    this.#repository = repository
    this.#generation = generation
    this.#events = events
    this.#clock = clock
  }

  /** Gaps of the ledger, whoever wrote them: an earlier process may have left some in the log. Returns what ends it. */
  wantOpenGaps(): () => void {
    const { catalog, ledger } = this.#repository
    const want = (): void => {
      for (const gap of catalog.openGaps)
        if (gap.scope.kind === 'table') this.want({ id: gap.id, oid: gap.scope.oid })
    }
    const off = ledger.onEntry((entry) => entry.body?.kind === 'gap' && want())
    want()
    return off
  }

  /** A gap of the ledger; each is closed once. */
  want(gap: { readonly id: string; readonly oid: number }): void {
    if (this.#known.has(gap.id)) return
    this.#known.add(gap.id)
    this.#wanted.push({ ...gap, due: 0, pauseMs: LIMITS.refusedCopyMs[0] })
    this.#wake?.()
  }

  async run(signal: AbortSignal, say: (event: UpEvent) => void, onBase: () => void): Promise<void> {
    const copy = (): BaseCopy =>
      new BaseCopy({
        source: this.#source,
        repository: this.#repository,
        generation: this.#generation,
        clock: this.#clock,
        randomness: systemRandomness,
        events: this.#events,
      })
    const generation = this.#repository.catalog.generations.find(
      (g) => g.facts.generation === this.#generation,
    )
    if (generation?.base === undefined) {
      const base = await copy().base(signal)
      say({ event: 'base', closing: base.closing, rows: base.rows, bytes: base.bytes })
      await this.#reached(parsePosition(base.closing), signal)
      onBase()
    }
    for (;;) {
      const next = await this.#next(signal)
      for (const { oid } of next) this.#events.onCopying?.(oid, true)
      const refused = await copy().closeGaps(next, signal)
      for (const { oid } of next) this.#events.onCopying?.(oid, false)
      for (const gap of next)
        if (refused.has(gap.id)) this.#later(gap)
        else {
          const closedAt = this.#closedAt(gap.id)
          if (closedAt !== undefined) await this.#reached(closedAt, signal)
          say({ event: 'gap-closed', id: gap.id })
        }
    }
  }

  /** The row may go, or the limit be raised, which takes a new start. */
  #later(gap: WantedCopy): void {
    const pauseMs = Math.min(2 * gap.pauseMs, LIMITS.refusedCopyMs[1])
    this.#wanted.push({ ...gap, due: this.#clock.elapsed() + gap.pauseMs, pauseMs })
  }

  #closedAt(id: string): Position | undefined {
    return this.#repository.catalog.gaps.find((gap) => gap.id === id)?.closedAt
  }

  /** The gaps that are due and whose tables are in the stream again: a copy of one that is left out would be old at once. */
  async #next(signal: AbortSignal): Promise<readonly WantedCopy[]> {
    for (;;) {
      const now = this.#clock.elapsed()
      const due = this.#wanted.filter((gap) => gap.due <= now)
      const leftOut = new Set(due.length === 0 ? [] : (await this.#source.leftOut()).map(({ oid }) => oid))
      const next = new Map<number, WantedCopy>()
      for (const gap of due) {
        if (leftOut.has(gap.oid) || next.has(gap.oid)) continue
        if (next.size >= LIMITS.gapsOfOneCopy) break
        this.#wanted.splice(this.#wanted.indexOf(gap), 1)
        // The copy of another gap of its table has closed it.
        if (this.#closedAt(gap.id) === undefined) next.set(gap.oid, gap)
      }
      if (next.size > 0) return [...next.values()]
      const first = this.#wanted.reduce((least, gap) => Math.min(least, gap.due), Number.POSITIVE_INFINITY)
      await this.#woken(
        signal,
        this.#wanted.length === 0 ? undefined : Math.max(LIMITS.identityPollMs, first - now),
      )
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
  async #reached(position: Position, signal: AbortSignal): Promise<void> {
    for (;;) {
      const generation = this.#repository.catalog.generations.find(
        (g) => g.facts.generation === this.#generation,
      )
      if (generation !== undefined && comparePositions(generation.end, position) >= 0) return
      this.#source.wantHeartbeat()
      await this.#clock.sleep(100, signal)
    }
  }
}

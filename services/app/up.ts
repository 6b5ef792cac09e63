/**
 * The main job in one process: base if needed, stream always. Outages of source and store are waited out with growing
 * pauses; what only a person can mend ends it with its code.
 */
import { Compactor, type CompactorEvents } from '../compactor/compactor.ts'
import type { RollPolicy } from '../compactor/roll-policy.ts'
import { systemClock, systemRandomness } from '../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { compareLsn, formatLsn, type Lsn, maxLsn, parseLsn } from '../core/position.ts'
import { Backoff } from '../core/running-state.ts'
import { formatInstant } from '../formats/temporal.ts'
import { BaseCopy, type BaseEvents } from '../replicator/base-copy.ts'
import { Replicator } from '../replicator/replicator.ts'
import type { Generation } from '../repository/catalog.ts'
import type { Repository } from '../repository/repository.ts'
import { openLog, openSource } from './compose.ts'
import type { Config } from './config.ts'
import { beginGeneration } from './generation.ts'

export type UpEvent =
  | { readonly event: 'starting'; readonly generation: number; readonly from: string }
  | { readonly event: 'base-progress'; readonly rows: number; readonly rawBytes: number; readonly estimatedRows: number }
  | { readonly event: 'base-table'; readonly table: string; readonly rows: number; readonly bytes: number }
  | { readonly event: 'base-waiting'; readonly pids: readonly number[] }
  | { readonly event: 'base'; readonly closing: string; readonly rows: string; readonly bytes: string }
  | { readonly event: 'streaming'; readonly generation: number; readonly position: string }
  | { readonly event: 'durable'; readonly to: string; readonly transactions: number; readonly changes: number; readonly bytes: number; readonly lastCommittedAt: string; readonly lagMs: number }
  | { readonly event: 'gap'; readonly table: string; readonly from: string; readonly reason: string }
  | { readonly event: 'gap-closed'; readonly id: string }
  /** A record in our topics that is not ours: passed over, and nothing of ours is missing. */
  | { readonly event: 'foreign'; readonly topic: string; readonly partition: number; readonly offset: string }
  | { readonly event: 'generation'; readonly generation: number; readonly reason: string }
  | { readonly event: 'retry'; readonly code: string; readonly message: string }
  | { readonly event: 'stopped'; /** Everything received became durable; else the rest was dropped, was never acknowledged and comes again. */ readonly drained: boolean }

export interface UpOptions {
  readonly config: Config
  readonly repository: Repository
  readonly onEvent: (event: UpEvent) => void
  /** Named points of the write path, for crash tests. */
  readonly onPoint?: (point: string) => void | Promise<void>
  readonly newGeneration?: boolean
}

export class Up {
  readonly #options: UpOptions
  readonly #policy: RollPolicy
  #streamingSaid = false
  #stop: (() => void) | undefined
  #source: ReturnType<typeof openSource> | undefined
  /** Whether the last attempt reached the source and the store; readiness asks. */
  connected = false

  constructor(options: UpOptions) {
    this.#options = options
    const { roll } = options.config
    this.#policy = { segmentBytes: roll.segmentBytes, ageMs: roll.ageMs }
  }

  get source(): ReturnType<typeof openSource> | undefined {
    return this.#source
  }

  /** Ends intake; what was received becomes durable, then `run` resolves. Idempotent. */
  drain(): void {
    this.#stop?.()
  }

  /** @param leave leaves at once: what is not durable was never acknowledged and comes again */
  async run(leave: AbortSignal): Promise<void> {
    const late = new AbortController()
    const signal = AbortSignal.any([leave, late.signal])
    let timer: NodeJS.Timeout | undefined
    const backoff = new Backoff(systemClock, systemRandomness)
    const draining = new AbortController()
    this.#stop = () => {
      draining.abort(new DOMException('draining', 'AbortError'))
      timer ??= setTimeout(() => late.abort(new DOMException('the time for a drain is over', 'AbortError')), LIMITS.drainMs)
    }
    let fresh = this.#options.newGeneration === true ? 'asked for' : undefined
    while (!signal.aborted && !draining.signal.aborted) {
      try {
        if (fresh !== undefined) {
          await this.#newGeneration(fresh)
          fresh = undefined
        }
        await this.#attempt(signal, draining.signal)
        break
      } catch (error) {
        this.connected = false
        if (signal.aborted) break
        const known = asTidemarkError(error)
        if (known.code === 'INTERRUPTED' && draining.signal.aborted) break
        if (known.code === 'SLOT_LOST') {
          // The hole is recorded, never passed over: the old generation ends, a new one begins with its own base.
          fresh = known.message
          continue
        }
        this.#say({ event: 'retry', code: known.code, message: known.message })
        await backoff.wait(known, AbortSignal.any([signal, draining.signal])).catch((waited: unknown) => {
          if (!(waited instanceof DOMException)) throw waited
        })
      }
    }
    clearTimeout(timer)
    this.#say({ event: 'stopped', drained: !signal.aborted })
  }

  #say(event: UpEvent): void {
    this.#options.onEvent(event)
  }

  async #newGeneration(reason: string): Promise<void> {
    const { repository, config } = this.#options
    const old = repository.catalog.generation
    await repository.claim(0)
    // Once for each hole, however often making the generation behind it is tried.
    if (old !== undefined && !repository.catalog.gaps.some((gap) => gap.scope.kind === 'stream' && gap.generation === old.facts.generation && gap.from === old.end)) {
      await repository.append({ kind: 'gap', generation: old.facts.generation, id: systemRandomness.uuid(), from: formatLsn(old.end), to: null, reason, scope: { kind: 'stream' } })
    }
    const generation = await beginGeneration({ repository, url: config.source.url, slot: config.source.slot, publication: config.source.publication, reason })
    this.#say({ event: 'generation', generation, reason })
  }

  async #attempt(signal: AbortSignal, draining: AbortSignal): Promise<void> {
    const { repository, config } = this.#options
    await repository.ledger.refresh()
    const generation = repository.catalog.generation
    if (generation === undefined) throw new TidemarkError('NO_BASE', 'the ledger has no generation', { next: 'tidemark init' })
    const source = openSource(config, generation)
    this.#source = source
    try {
      await this.#stream(source, generation, signal, draining)
    } finally {
      this.connected = false
      await source.close()
    }
  }

  async #stream(source: ReturnType<typeof openSource>, generation: Generation, signal: AbortSignal, draining: AbortSignal): Promise<void> {
    const { repository, config } = this.#options
    const slot = await source.slot()
    if (slot?.active === true) throw new TidemarkError('SLOT_TAKEN', `slot ${slot.name} is read by process ${slot.activePid ?? 0} of the server`)
    await source.check(generation.end)
    const term = await repository.claim(0)
    const log = await openLog({ config, generation, term, signal, onRetry: (error) => this.#say({ event: 'retry', ...error }), onForeign: (place) => this.#say({ event: 'foreign', ...place }), onPoint: this.#options.onPoint })
    const number = generation.facts.generation
    this.#say({ event: 'starting', generation: number, from: formatLsn(generation.end) })
    const stop = new AbortController()
    // Two ways to end: `hard` drops what is not durable, `intake` lets the compactor finish.
    const hard = AbortSignal.any([signal, stop.signal])
    const intake = AbortSignal.any([hard, draining])
    const compactor = new Compactor({ log, repository, generation: number, term, policy: this.#policy, clock: systemClock, randomness: systemRandomness, events: this.#compactorEvents() })
    const wanted: { id: string; oid: number }[] = repository.catalog.openGaps.flatMap((gap) => (gap.scope.kind === 'table' ? [{ id: gap.id, oid: gap.scope.oid }] : []))
    const copies = new CopyQueue(source, repository, number, this.#baseEvents())
    const replicator = new Replicator({
      source,
      log,
      from: maxLsn(generation.end, log.complete),
      durable: generation.end,
      checked: generation.checked,
      sampleMs: Math.max(1000, this.#policy.ageMs / 2),
      clock: systemClock,
      randomness: systemRandomness,
      events: {
        onGap: (gap) => {
          if (gap.scope.kind !== 'table') return
          this.#say({ event: 'gap', table: `${gap.scope.schema}.${gap.scope.name}`, from: formatLsn(gap.from), reason: gap.reason })
          copies.want({ id: gap.id, oid: gap.scope.oid })
        },
      },
    })
    let failure: unknown
    const end = (error: unknown): void => {
      failure ??= error
      log.fail(error)
      stop.abort(new DOMException('stopped', 'AbortError'))
    }
    const compacting = compactor.run(hard).catch(end)
    const replicating = replicator.run(intake).then(
      () => log.end(),
      (error: unknown) => (draining.aborted && !hard.aborted ? log.end() : end(error)),
    )
    for (const gap of wanted) copies.want(gap)
    const copying = copies.run(intake, (event) => this.#say(event), () => this.#streaming(generation)).catch((error: unknown) => {
      if (!intake.aborted) end(error)
    })
    this.connected = true
    if (generation.base !== undefined) this.#streaming(generation)
    await Promise.all([compacting, replicating, copying])
    await log.close()
    if (failure !== undefined) throw failure
  }

  #streaming(generation: Generation): void {
    if (this.#streamingSaid) return
    this.#streamingSaid = true
    this.#say({ event: 'streaming', generation: generation.facts.generation, position: formatLsn(generation.end) })
  }

  #compactorEvents(): CompactorEvents {
    const { onPoint } = this.#options
    return {
      onDurable: (d: { to: Lsn; transactions: number; changes: number; bytes: number; firstCommittedAt: bigint; lastCommittedAt: bigint }) =>
        this.#say({
          event: 'durable',
          to: formatLsn(d.to),
          transactions: d.transactions,
          changes: d.changes,
          bytes: d.bytes,
          lastCommittedAt: formatInstant(d.lastCommittedAt),
          // Of the oldest commit in it: the one that waited longest.
          lagMs: Math.max(0, systemClock.now() - Number(d.firstCommittedAt / 1000n)),
        }),
      onRetry: (error) => this.#say({ event: 'retry', ...error }),
      ...(onPoint === undefined ? {} : { onPoint }),
    }
  }

  #baseEvents(): BaseEvents {
    const { onPoint } = this.#options
    return {
      onWaiting: (pids) => this.#say({ event: 'base-waiting', pids }),
      onTable: (t) => this.#say({ event: 'base-table', table: `${t.schema}.${t.name}`, rows: t.rows, bytes: t.bytes }),
      onProgress: (p) => this.#say({ event: 'base-progress', ...p }),
      ...(onPoint === undefined ? {} : { onPoint }),
    }
  }
}

/** The base first, then tables with a gap, one after the other, beside the stream. */
class CopyQueue {
  readonly #source: ReturnType<typeof openSource>
  readonly #repository: Repository
  readonly #generation: number
  readonly #events: BaseEvents
  readonly #wanted: { readonly id: string; readonly oid: number }[] = []
  #wake: (() => void) | undefined

  constructor(source: ReturnType<typeof openSource>, repository: Repository, generation: number, events: BaseEvents) {
    this.#source = source
    this.#repository = repository
    this.#generation = generation
    this.#events = events
  }

  want(gap: { readonly id: string; readonly oid: number }): void {
    this.#wanted.push(gap)
    this.#wake?.()
  }

  async run(signal: AbortSignal, say: (event: UpEvent) => void, onBase: () => void): Promise<void> {
    const copy = (): BaseCopy => new BaseCopy({ source: this.#source, repository: this.#repository, generation: this.#generation, clock: systemClock, randomness: systemRandomness, events: this.#events })
    const generation = this.#repository.catalog.generations.find((g) => g.facts.generation === this.#generation)
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
      await this.#recorded(next.id, signal)
      await copy().closeGap(next, signal)
      const closedAt = this.#repository.catalog.gaps.find((gap) => gap.id === next.id)?.closedAt
      if (closedAt !== undefined) await this.#reached(closedAt, signal)
      say({ event: 'gap-closed', id: next.id })
    }
  }

  /** A copy is of use once the stream is durable up to it: asks for heartbeats where the source is quiet. */
  async #reached(position: Lsn, signal: AbortSignal): Promise<void> {
    for (;;) {
      const generation = this.#repository.catalog.generations.find((g) => g.facts.generation === this.#generation)
      if (generation !== undefined && compareLsn(generation.end, position) >= 0) return
      this.#source.wantHeartbeat()
      await systemClock.sleep(100, signal)
    }
  }

  /** A gap is closed only once it is in the ledger. */
  async #recorded(id: string, signal: AbortSignal): Promise<void> {
    while (!this.#repository.catalog.gaps.some((gap) => gap.id === id)) await systemClock.sleep(50, signal)
  }
}

/**
 * The main job in one process: base if needed, stream always. Outages of source and store are waited out with growing
 * pauses; what only a person can mend ends it with its code.
 */
import { Compactor } from '../../compactor/compactor.ts'
import type { RollPolicy } from '../../compactor/roll-policy.ts'
import { systemClock, systemRandomness } from '../../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { laterPosition, type Position, positionText } from '../../core/position.ts'
import { Backoff } from '../../core/running-state.ts'
import { Replicator } from '../../replicator/replicator.ts'
import type { ChangeLog } from '../../core/ports/change-log.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Anchors } from '../../repository/anchors.ts'
import type { Repository } from '../../repository/repository.ts'
import { compactTogether } from './compact-together.ts'
import { openLog, openSource } from '../wiring/compose.ts'
import { takeBackCopies } from '../wiring/open-backup.ts'
import { CopyQueue } from './copy-queue.ts'
import type { Config } from '../config/config.ts'
import { followLedger } from './follow-ledger.ts'
import { endingOf, replaceGeneration, unfinishedReplacement } from '../operations/generation.ts'
import type { HealthBoard } from './health-board.ts'
import { runBeside } from './beside.ts'
import { writeAnchors } from './keep-anchors.ts'
import { WalBudget } from './wal-budget.ts'
import { aheadOfStore, LogHoles, lostLog, nameLog } from './log-anew.ts'
import type { OpenedCopy } from '../wiring/store-set.ts'
import { Superseded } from './superseded.ts'
import { baseEvents, compactorEvents, orphansEvent, replicatorEvents, type UpEvent } from './up-events.ts'

/** The whole job, or one side of a Kafka between two processes. */
export type Role = 'both' | 'replicator' | 'compactor'

/** The replicator's claim is not a lane's. */
const REPLICATOR = -1

export interface UpOptions {
  readonly role?: Role
  readonly config: Config
  readonly repository: Repository
  readonly onEvent: (event: UpEvent) => void
  /** Hears what mirrored copies have, and that the ledger's head stands in every anchor. */
  readonly board?: Pick<HealthBoard, 'copied' | 'anchored'>
  /** Named points of the write path, for crash tests. */
  readonly onPoint?: (point: string) => void | Promise<void>
  /** Why the old slot is given up. */
  readonly newGeneration?: string | undefined
  readonly anchors?: Anchors
  readonly copies?: readonly OpenedCopy[]
  /** What the anchors say is given up, once `newGeneration` stands in the ledger. */
  readonly lossAccepted?: boolean
}

export class Up {
  readonly #options: UpOptions
  readonly #policy: RollPolicy
  #streamingSaid = false
  readonly #superseded = new Superseded()
  #stop: (() => void) | undefined
  #source: ReturnType<typeof openSource> | undefined
  /** What came of the source and what of it is durable, while there is a stream. */
  flow: (() => { readonly received: Position; readonly durable: Position }) | undefined
  /** Whether the last attempt reached the source and the store; readiness asks. */
  connected = false
  /** Not for a compactor alone, which has no way to the source. */
  readonly #budget: WalBudget | undefined
  #lossAccepted: boolean
  /** Among several compactors one fills the copies. */
  #leads: boolean

  constructor(options: UpOptions) {
    this.#options = options
    this.#lossAccepted = options.lossAccepted === true
    this.#leads = options.role !== 'compactor'
    if (options.role !== 'compactor')
      this.#budget = new WalBudget(
        options.config.source.url,
        () => options.repository.catalog.generation,
        options.onEvent,
      )
    this.#policy = options.config.roll
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
    const signal = AbortSignal.any([leave, late.signal, this.#superseded.signal])
    let timer: NodeJS.Timeout | undefined
    const draining = new AbortController()
    this.#stop = () => {
      draining.abort(new DOMException('draining', 'AbortError'))
      timer ??= setTimeout(
        () => late.abort(new DOMException('the time for a drain is over', 'AbortError')),
        LIMITS.drainMs,
      )
    }
    if (this.#role !== 'replicator')
      for (const { place, orphans } of await takeBackCopies(this.#options.repository))
        this.#say(orphansEvent(place, orphans))
    const over = new AbortController()
    const beside = this.#beside(AbortSignal.any([signal, draining.signal, over.signal]))
    try {
      await this.#attempts(signal, draining.signal)
    } finally {
      over.abort(new DOMException('over', 'AbortError'))
      await beside
      await this.#budget?.over
      clearTimeout(timer)
    }
    this.#superseded.throwIfTold()
    await this.#writeAnchors()
    this.#say({ event: 'stopped', drained: !signal.aborted })
  }

  /** Until it is done or told to end; outages are waited out. @throws TidemarkError what only a person can mend */
  async #attempts(signal: AbortSignal, draining: AbortSignal): Promise<void> {
    const backoff = new Backoff(systemClock, systemRandomness)
    let fresh = this.#options.newGeneration
    let isChosen = fresh !== undefined
    let from: Position | undefined
    let isBeginning = false
    const holes = new LogHoles(this.#options.repository, this.#options.config, this.#role)
    const { catalog } = this.#options.repository
    while (!signal.aborted && !draining.aborted) {
      const before = catalog.generation?.end
      holes.look()
      try {
        // A crash between the hole's entry and the new generation's: the old one must not go on behind its hole.
        if (this.#role !== 'compactor') fresh ??= await unfinishedReplacement(this.#options.repository)
        if (fresh !== undefined) {
          isBeginning = true
          await this.#newGeneration(fresh, from, isChosen)
          fresh = from = undefined
          isChosen = false
        }
        isBeginning = false
        if (this.#lossAccepted) {
          // Only now that the gap and the new generation stand in the ledger.
          await this.#options.anchors?.discard()
          this.#lossAccepted = false
        }
        const anew = await holes.beginAnew()
        if (anew !== undefined) this.#say({ event: 'log-anew', reason: anew })
        if ((await this.#attempt(signal, draining)) === 'done') break
      } catch (error) {
        this.connected = false
        if (signal.aborted) break
        // It got on before it failed: a new trouble, not the last one going on.
        if (catalog.generation?.end !== before) backoff.reset()
        const known = asTidemarkError(error)
        if (known.code === 'INTERRUPTED' && draining.aborted) break
        const ending = await endingOf(known, this.#options)
        // Tried once in a row: of what stands in the way of a new generation a person has to hear.
        if (ending !== undefined && !isBeginning) {
          fresh = ending.reason
          from = ending.from
          continue
        }
        if (holes.take(known)) {
          await backoff.pause(AbortSignal.any([signal, draining])).catch(() => undefined)
          continue
        }
        const lost = await lostLog(this.#options.repository, this.#options.config, known)
        if (typeof lost === 'string') {
          fresh = lost
          continue
        }
        const say = ({ code, message, next }: TidemarkError, inMs: number): void =>
          this.#say({ event: 'retry', code, message, inMs, ...(code === 'SLOT_TAKEN' ? { next } : {}) })
        await backoff
          .wait(lost ?? known, AbortSignal.any([signal, draining]), say)
          .catch((waited: unknown) => {
            if (!(waited instanceof DOMException)) throw waited
          })
      }
    }
  }

  /** The compactor's process anchors the head of the ledger and fills the copies: its own work for the most part. */
  async #beside(signal: AbortSignal): Promise<void> {
    if (this.#role === 'replicator') return
    const { repository, copies = [] } = this.#options
    await runBeside(
      {
        repository,
        copies,
        scrubDays: this.#options.config.scrubDays ?? 0,
        say: (event) => this.#say(event),
        onCopied: (place, entry) => this.#options.board?.copied(place, entry),
        onSuperseded: this.#superseded.tell,
        writeAnchors: () => this.#writeAnchors(),
        leads: () => this.#leads,
        isConnected: () => this.connected,
      },
      signal,
    )
  }

  async #writeAnchors(): Promise<void> {
    const { anchors, repository } = this.#options
    if (this.#role === 'replicator' || this.#lossAccepted) return
    const isWritten = await writeAnchors(
      anchors,
      () => repository.signer,
      (event) => this.#say(event),
    )
    if (isWritten) this.#options.board?.anchored()
  }

  #say(event: UpEvent): void {
    this.#options.onEvent(event)
    this.#budget?.see(event)
  }

  async #newGeneration(reason: string, from: Position | undefined, isChosen: boolean): Promise<void> {
    const { repository, config } = this.#options
    await repository.claim(this.#role === 'replicator' ? REPLICATOR : 0)
    const generation = await replaceGeneration({
      repository,
      url: config.source.url,
      slot: config.source.slot,
      publication: config.source.publication,
      reason,
      from,
      isChosen,
    })
    this.#say({ event: 'generation', generation, reason })
  }

  get #role(): Role {
    return this.#options.role ?? 'both'
  }

  /** `again`: a new generation has begun elsewhere. */
  async #attempt(signal: AbortSignal, draining: AbortSignal): Promise<'done' | 'again'> {
    const { repository, config } = this.#options
    await repository.ledger.refresh()
    const generation = repository.catalog.generation
    if (generation === undefined)
      throw new TidemarkError('NO_BASE', 'the ledger has no generation', { next: 'tidemark init' })
    if (this.#role === 'compactor') return this.#compact(generation, signal, draining)
    const source = openSource(config, generation, (statements) =>
      this.#say({ event: 'schema-differs', statements }),
    )
    this.#source = source
    try {
      await this.#stream(source, generation, signal, draining)
      return 'done'
    } finally {
      this.connected = false
      await source.close()
    }
  }

  async #stream(
    source: ReturnType<typeof openSource>,
    generation: Generation,
    signal: AbortSignal,
    draining: AbortSignal,
  ): Promise<void> {
    const { repository } = this.#options
    const taken = await source.slotTaken()
    if (taken !== undefined) {
      // Taken by a successor while this process was stopped or cut off: it ends, rather than wait to take it back.
      await repository.confirmClaim()
      throw taken
    }
    // With `acknowledge: log` the source may be ahead of the store, up to what the log holds.
    const trustsLog = this.#options.config.kafka?.acknowledge === 'log'
    const ahead = await aheadOfStore(() => source.check(generation.end), trustsLog)
    await nameLog(repository, this.#options.config, ahead)
    const term = await repository.claim(this.#role === 'replicator' ? REPLICATOR : 0)
    const log = await this.#openLog(generation, signal)
    if (trustsLog)
      await source.check(laterPosition(generation.end, log.complete)).catch(async (error: unknown) => {
        await log.close()
        throw error
      })
    const number = generation.facts.generation
    this.#say({ event: 'starting', generation: number, from: positionText(generation.end) })
    const stop = new AbortController()
    // Two ways to end: `hard` drops what is not durable, `intake` lets the compactor finish: behind `past` the stream has a hole.
    const hard = AbortSignal.any([signal, stop.signal])
    const past = new AbortController()
    const intake = AbortSignal.any([hard, draining, past.signal])
    const copies = new CopyQueue(source, repository, number, {
      ...baseEvents((event) => this.#say(event), this.#options.onPoint),
      onCopying: (oid, isUnderWay) => replicator.copying(oid, isUnderWay),
    })
    const replicator = new Replicator({
      source,
      log,
      from: laterPosition(generation.end, log.complete),
      durable: generation.end,
      checked: generation.checked,
      inGap: new Set(
        repository.catalog.openGaps.flatMap(({ scope }) => (scope.kind === 'table' ? [scope.oid] : [])),
      ),
      sampleMs: Math.max(1000, this.#policy.ageMs / 2),
      schemaMs: this.#policy.ageMs / 4,
      reading: generation.reading,
      hard,
      clock: systemClock,
      randomness: systemRandomness,
      events: replicatorEvents((event) => this.#say(event)),
    })
    this.flow = () => ({ received: replicator.received, durable: log.durable })
    let failure: unknown
    const end = (error: unknown): void => {
      failure ??= error
      log.fail(error)
      stop.abort(new DOMException('stopped', 'AbortError'))
    }
    const compacting =
      this.#role === 'both'
        ? this.#compactor(log, number, term).run(hard).catch(end)
        : followLedger(repository, log, number, intake).catch(
            (error: unknown) => !intake.aborted && end(error),
          )
    const replicating = replicator.run(intake).then(
      () => log.end(),
      (error: unknown) => {
        const isHole = asTidemarkError(error).code === 'PUBLICATION_MISSING'
        if (isHole) failure ??= error
        if (hard.aborted || (!isHole && !draining.aborted)) return end(error)
        past.abort(new DOMException('the stream is over', 'AbortError'))
        return log.end()
      },
    )
    const off = copies.wantOpenGaps()
    const copying = copies
      .run(
        intake,
        (event) => this.#say(event),
        () => this.#streaming(generation),
      )
      .catch((error: unknown) => {
        if (!intake.aborted) end(error)
      })
    this.connected = true
    if (generation.base !== undefined) this.#streaming(generation)
    await Promise.all([compacting, replicating, copying])
    off()
    await log.close()
    if (failure !== undefined) throw failure
  }

  /** The other side alone, with others like it: needs the log and the store, not the source. */
  #compact(generation: Generation, signal: AbortSignal, draining: AbortSignal): Promise<'done' | 'again'> {
    const { repository, config, onPoint } = this.#options
    return compactTogether({
      config,
      repository,
      generation,
      policy: this.#policy,
      say: (event) => {
        if (event.event === 'sharing') this.#leads = event.leads
        this.#say(event)
      },
      onPoint,
      openLog: () => this.#openLog(generation, signal, true),
      onConnected: (connected) => (this.connected = connected),
      onStreaming: () => this.#streaming(generation),
      signal,
      draining,
    })
  }

  #openLog(generation: Generation, signal: AbortSignal, outline = false): Promise<ChangeLog> {
    const { config, repository, onPoint } = this.#options
    return openLog({
      config,
      role: this.#role,
      generation,
      stream: repository.catalog.stream,
      term: Number(repository.claimedAt),
      confirm: () => repository.confirmClaim(),
      outline,
      signal,
      onRetry: (error) => this.#say({ event: 'retry', ...error }),
      onForeign: (place) => this.#say({ event: 'foreign', ...place }),
      onPoint,
    })
  }

  #compactor(log: ChangeLog, generation: number, term: number): Compactor {
    return new Compactor({
      log,
      repository: this.#options.repository,
      generation,
      term,
      policy: this.#policy,
      clock: systemClock,
      randomness: systemRandomness,
      events: compactorEvents((event) => this.#say(event), this.#options.onPoint),
    })
  }

  #streaming(generation: Generation): void {
    if (this.#streamingSaid) return
    this.#streamingSaid = true
    const { facts, end } = generation
    this.#say({ event: 'streaming', generation: facts.generation, position: positionText(end) })
  }
}

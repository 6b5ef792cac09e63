/** Builds what is ordered in this member's lanes: one cut is read while the one before is being stored. */
import type { Clock, Randomness } from '../core/clock.ts'
import { comparePositions, parsePosition, type Position } from '../core/position.ts'
import type { CutBoard } from '../core/ports/cut-board.ts'
import { Backoff, deferred } from '../core/running-state.ts'
import type { TransactionPart } from '../core/transaction.ts'
import type { Repository } from '../repository/repository.ts'
import { buildCut } from './build-cut.ts'
import { type CutAnswer, type CutOrder, errorAnswer, sealAnswer } from './cut-order.ts'

/** Where the change log has a cut. */
export interface OrderedRange {
  readonly from: bigint
  readonly first: bigint
  readonly last: bigint
  readonly since: number
  readonly after: Position
  readonly to: Position
}

export interface CutWorkerOptions {
  readonly board: CutBoard
  readonly repository: Repository
  readonly generation: number
  /** Reads a range's transactions; one range at a time. */
  readonly parts: (range: OrderedRange, signal: AbortSignal) => AsyncIterable<TransactionPart>
  readonly clock: Clock
  readonly randomness: Randomness
  onRetry?(error: { readonly code: string; readonly message: string }): void
  onBuilt?(cut: { readonly to: string; readonly changes: number; readonly bytes: number }): void
  /** Named points of the write path, for crash tests. */
  onPoint?(point: string): unknown
}

/** Cuts that may be under way at once: one being read, the others being stored. */
const UNDER_WAY = 2
/** Far more orders than can be pending. */
const REMEMBERED = 1000

/** An order that is being built, until the ledger says that nobody wants it any more. */
interface Building {
  readonly order: CutOrder
  readonly left: AbortController
}

export class CutWorker {
  readonly #options: CutWorkerOptions
  /** Whoever reads holds it: the log's reader goes through one range at a time. */
  #reading: Promise<unknown> = Promise.resolve()
  readonly #building = new Set<Promise<void>>()
  readonly #underWay = new Set<Building>()
  /** Answers to orders that may be pending still: a board that lost one is given it again. */
  readonly #answers = new Map<number, { readonly order: CutOrder; readonly body: Buffer }>()
  #failure: { readonly error: unknown } | undefined
  /** Those that may be pending, and those that were taken and not given back with an error. */
  readonly #recent: CutOrder[] = []
  #taken = { term: 0, numbers: new Set<number>() }
  #lanes: ReadonlySet<number> = new Set()
  #wake = deferred<void>()

  constructor(options: CutWorkerOptions) {
    this.#options = options
  }

  /** An order was posted, for whichever lane. */
  see(order: CutOrder): void {
    if (order.generation !== this.#options.generation) return
    // Whoever orders again has not seen the answer.
    if (this.#lanes.has(order.lane) && this.#answers.get(order.number)?.order.term === order.term)
      this.#taken.numbers.delete(order.number)
    this.#recent.push(order)
    if (this.#recent.length > REMEMBERED) this.#recent.shift()
    this.#wake.resolve()
  }

  /** From here on the orders of these lanes are ours, those that are pending too. */
  set lanes(lanes: readonly number[]) {
    this.#lanes = new Set(lanes)
    this.#wake.resolve()
  }

  /** Builds until the signal `stop`, and then finishes what it has begun. @throws what reading the ledger, and posting, throws for good */
  async work(stop: AbortSignal, signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([stop, signal])
    ended.addEventListener('abort', () => this.#wake.resolve(), { once: true })
    const off = this.#options.repository.ledger.onEntry(() => this.#leaveUnwanted())
    try {
      await this.#takeOrders(ended, signal)
      await Promise.allSettled(this.#building)
      this.#throwFailure()
    } finally {
      off()
    }
  }

  async #takeOrders(ended: AbortSignal, signal: AbortSignal): Promise<void> {
    const { repository, clock, randomness } = this.#options
    const backoff = new Backoff(clock, randomness)
    while (!ended.aborted) {
      this.#throwFailure()
      const order = this.#recent.find((one) => this.#lanes.has(one.lane) && !this.#hasTaken(one))
      if (order === undefined) {
        await this.#wake.promise
        this.#wake = deferred()
        continue
      }
      const seen = [...this.#recent]
      try {
        await repository.ledger.refresh()
        backoff.reset()
      } catch (error) {
        if (ended.aborted) break
        const known = await backoff.wait(error, ended)
        this.#options.onRetry?.({ code: known.code, message: known.message })
        continue
      }
      this.#dropUnwanted(seen)
      if (!this.#isWanted(order)) continue
      this.#take(order)
      while (this.#building.size >= UNDER_WAY) await Promise.race(this.#building)
      if (this.#isWanted(order)) this.#begin(order, signal)
    }
  }

  #begin(order: CutOrder, signal: AbortSignal): void {
    const mine: Building = { order, left: new AbortController() }
    const building = this.#build(order, AbortSignal.any([signal, mine.left.signal]))
      .catch((error: unknown) => {
        this.#failure ??= { error }
        this.#wake.resolve()
      })
      .finally(() => {
        this.#underWay.delete(mine)
        this.#building.delete(building)
      })
    this.#underWay.add(mine)
    this.#building.add(building)
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /**
   * What is built for a leader that another one has followed, or was stored meanwhile, is left: it may wait for what the log has no
   * more, and what is ordered behind it waits for the reader that it holds.
   */
  #leaveUnwanted(): void {
    for (const { order, left } of this.#underWay)
      if (!this.#isWanted(order)) left.abort(new DOMException('nobody wants it any more', 'AbortError'))
    for (const [number, { order }] of this.#answers) if (!this.#isWanted(order)) this.#answers.delete(number)
  }

  #hasTaken({ term, number }: CutOrder): boolean {
    return term < this.#taken.term || (term === this.#taken.term && this.#taken.numbers.has(number))
  }

  /** It failed here: only when it is ordered again is it tried again. */
  #forget({ term, number }: CutOrder): void {
    if (this.#taken.term === term) this.#taken.numbers.delete(number)
    for (let i = this.#recent.length - 1; i >= 0; i--)
      if (this.#recent[i]!.number === number) this.#recent.splice(i, 1)
  }

  #take({ term, number }: CutOrder): void {
    if (term > this.#taken.term) this.#taken = { term, numbers: new Set() }
    this.#taken.numbers.add(number)
    for (const old of this.#taken.numbers) if (old < number - REMEMBERED) this.#taken.numbers.delete(old)
  }

  /**
   * A leader claims before it orders: what was seen before the ledger was read, and is not of the claim in it, is of an earlier
   * leader; or of a ledger that was rolled back since, whose terms were higher.
   */
  #dropUnwanted(seen: readonly CutOrder[]): void {
    const unwanted = new Set(seen.filter((order) => !this.#isWanted(order)))
    for (let i = this.#recent.length - 1; i >= 0; i--)
      if (unwanted.has(this.#recent[i]!)) this.#recent.splice(i, 1)
  }

  /** Of the leader that has the claim now, and not in the ledger yet. */
  #isWanted(order: CutOrder): boolean {
    const { catalog } = this.#options.repository
    const generation = catalog.generations.find((g) => g.facts.generation === order.generation)
    return (
      order.term === (catalog.claims.get(0)?.term ?? 0) &&
      generation !== undefined &&
      comparePositions(parsePosition(order.to), generation.to) > 0
    )
  }

  async #build(order: CutOrder, signal: AbortSignal): Promise<void> {
    const { repository, onPoint } = this.#options
    const { term, number } = order
    const known = this.#answers.get(number)
    let body = known?.order.term === term ? known.body : undefined
    if (body === undefined) {
      try {
        const made = await this.#make(order, signal)
        body = sealAnswer(repository, { term, number, made, error: null })
        if (this.#isWanted(order)) this.#answers.set(number, { order, body })
      } catch (error) {
        if (signal.aborted) return
        this.#forget(order)
        body = sealAnswer(repository, { term, number, made: null, error: errorAnswer(error) })
      }
      onPoint?.('cut-built')
    }
    await this.#post(body, signal)
  }

  async #make(order: CutOrder, signal: AbortSignal): Promise<CutAnswer['made']> {
    const { repository, generation, clock, randomness, onPoint } = this.#options
    const parts = this.#parts(
      {
        from: BigInt(order.from),
        first: BigInt(order.first),
        last: BigInt(order.last),
        since: order.since,
        after: parsePosition(order.after),
        to: parsePosition(order.to),
      },
      signal,
    )
    const { objects, index, bytes, transactions, changes } = await buildCut({
      parts,
      from: parsePosition(order.after),
      repository,
      generation,
      segmentBytes: order.segmentBytes,
      clock,
      randomness,
      signal,
      onRetry: (error) => this.#options.onRetry?.(error),
      ...(onPoint === undefined ? {} : { onPoint: onPoint.bind(this.#options) }),
    })
    this.#options.onBuilt?.({ to: order.to, changes, bytes })
    return { objects: [...objects], index, bytes, transactions, changes }
  }

  async #post(body: Buffer, signal: AbortSignal): Promise<void> {
    const { board, clock, randomness } = this.#options
    const backoff = new Backoff(clock, randomness)
    for (;;) {
      try {
        await board.post(body)
        return
      } catch (error) {
        if (signal.aborted) return
        const known = await backoff.wait(error, signal)
        this.#options.onRetry?.({ code: known.code, message: known.message })
      }
    }
  }

  async *#parts(range: OrderedRange, signal: AbortSignal): AsyncIterable<TransactionPart> {
    const before = this.#reading
    const done = Promise.withResolvers<void>()
    this.#reading = done.promise
    await before
    try {
      // It may have been left meanwhile.
      signal.throwIfAborted()
      yield* this.#options.parts(range, signal)
    } finally {
      done.resolve()
    }
  }
}

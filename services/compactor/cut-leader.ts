/**
 * The leading compactor's side of the board: a cut becomes an order in the next lane, and the first answer to it is what
 * the ledger will name. An order that nobody answers goes to another lane; one that is built twice does no harm, for the
 * second one's objects are named by nothing.
 */
import type { Clock, Randomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import { positionText } from '../core/position.ts'
import type { CutBoard } from '../core/ports/cut-board.ts'
import { Backoff, type Deferred, deferred } from '../core/running-state.ts'
import type { Repository } from '../repository/repository.ts'
import { answeredError, type CutAnswer, sealOrder } from './cut-order.ts'
import type { MadeCut } from './made-cut.ts'
import type { OpenCut } from './open-cut.ts'

/** Without an answer for so long, an order goes to the next lane too. */
const PATIENCE_MS = 15_000

export interface CutLeaderOptions {
  readonly board: CutBoard
  readonly repository: Repository
  readonly generation: number
  readonly term: number
  readonly segmentBytes: number
  readonly clock: Clock
  readonly randomness: Randomness
  onRetry?(error: { readonly code: string; readonly message: string }): void
}

export class CutLeader {
  readonly #options: CutLeaderOptions
  #number = 0
  readonly #pending = new Map<number, Deferred<CutAnswer>>()

  constructor(options: CutLeaderOptions) {
    this.#options = options
  }

  /** An answer was posted. */
  see(answer: CutAnswer): void {
    if (answer.term === this.#options.term) this.#pending.get(answer.number)?.resolve(answer)
  }

  /** @throws TidemarkError what building threw, where no second try can mend it; WRITER_FENCED */
  async build(cut: OpenCut, signal: AbortSignal): Promise<MadeCut> {
    const { board, repository, generation, term, segmentBytes, clock, randomness } = this.#options
    const number = ++this.#number
    const { firstPlace, place } = cut
    if (firstPlace === undefined || place === undefined)
      throw new TidemarkError('INTERNAL', 'a cut of a log that keeps nothing cannot be shared')
    const order = {
      generation,
      term,
      number,
      from: String(firstPlace.from),
      first: String(firstPlace.at),
      last: String(place.at),
      since: place.since,
      after: positionText(cut.from),
      to: positionText(cut.transactions.at(-1)!.position),
      segmentBytes,
    }
    const backoff = new Backoff(clock, randomness)
    // One for all tries: an answer to an earlier one may come while a later one is being posted.
    let answered = this.#await(number)
    try {
      for (let lane = number; ; lane++) {
        try {
          // Nobody builds for a leader that another one has followed.
          if (lane > number) await repository.confirmClaim()
          await board.post(sealOrder(repository, { ...order, lane: lane % board.lanes }))
        } catch (error) {
          const known = await backoff.wait(error, signal)
          this.#options.onRetry?.({ code: known.code, message: known.message })
          continue
        }
        const answer = await this.#within(answered.promise, signal)
        if (answer?.made != null) return { ...answer.made, hasSequences: false }
        if (answer?.error == null) continue
        // From now on: another member's may come while this one's error is waited out.
        answered = this.#await(number)
        const known = await backoff.wait(answeredError(answer.error), signal)
        this.#options.onRetry?.({ code: known.code, message: known.message })
      }
    } finally {
      this.#pending.delete(number)
    }
  }

  #await(number: number): Deferred<CutAnswer> {
    const answered = deferred<CutAnswer>()
    this.#pending.set(number, answered)
    return answered
  }

  /** Undefined when nobody answered in time. */
  async #within(answer: Promise<CutAnswer>, signal: AbortSignal): Promise<CutAnswer | undefined> {
    const over = new AbortController()
    const late = this.#options.clock
      .sleep(PATIENCE_MS, AbortSignal.any([signal, over.signal]))
      .then(() => undefined)
    late.catch(() => undefined)
    try {
      return await Promise.race([answer, late])
    } finally {
      over.abort(new DOMException('answered', 'AbortError'))
    }
  }
}

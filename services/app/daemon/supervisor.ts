/**
 * Runs tasks side by side until the work is over, one of them fails for good, or somebody stops them. When each is due, what it needs and what
 * its failure means the task says; waiting, trying again, and the order and the bounds of a stop are here, once.
 *
 * A stop has two steps. A *drain* tells tasks to leave, but those that `drain`, which finish what they have, and those that serve them. *Leaving* ends those too: by the
 * caller's signal, when a drain takes too long, and when a task fails for good. What does not heed it either is left behind.
 */
import type { Clock, Randomness } from '../../core/clock.ts'
import { asTidemarkError, type TidemarkError } from '../../core/errors.ts'
import { isOutage } from '../../core/retry.ts'
import { Backoff } from '../../core/running-state.ts'

type Meaning =
  /** All tasks leave, and the supervisor ends with the error. */
  | 'ends'
  /** The others are drained first; then it ends with the error. */
  | 'drains'
  /** An outage: tried again behind pauses that grow until the task gets on. */
  | 'retried'
  /** What stood in the way was found: tried again without a pause. */
  | 'at-once'
  /** The task has told it, and runs again when it is due. */
  | 'reported'

export interface Verdict {
  readonly meaning: Meaning
  /** What is waited for, or ended with, instead of the error itself. */
  readonly error?: TidemarkError | undefined
}

export interface Running {
  /** Ends the run. */
  readonly signal: AbortSignal
  /** Nothing more is to be begun; earlier than `signal` for a task that drains. */
  readonly draining: AbortSignal
  /** It got on: the next failure is a new trouble, and pauses begin short again. */
  readonly gotOn: () => void
}

interface Due {
  /** So long after the start; at once where it is not said. */
  readonly firstMs?: number
  /** So long after the end of each run. */
  readonly everyMs: number | (() => number)
  /** So long after a failure that was reported; `everyMs` where it is not said. */
  readonly reportedMs?: number
  /** Once more when everything else is over and nothing has failed. */
  readonly andLast?: boolean
}

export interface Task {
  readonly name: string
  /** Once, at once, where it is not said. */
  readonly due?: Due
  /** What has to be so for a run; looked at again after `lookMs`. */
  readonly needs?: { readonly are: () => boolean; readonly lookMs: number }
  /** A drain lets it finish what it has. */
  readonly drains?: boolean
  /** The main task needs it to finish: it goes on, a drain or not, until that is over. */
  readonly serves?: boolean
  /** When it is over, the others leave. */
  readonly isMain?: boolean
  run(running: Running): Promise<void>
  /** `ends` where it is not said. */
  failed?(error: TidemarkError): Verdict | Promise<Verdict>
  /** It is retried after so long. */
  onPause?(error: TidemarkError, pauseMs: number): void
}

export interface SupervisorOptions {
  readonly tasks: readonly Task[]
  readonly clock: Clock
  readonly randomness: Randomness
  /** Of a stop: a drain that takes longer becomes leaving, and what then does not end is left behind. Whoever is supervised in turn has none. */
  readonly bounds?: { readonly drainMs: number; readonly leaveMs: number }
  /** Told of the error that it will end with, before the others are told to end. */
  readonly onFailure?: (error: unknown) => void
}

/** The others wait for what can be waited for; of anything else a person has to hear. */
export function whileOutage(error: TidemarkError): Verdict {
  return { meaning: isOutage(error) ? 'retried' : 'ends' }
}

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #draining = new AbortController()
  readonly #leaving = new AbortController()
  readonly #over = new AbortController()
  #failure: { readonly error: unknown } | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Nothing more is begun. */
  get isStopping(): boolean {
    return this.#draining.signal.aborted || this.#leaving.signal.aborted
  }

  /** Also before it runs. Idempotent. */
  drain(): void {
    this.#draining.abort(new DOMException('draining', 'AbortError'))
  }

  /**
   * Once.
   *
   * @param drain another's, for whoever is supervised in turn
   * @returns whether everything was finished: false after leaving
   * @throws what a task failed with for good
   */
  async run(leave: AbortSignal, drain?: AbortSignal): Promise<boolean> {
    const { tasks, bounds } = this.#options
    const leaving = AbortSignal.any([leave, this.#leaving.signal])
    const draining = AbortSignal.any([
      leaving,
      this.#draining.signal,
      ...(drain === undefined ? [] : [drain]),
    ])
    const left = Promise.withResolvers<void>()
    if (bounds !== undefined) {
      this.#after(draining, bounds.drainMs, () => this.#leaving.abort(abort('the time for a drain is over')))
      this.#after(leaving, bounds.leaveMs, left.resolve)
    }
    const mainOver = new AbortController()
    const served = AbortSignal.any([leaving, mainOver.signal])
    const told = AbortSignal.any([draining, mainOver.signal])
    const keep = async (task: Task): Promise<void> => {
      const until = task.serves === true ? served : told
      await this.#keep(task, task.drains === true ? leaving : until, until)
      if (task.isMain === true) mainOver.abort(abort('the work is over'))
    }
    try {
      await Promise.race([Promise.all(tasks.map(keep)), left.promise])
      const isFinished = !leaving.aborted
      if (this.#failure === undefined) await Promise.race([this.#last(leaving), left.promise])
      if (this.#failure !== undefined) throw this.#failure.error
      return isFinished
    } finally {
      this.#over.abort(abort('over'))
    }
  }

  #after(signal: AbortSignal, ms: number, act: () => void): void {
    const begin = (): void => void this.#options.clock.sleep(ms, this.#over.signal).then(act, () => undefined)
    if (signal.aborted) begin()
    else signal.addEventListener('abort', begin, { once: true, signal: this.#over.signal })
  }

  /** Until the task is over, or is told to end. */
  async #keep(task: Task, signal: AbortSignal, told: AbortSignal): Promise<void> {
    const { clock, randomness } = this.#options
    const backoff = new Backoff(clock, randomness)
    const running = { signal, draining: told, gotOn: () => backoff.reset() }
    try {
      let pauseMs: number | undefined = task.due?.firstMs ?? 0
      while (pauseMs !== undefined) {
        if (pauseMs > 0) await clock.sleep(pauseMs, told).catch(() => undefined)
        if (told.aborted) return
        pauseMs = task.needs?.are() === false ? task.needs.lookMs : await this.#once(task, running, backoff)
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  /** @returns when it is due again, ms from now; undefined where it is over */
  async #once(task: Task, running: Running, backoff: Backoff): Promise<number | undefined> {
    const { signal, draining } = running
    try {
      await task.run(running)
      backoff.reset()
      return everyMs(task)
    } catch (error) {
      // It was told to end, and this is how it did.
      if (signal.aborted) return undefined
      const known = asTidemarkError(error)
      if (known.code === 'INTERRUPTED' && draining.aborted) return undefined
      const verdict = (await task.failed?.(known)) ?? { meaning: 'ends' }
      return this.#judge(task, verdict, verdict.error ?? known, backoff)
    }
  }

  #judge(task: Task, { meaning }: Verdict, error: TidemarkError, backoff: Backoff): number | undefined {
    switch (meaning) {
      case 'ends':
        this.#fail(error)
        return undefined
      case 'drains':
        this.#failure ??= { error }
        this.drain()
        return undefined
      case 'retried': {
        const pauseMs = backoff.next()
        task.onPause?.(error, pauseMs)
        return pauseMs
      }
      case 'at-once':
        return 0
      case 'reported':
        return task.due?.reportedMs ?? everyMs(task)
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#options.onFailure?.(error)
    this.#leaving.abort(abort('stopped'))
  }

  async #last(signal: AbortSignal): Promise<void> {
    for (const task of this.#options.tasks)
      if (task.due?.andLast === true)
        await task
          .run({ signal, draining: signal, gotOn: () => undefined })
          .catch((error: unknown) => this.#fail(error))
  }
}

function everyMs({ due }: Task): number | undefined {
  return typeof due?.everyMs === 'function' ? due.everyMs() : due?.everyMs
}

function abort(reason: string): DOMException {
  return new DOMException(reason, 'AbortError')
}

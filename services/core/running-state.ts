/** One abort signal, one first failure, abortable waits with back-off. A job owns one and asks it whether to go on. */
import type { Clock, Randomness } from './clock.ts'
import { asTidemarkError, type TidemarkError } from './errors.ts'
import { LIMITS } from './limits.ts'

export class Backoff {
  readonly #clock: Clock
  readonly #randomness: Randomness
  #next: number = LIMITS.backoffMs[0]

  constructor(clock: Clock, randomness: Randomness) {
    this.#clock = clock
    this.#randomness = randomness
  }

  reset(): void {
    this.#next = LIMITS.backoffMs[0]
  }

  /** Waits before the next try; throws the error itself when trying again cannot help. @param onAgain told where it can */
  async wait(
    error: unknown,
    signal: AbortSignal,
    onAgain?: (known: TidemarkError, pauseMs: number) => void,
  ): Promise<TidemarkError> {
    const known = asTidemarkError(error)
    if (known.retry !== 'again') throw known
    const pauseMs = this.#pauseMs()
    onAgain?.(known, pauseMs)
    await this.#clock.sleep(pauseMs, signal)
    return known
  }

  /** Longer each time, up to a limit. */
  async pause(signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(this.#pauseMs(), signal)
  }

  #pauseMs(): number {
    const jitter = (this.#randomness.bytes(1)[0] ?? 0) / 255
    const pause = this.#next * (0.75 + 0.5 * jitter)
    this.#next = Math.min(this.#next * 2, LIMITS.backoffMs[1])
    return pause
  }
}

/** A promise and its handles, for waits that somebody else ends. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

export function deferred<T>(): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  // A rejection that nobody waits for yet must not end the process: whoever awaits later sees it.
  promise.catch(() => {})
  return { promise, resolve, reject }
}

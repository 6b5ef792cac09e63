/** One abort signal, one first failure, abortable waits with back-off. A job owns one and asks it whether to go on. */
import type { Clock, Randomness } from './clock.ts'
import { asTidemarkError, type TidemarkError } from './errors.ts'
import { growingPauses, isOutage } from './retry.ts'

/** The same pauses as those of `retrying`, for loops that are more than one action tried again: they say when it went well. */
export class Backoff {
  readonly #clock: Clock
  readonly #randomness: Randomness
  #pauses: Iterator<number, never>

  constructor(clock: Clock, randomness: Randomness) {
    this.#clock = clock
    this.#randomness = randomness
    this.#pauses = growingPauses(randomness)
  }

  /** Milliseconds before the next try. */
  next(): number {
    return this.#pauses.next().value
  }

  reset(): void {
    this.#pauses = growingPauses(this.#randomness)
  }

  /** Waits before the next try; throws the error itself when trying again cannot help. @param onAgain told where it can */
  async wait(
    error: unknown,
    signal: AbortSignal,
    onAgain?: (known: TidemarkError, pauseMs: number) => void,
  ): Promise<TidemarkError> {
    const known = asTidemarkError(error)
    if (!isOutage(known)) throw known
    const pauseMs = this.next()
    onAgain?.(known, pauseMs)
    await this.#clock.sleep(pauseMs, signal)
    return known
  }

  /** Longer each time, up to a limit. */
  async pause(signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(this.next(), signal)
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

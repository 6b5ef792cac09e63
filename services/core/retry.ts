/**
 * Trying again: one action, the pauses between its tries, and the caller's word on which errors pass. Pauses are plain sequences, so that how
 * often and how long is decided where the loop stands, and whoever reads it sees the numbers.
 */
import type { Clock, Randomness } from './clock.ts'
import { asTidemarkError, type TidemarkError } from './errors.ts'
import { LIMITS } from './limits.ts'

export interface RetryOptions {
  readonly clock: Clock
  /** Milliseconds before the second try, the third, and so on; where they end, the last error is thrown. */
  readonly pauses: Iterable<number>
  /** Whether the same action may do better later. */
  readonly passes: (error: TidemarkError) => boolean
  /** Ends pauses, and further tries. */
  readonly signal?: AbortSignal | undefined
  /** Told when a pause is over, before the next try. */
  readonly onAgain?: ((error: TidemarkError) => void) | undefined
}

/** @throws TidemarkError what the last try threw; the signal's reason, once it is aborted and a try has failed */
export async function retrying<T>(action: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, passes, signal, onAgain } = options
  const pauses = options.pauses[Symbol.iterator]()
  for (;;) {
    try {
      return await action()
    } catch (error) {
      signal?.throwIfAborted()
      const known = asTidemarkError(error)
      if (!passes(known)) throw known
      const pause = pauses.next()
      if (pause.done === true) throw known
      await clock.sleep(pause.value, signal)
      onAgain?.(known)
    }
  }
}

/** An outage, by the error's own word: no person has to do anything. */
export function isOutage(error: TidemarkError): boolean {
  return error.retry === 'again'
}

/** Without end: doubles from the first to the longest, each a quarter shorter or longer at random, so that processes do not come at once. */
export function* growingPauses(
  randomness: Randomness,
  [first, longest]: readonly [number, number] = LIMITS.backoffMs,
): Generator<number, never> {
  for (let pause = first; ; pause = Math.min(pause * 2, longest)) {
    const jitter = (randomness.bytes(1)[0] ?? 0) / 255
    yield pause * (0.75 + 0.5 * jitter)
  }
}

/** The same pause for so many further tries. */
export function evenPauses(pauseMs: number, times: number): number[] {
  return Array.from({ length: times }, () => pauseMs)
}

/** The same pause, until so much time has gone from now on, tries included. */
export function pausesWithin(clock: Clock, pauseMs: number, limitMs: number): Iterable<number> {
  const deadline = clock.elapsed() + limitMs
  function* pauses(): Generator<number> {
    while (clock.elapsed() <= deadline) yield pauseMs
  }
  return pauses()
}

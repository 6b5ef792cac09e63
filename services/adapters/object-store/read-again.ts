/** Reads are tried again: within the deadline of one request, where the store was silent. */
import { systemClock } from '../../core/clock.ts'
import { retrying } from '../../core/retry.ts'
import { codeOf } from './s3-errors.ts'

const PAUSES_MS = [100, 400, 1600]
/** A read that met silence is tried once more. */
export const SILENT_TRIES = 2

/** @param silenceMs after which one try fails with ETIMEDOUT */
export function readAgain<T>(silenceMs: number, action: () => Promise<T>): Promise<T> {
  const start = systemClock.elapsed()
  return retrying(action, {
    clock: systemClock,
    pauses: PAUSES_MS,
    passes: ({ code, cause }) => {
      if (code !== 'STORE_UNREACHABLE') return false
      const isLate = systemClock.elapsed() - start > silenceMs * 1.2
      return !isLate || codeOf(cause) !== 'ETIMEDOUT'
    },
  })
}

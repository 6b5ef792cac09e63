/** Reads are tried again: within the deadline of one request, where the store was silent. */
import { TidemarkError } from '../../core/errors.ts'
import { codeOf } from './s3-errors.ts'

const PAUSES_MS = [100, 400, 1600]
/** A read that met silence is tried once more. */
export const SILENT_TRIES = 2

/** @param silenceMs after which one try fails with ETIMEDOUT */
export async function readAgain<T>(silenceMs: number, action: () => Promise<T>): Promise<T> {
  const start = performance.now()
  for (const pause of PAUSES_MS) {
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'STORE_UNREACHABLE') throw error
      const isLate = performance.now() - start > silenceMs * 1.2
      if (isLate && codeOf(error.cause) === 'ETIMEDOUT') throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
  return action()
}

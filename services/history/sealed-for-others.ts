/** Epochs behind a point whose keys whoever restores does not have. */
import { TidemarkError } from '../core/errors.ts'

/** Of what lies behind a point: it may be sealed for others by then, and the point is reached without it. */
export async function unlessSealedForOthers<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'KEY_WRONG') return undefined
    throw error
  }
}

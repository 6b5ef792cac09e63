/** `up --accept-loss`: what the anchors know and the store has lost is given up; the anchors themselves only behind the recorded hole. */
import { asTidemarkError } from '../../core/errors.ts'
import type { Anchors } from '../../repository/anchors.ts'

/** @returns why a new generation must begin; undefined where nothing is lost */
export async function acceptedLoss(anchors: Anchors): Promise<string | undefined> {
  try {
    await anchors.check()
    return undefined
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code !== 'STORE_ROLLED_BACK' && known.code !== 'LEDGER_BROKEN') throw known
    return `the loss was accepted: ${known.message}`
  }
}

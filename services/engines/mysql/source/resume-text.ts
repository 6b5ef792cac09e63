/** Where the log goes on, as the ledger keeps it: the set of what was executed, and since when the catalog was ahead of the log. */
import { parsePosition, type Position, positionText } from '../../../core/position.ts'
import { type ExecutedGtids, parseGtids } from '../events/gtid.ts'

export interface ResumePlace {
  readonly executed: ExecutedGtids
  /** @see UnseenPast */
  readonly since: Position | undefined
}

const SINCE = '|'

export function resumeText({ executed, since }: ResumePlace): string {
  const set = executed.set.toString()
  return since === undefined ? set : `${set}${SINCE}${positionText(since)}`
}

/** @throws TidemarkError where it is none */
export function parseResume(flavour: ExecutedGtids['flavour'], text: string): ResumePlace {
  const [set = '', since] = text.split(SINCE)
  return {
    executed: parseGtids(flavour, set),
    since: since === undefined ? undefined : parsePosition(since),
  }
}

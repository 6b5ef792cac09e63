/** How a copy stands beside the primary: which entries it has, and whether they are the same. */
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import type { Ledger } from './ledger.ts'
import { headOf } from './lineages.ts'
import { compareHead, refuseLaterLineage } from './mirror.ts'
import { findOrphans } from './orphans.ts'

export interface CopyStanding {
  /** `returning`: it has entries of a lineage that ended, and is set right before it counts. */
  readonly outcome: 'equal' | 'behind' | 'returning' | 'unreachable'
  /** The copy's last entry, and how many it lacks. */
  readonly head: string | null
  readonly behind: string | null
  readonly why: string | null
}

/** What is no outage: the backup and its copy are at odds. */
const AT_ODDS: ReadonlySet<string> = new Set(['COPY_AHEAD', 'COPY_DIFFERS', 'STORE_SUPERSEDED'])

/** @throws TidemarkError COPY_AHEAD, COPY_DIFFERS, STORE_SUPERSEDED */
export async function compareCopy(ledger: Ledger, store: ObjectStore): Promise<CopyStanding> {
  try {
    const orphans = await findOrphans(ledger, store)
    if (orphans !== undefined) {
      const { from, to, lineage } = orphans
      const why = `entries ${from} to ${to} are of lineage ${lineage}, which ended`
      return { outcome: 'returning', head: null, behind: null, why }
    }
    await refuseLaterLineage(ledger, store)
    const head = await headOf(store, ledger.headNumber, (number) => ledger.lineages.nameOf(number))
    await compareHead(ledger, store, head)
    const behind = ledger.headNumber - head
    return {
      outcome: behind > 0n ? 'behind' : 'equal',
      head: String(head),
      behind: String(behind),
      why: null,
    }
  } catch (error) {
    if (!(error instanceof TidemarkError) || AT_ODDS.has(error.code)) throw error
    return { outcome: 'unreachable', head: null, behind: null, why: `${error.code}: ${error.message}` }
  }
}

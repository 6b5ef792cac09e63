/** What a look at the stores found, into the ledger: the alarms, `doctor` and `status` know it from there, in whatever process. */
import type { DamagedObject } from '../../formats/entry-fields.ts'
import { asTidemarkError } from '../../core/errors.ts'
import { namedPlace } from '../../formats/object-name.ts'
import type { Repository } from '../../repository/repository.ts'
import type { ScrubReport } from '../../lifecycle/scrub.ts'
import { isNotTaken } from './audit.ts'
import type { VerifyReport } from './verify.ts'

export interface Looked {
  readonly found: readonly DamagedObject[]
  /** What was damaged before, and is right by now. */
  readonly intact: readonly string[]
}

/** Of a look: more are counted, and not named. */
const NAMED = 1000

export function ofScrub({ faults, intact }: Pick<ScrubReport, 'faults' | 'intact'>): Looked {
  const found = faults
    .filter(({ outcome }) => outcome !== 'mended')
    .map(
      ({ object, entry, range, until, outcome, what, place }): DamagedObject => ({
        object,
        entry,
        range,
        until,
        elsewhere: outcome === 'left',
        what: `in ${place}: ${what}`,
      }),
    )
  return { found, intact }
}

export function ofVerify({ damaged, intact }: Pick<VerifyReport, 'damaged' | 'intact'>): Looked {
  return {
    found: damaged.map(({ object, entry, range, until, what }) => ({
      object,
      entry,
      range,
      until,
      elsewhere: false,
      what,
    })),
    intact,
  }
}

/**
 * Only what changes what is known.
 *
 * @returns `ledger`; null where there is nothing new; or why it cannot be written
 */
export async function recordDamage(
  repository: Pick<Repository, 'ledger' | 'catalog' | 'canSign' | 'signer'>,
  looked: Looked,
): Promise<string | null> {
  const { damage } = repository.catalog
  // An index of the ledger that is gone is read around, and made again by the next checkpoint.
  const news = looked.found.filter(
    (one) => !isIndex(one.object) && damage.get(one.object)?.elsewhere !== one.elsewhere,
  )
  const intact = looked.intact.filter((name) => damage.get(name) !== undefined)
  if (news.length + intact.length === 0) return null
  if (!repository.canSign) return 'no key of a signer is at hand'
  const found = news.slice(0, NAMED)
  try {
    await repository.ledger.append(
      { kind: 'damage', found, intact: intact.slice(0, NAMED), more: news.length - found.length },
      repository.signer,
    )
    return 'ledger'
  } catch (error) {
    if (!isNotTaken(error)) throw error
    return asTidemarkError(error).message
  }
}

/** By whoever has nothing else to write: not where newer entries may be lost. */
export async function recordAsReader(repository: Repository, looked: Looked): Promise<string | null> {
  const { unasked } = repository
  return unasked.length === 0
    ? recordDamage(repository, looked)
    : `${unasked.join(', ')} could not be asked whether this store has lost entries`
}

/** For people. @param recorded as `recordDamage` returns it */
export function notRecorded(recorded: string | null): string[] {
  return recorded === null || recorded === 'ledger' ? [] : [`Not recorded in the ledger: ${recorded}`]
}

function isIndex(name: string): boolean {
  const kind = namedPlace(name)?.kind
  return kind === 'root' || kind === 'page' || kind === 'hint'
}

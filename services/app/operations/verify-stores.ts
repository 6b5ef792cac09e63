/** Which stores a verification looked at; and each store of a backup verified by itself, as if it were the only one left. */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import type { DamagedObject } from '../../formats/entry-fields.ts'
import type { Repository } from '../../repository/repository.ts'
import type { BackupPlace, OpenedBackup } from '../wiring/open-backup.ts'
import type { Looked } from './record-damage.ts'
import { type VerifyReport, verifyStore } from './verify.ts'

export interface LookedAt {
  readonly looked: readonly string[]
  readonly notLooked: readonly string[]
}

/** Of a backup with copies one store is read, and the others where that one fails. */
export function lookedAt({ stores }: Repository, decrypted: boolean): LookedAt {
  const looked = new Set([stores.primary, decrypted ? stores.readFirst : stores.primary])
  const places = (all: readonly { readonly place: string }[]): string[] => all.map(({ place }) => place)
  return { looked: places([...looked]), notLooked: places(stores.all.filter((store) => !looked.has(store))) }
}

export interface VerifiedStore {
  readonly url: string
  /** As stores are named in lines and errors. */
  readonly place: string
  /** Null where the store could not be looked at as a whole. */
  readonly report: VerifyReport | null
  readonly failed: { readonly code: TidemarkError['code']; readonly message: string } | null
  /** Ledger entries that another store has, and this one has not yet; null where nobody knows. */
  readonly behind: string | null
}

/** One after the other. What is wrong with one says nothing of the others. */
export async function verifyEach(
  place: BackupPlace,
  open: (alone: BackupPlace) => Promise<OpenedBackup>,
  decrypt: boolean,
  signal: AbortSignal,
): Promise<readonly VerifiedStore[]> {
  const verified: VerifiedStore[] = []
  for (const { url, role } of [{ url: place.storeUrl, role: place.storeRole }, ...(place.copies ?? [])]) {
    // A copy that is behind is no store that was rolled back: anchors are the primary's.
    const anchors = url === place.storeUrl ? place.anchors : undefined
    verified.push(
      await verifyAlone(
        url,
        () => open({ ...place, storeUrl: url, storeRole: role, copies: undefined, anchors }),
        decrypt,
        signal,
      ),
    )
  }
  const head = verified.reduce((most, { report }) => {
    const end = BigInt(report?.entries ?? 0)
    return end > most ? end : most
  }, 0n)
  return verified.map((one) =>
    one.report === null ? one : { ...one, behind: String(head - BigInt(one.report.entries)) },
  )
}

async function verifyAlone(
  url: string,
  open: () => Promise<OpenedBackup>,
  decrypt: boolean,
  signal: AbortSignal,
): Promise<VerifiedStore> {
  let place = url.startsWith('/') ? url : (URL.parse(url)?.href.split('?')[0] ?? url)
  try {
    const { repository } = await open()
    place = repository.stores.primary.place
    const report = await verifyStore(repository, decrypt, () => undefined, signal)
    return { url, place, report, failed: null, behind: null }
  } catch (error) {
    signal.throwIfAborted()
    const { code, message, exitCode } = asTidemarkError(error)
    // Of the keys and the settings, and mistakes of ours: the same for every store.
    if (code === 'INTERNAL' || code.startsWith('KEY_') || exitCode === 2) throw error
    return { url, place, report: null, failed: { code, message }, behind: null }
  }
}

/** What is damaged in one store may be right in another. */
export function ofVerifyEach(verified: readonly VerifiedStore[]): Looked {
  const whole = verified.flatMap(({ place, report }) => (report === null ? [] : [{ place, report }]))
  const found = new Map<string, DamagedObject>()
  for (const { place, report } of whole)
    for (const { object, entry, range, until, what } of report.damaged) {
      const isIn = ({ report: other }: (typeof whole)[number]): boolean =>
        BigInt(other.entries) >= BigInt(entry) && other.damaged.every((one) => one.object !== object)
      found.set(object, {
        object,
        entry,
        range,
        until,
        elsewhere: whole.some(isIn),
        what: `in ${place}: ${what}`,
      })
    }
  const isEverywhere = (name: string): boolean =>
    whole.length === verified.length && whole.every(({ report }) => report.intact.includes(name))
  return { found: [...found.values()], intact: (whole[0]?.report.intact ?? []).filter(isEverywhere) }
}

/** What is to be said at the end; undefined where every store has everything that it is to have. */
export function refusalOf(verified: readonly VerifiedStore[]): TidemarkError | undefined {
  const { found } = ofVerifyEach(verified)
  const lost = found.filter(({ elsewhere }) => !elsewhere)
  const [first] = lost.length > 0 ? lost : found
  if (first !== undefined) {
    const named = (lost.length > 0 ? lost : found).slice(0, 3).map(({ what, range }) => `${what} (${range})`)
    if (lost.length > 0)
      return new TidemarkError(
        'OBJECT_CORRUPT',
        `${lost.length} objects are right in no store that was looked at: ${named.join(', ')}`,
        {
          next: 'tidemark windows  (says which points need them); tidemark backup base makes new points that do not',
        },
      )
    return new TidemarkError(
      'OBJECT_CORRUPT',
      `${found.length} objects are damaged in one store and right in another: ${named.join(', ')}`,
      {
        means:
          'Nothing is lost: another store has each of them, and a restore that is given both takes it from there. The damaged store alone would not do for every point.',
        next: 'tidemark scrub  (puts back what one store has lost from another), then: tidemark verify --all-stores',
      },
    )
  }
  const away = verified.find(({ failed }) => failed !== null)
  if (away?.failed == null) return undefined
  const { code, message } = away.failed
  return new TidemarkError(
    code,
    `${away.place} could not be looked at: ${message}`,
    code === 'STORE_NOT_FOUND' || code === 'STORE_UNREACHABLE'
      ? {
          means:
            'Nothing is known of this store: a restore from it alone may not be possible. The others were looked at, and are as said above.',
          next: 'see that it is there and answers (is its disk mounted?); `tidemark up` fills a copy that has nothing yet. Then: tidemark verify --all-stores',
        }
      : {},
  )
}

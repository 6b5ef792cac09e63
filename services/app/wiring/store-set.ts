/**
 * The stores of a backup, opened as one. Whoever writes the ledger has the stores in the order of the settings. A reader has the ledger
 * that reaches furthest, the primary's among equals, and reads objects from the store that answers fastest.
 */
import { unlessAborted } from '../../core/bounded-queue.ts'
import { systemClock } from '../../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { COPY_MARK } from '../../formats/object-name.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import { compareCopy, type CopyStanding } from '../../repository/compare-copy.ts'
import type { CopySetEvents } from '../../repository/copy-set.ts'
import { Replicas } from '../../repository/replicas.ts'
import type { Ledger } from '../../repository/ledger.ts'
import { endOf, type LedgerEnd } from '../../repository/lineages.ts'
import type { CopyPlace, StoreRole } from '../config/config.ts'

export interface OpenedCopy {
  readonly store: ObjectStore
  readonly place: CopyPlace
}

export interface StoreSet {
  /** What the repository works with. */
  readonly stores: Replicas
  readonly copies: readonly OpenedCopy[]
  /** What went wrong and was helped, for people. */
  readonly troubles: () => readonly string[]
  /** Stores that could not be asked how far they reach, where they were asked. */
  readonly away: readonly string[]
}

export interface CopyReport extends CopyStanding {
  readonly place: string
  readonly role: StoreRole
  readonly synchronous: boolean
}

const ORDER: Readonly<Record<StoreRole, number>> = { local: 0, remote: 1, archive: 2 }

export interface StorePlaces {
  readonly storeUrl: string
  readonly storeRole?: StoreRole | undefined
  readonly copies?: readonly CopyPlace[] | undefined
}

export type OpenStore = (url: string) => Promise<ObjectStore>

export async function openStoreSet(
  places: StorePlaces,
  use: 'read' | 'write',
  open: OpenStore,
  signal?: AbortSignal,
): Promise<StoreSet> {
  const primary = await open(places.storeUrl)
  const copies = await Promise.all(
    (places.copies ?? []).map(async (place) => ({ place, store: await open(place.url) })),
  )
  if (copies.length === 0) return { stores: Replicas.alone(primary), copies, troubles: () => [], away: [] }
  const troubles = new Troubles()
  if (use === 'write') {
    const stores = new Replicas({
      primary,
      copies: copies.map(({ store, place }) => ({ store, synchronous: place.mode === 'synchronous' })),
      use,
      events: troubles,
    })
    return { stores, copies, troubles: () => troubles.lines, away: [] }
  }
  const all = [
    { store: primary, order: ORDER[places.storeRole ?? 'local'] - 0.5 },
    ...copies.map(({ store, place }) => ({ store, order: ORDER[place.role] })),
  ].sort((a, b) => a.order - b.order)
  const asked = await askAll(
    all.map(({ store }) => store),
    signal,
  )
  const best = chooseToRead(
    asked.map((answer, i) => ({ ...answer, isArchive: all[i]!.order === ORDER.archive })),
    troubles,
  )
  // What a reader leaves in the ledger, such as a hold, is the primary's to take, wherever the rows come from.
  const home = reachesAsFar(asked, primary, best) ? primary : best
  const others = all.filter(({ store }) => store !== home).map(({ store }) => ({ store, synchronous: false }))
  const away = asked.filter(({ answer }) => 'error' in answer).map(({ store }) => store)
  return {
    stores: new Replicas({
      primary: home,
      readFirst: best,
      copies: others,
      use,
      events: troubles,
      away,
      isSetBack: home !== primary && !away.includes(primary),
      signal,
    }),
    copies,
    troubles: () => troubles.lines,
    away: away.map(({ place }) => place),
  }
}

interface Asked {
  readonly store: ObjectStore
  /** Where its ledger ends, and how long it took to say so. */
  readonly answer: { readonly end: LedgerEnd; readonly ms: number } | { readonly error: unknown }
}

/** Until each has answered; not longer than LIMITS.copyAskMs, once one has. */
async function askAll(stores: readonly ObjectStore[], signal: AbortSignal | undefined): Promise<Asked[]> {
  const answers = new Map<ObjectStore, Asked>()
  const asking = new Map(
    stores.map((store) => [
      store,
      ask(store).then((answer) => {
        answers.set(store, answer)
        asking.delete(store)
      }),
    ]),
  )
  const over = new AbortController()
  const patience = systemClock.sleep(LIMITS.copyAskMs, over.signal).catch(() => undefined)
  const wait = (events: readonly Promise<unknown>[]): Promise<unknown> =>
    signal === undefined ? Promise.race(events) : unlessAborted(Promise.race(events), signal)
  try {
    await wait([Promise.all(asking.values()), patience])
    while (asking.size > 0 && ![...answers.values()].some(({ answer }) => 'end' in answer))
      await wait([...asking.values()])
  } finally {
    over.abort(new DOMException('asked', 'AbortError'))
  }
  return stores.map((store) => answers.get(store) ?? { store, answer: { error: silent(store) } })
}

function silent({ place }: ObjectStore): TidemarkError {
  return new TidemarkError(
    'STORE_UNREACHABLE',
    `${place} has not answered within ${LIMITS.copyAskMs / 1000} s, and another store has`,
  )
}

async function ask(store: ObjectStore): Promise<Asked> {
  try {
    const end = await endOf(store, 0n)
    // A connection that is open already: what a read takes from here on.
    const from = systemClock.elapsed()
    await store.size(COPY_MARK)
    return { store, answer: { end, ms: systemClock.elapsed() - from } }
  } catch (error) {
    return { store, answer: { error } }
  }
}

function reach(a: LedgerEnd, b: LedgerEnd): number {
  return a.lineage !== b.lineage
    ? a.lineage - b.lineage
    : a.number > b.number
      ? 1
      : a.number < b.number
        ? -1
        : 0
}

function reachesAsFar(asked: readonly Asked[], one: ObjectStore, other: ObjectStore): boolean {
  const [a, b] = [one, other].map((store) => asked.find((answered) => answered.store === store)?.answer)
  return a !== undefined && b !== undefined && 'end' in a && 'end' in b && reach(a.end, b.end) >= 0
}

/** Of the stores that answer, those whose ledger reaches furthest; of these the one that answers fastest, an archive last. @throws where none answers */
export function chooseToRead(
  asked: readonly (Asked & { readonly isArchive: boolean })[],
  troubles: Pick<Troubles, 'say'>,
): ObjectStore {
  const answered = asked.flatMap(({ store, isArchive, answer }) =>
    'end' in answer ? [{ store, isArchive, ...answer }] : [],
  )
  for (const { store, answer } of asked) {
    if ('end' in answer) continue
    const known = asTidemarkError(answer.error)
    troubles.say(`${store.place} cannot be read: ${known.code}: ${known.message}`)
  }
  const told = ({ lineage, number }: LedgerEnd): string =>
    `ledger entry ${number}${lineage > 1 ? ` of lineage ${lineage}` : ''}`
  const [best] = answered.toSorted(
    (a, b) => reach(b.end, a.end) || Number(a.isArchive) - Number(b.isArchive) || a.ms - b.ms,
  )
  if (best === undefined)
    throw (asked.find(({ answer }) => 'error' in answer)?.answer as { error: unknown }).error
  for (const { store, end } of answered)
    if (reach(end, best.end) < 0)
      troubles.say(
        `${store.place} ends at ${told(end)}, ${best.store.place} at ${told(best.end)}: it is read instead`,
      )
  return best.store
}

/**
 * How the copies stand beside the primary.
 *
 * @throws TidemarkError COPY_AHEAD, COPY_DIFFERS
 */
export async function compareCopies(ledger: Ledger, copies: readonly OpenedCopy[]): Promise<CopyReport[]> {
  return Promise.all(
    copies.map(async ({ store, place: { role, mode } }) => ({
      place: store.place,
      role,
      synchronous: mode === 'synchronous',
      ...(await compareCopy(ledger, store)),
    })),
  )
}

export function copyLines(reports: readonly CopyReport[]): string[] {
  return reports.map(({ place, synchronous, outcome, behind, why }) => {
    const kind = synchronous ? 'synchronous' : 'mirrored'
    if (outcome === 'unreachable') return `${place} (${kind}) cannot be reached: ${why ?? ''}`
    if (outcome === 'returning')
      return `${place} (${kind}) comes back from before a promotion: ${why ?? ''}; \`tidemark up\` sets them aside`
    return outcome === 'equal'
      ? `${place} (${kind}) has everything`
      : `${place} (${kind}) is ${behind ?? ''} ledger entries behind`
  })
}

/** Counted, so that a store that is away does not fill the report. */
class Troubles implements CopySetEvents {
  readonly #said: string[] = []
  readonly #fallbacks = new Map<string, number>()
  readonly #repairs = new Map<string, number>()

  say(line: string): void {
    this.#said.push(line)
  }

  onFallback({ place, code }: { readonly place: string; readonly code: string }): void {
    const key = `from ${place}, because the first store answered ${code}`
    this.#fallbacks.set(key, (this.#fallbacks.get(key) ?? 0) + 1)
  }

  onRepair({ place, code }: { readonly place: string; readonly code: string | undefined }): void {
    const key =
      code === undefined
        ? `put back in ${place}, where they were missing or damaged`
        : `missing or damaged in ${place}, and could not be put back (${code})`
    this.#repairs.set(key, (this.#repairs.get(key) ?? 0) + 1)
  }

  get lines(): string[] {
    return [
      ...this.#said,
      ...[...this.#fallbacks].map(([what, count]) => `${count} objects were read ${what}`),
      ...[...this.#repairs].map(([what, count]) => `${count} objects were ${what}`),
    ]
  }
}

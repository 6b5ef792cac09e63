/**
 * What `up` does beside the stream from time to time: a day's share of scrubbing, locks extended before they end, what crashes left
 * of uploads taken away. State is the ledger's: a restart neither repeats a share nor leaves one out.
 */
import type { Clock } from '../../core/clock.ts'
import { asTidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import { SideBySide } from '../../core/side-by-side.ts'
import { isBelow } from '../../repository/floor.ts'
import { namedObjects } from '../../repository/named-objects.ts'
import type { Repository } from '../../repository/repository.ts'
import { scrubSet } from '../operations/scrub-set.ts'
import type { OpenedCopy } from '../wiring/store-set.ts'
import { ofScrub, recordDamage } from '../operations/record-damage.ts'
import type { Task } from './supervisor.ts'
import type { Say } from './up-events.ts'

const DAY_MS = 86_400_000

export interface UpkeepOptions {
  readonly repository: Repository
  readonly copies: readonly OpenedCopy[]
  /** Everything is scrubbed within so many days; 0 for never. */
  readonly scrubDays: number
  readonly say: Say
  readonly clock: Clock
  /** Several processes may write: one of them does this. */
  readonly isOurs: () => boolean
}

/** One after the other, each whatever became of those before it. */
export function upkeepTask(options: UpkeepOptions): Task {
  const { isOurs, say } = options
  return {
    name: 'upkeep',
    // Not while everything starts.
    due: { firstMs: LIMITS.upkeepPauseMs, everyMs: LIMITS.upkeepMs },
    needs: { are: isOurs, lookMs: LIMITS.upkeepPauseMs },
    async run({ signal }) {
      for (const step of [sweepUploads, lookAgain, scrubShare, extendLocks])
        try {
          await step(options, signal)
        } catch (error) {
          signal.throwIfAborted()
          const { code, message } = asTidemarkError(error)
          say({ event: 'upkeep-failed', code, message })
        }
    },
  }
}

/** In every store, whatever one of them says. */
async function sweepUploads({ repository, say, clock }: UpkeepOptions, signal: AbortSignal): Promise<void> {
  let failure: unknown
  for (const store of repository.stores.all) {
    signal.throwIfAborted()
    try {
      const files = (await store.sweep?.(clock)) ?? 0
      if (files > 0) say({ event: 'swept', place: store.place, files })
    } catch (error) {
      failure ??= error
    }
  }
  if (failure !== undefined) throw failure
}

/** What is known to be damaged: somebody may have put it back, or another copy may have it by now. */
export async function lookAgain(
  { repository, copies, say }: Pick<UpkeepOptions, 'repository' | 'copies' | 'say'>,
  signal: AbortSignal,
): Promise<void> {
  await repository.ledger.refresh()
  const { catalog } = repository
  const known = catalog.damage.above(catalog.floor).length
  if (known === 0) return
  const report = await scrubSet({ repository, copies }, 'known', signal)
  await recordDamage(repository, ofScrub(report))
  say({
    event: 'damage',
    objects: catalog.damage.above(catalog.floor).length,
    repaired: report.intact.length,
  })
}

/** The share of the day, once a day. */
export async function scrubShare(
  { repository, copies, scrubDays, say, clock }: UpkeepOptions,
  signal: AbortSignal,
): Promise<void> {
  if (scrubDays === 0) return
  const today = Math.floor(clock.now() / DAY_MS)
  const last = repository.catalog.scrubbed
  if (last !== undefined && Math.floor(Date.parse(last.writtenAt) / DAY_MS) >= today) return
  // The next one behind the last, whatever day it is: after days of standing still none is left out.
  const part = last === undefined || last.body.parts !== scrubDays ? 0 : (last.body.part + 1) % scrubDays
  const report = await scrubSet({ repository, copies }, { part, parts: scrubDays }, signal)
  const of = (outcome: string): number => report.faults.filter((fault) => fault.outcome === outcome).length
  const away = report.stores.flatMap((store) => (store.away === null ? [] : [store.place]))
  const objects = report.stores.reduce((sum, store) => sum + store.objects, 0)
  await repository.ledger.append(
    {
      kind: 'scrub',
      part,
      parts: scrubDays,
      objects: String(objects),
      mended: String(of('mended')),
      lost: String(of('lost')),
      left: String(of('left')),
      away,
    },
    repository.signer,
  )
  await recordDamage(repository, ofScrub(report))
  say({
    event: 'scrubbed',
    part,
    parts: scrubDays,
    objects,
    mended: of('mended'),
    lost: of('lost'),
    left: of('left'),
    away,
  })
}

/** Locks that would end within half their time, of everything that the backup still needs. */
export async function extendLocks(
  { repository, say, clock }: Pick<UpkeepOptions, 'repository' | 'say' | 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  for (const store of repository.stores.all) {
    const { lock } = store
    if (lock === undefined || !(await isDue(repository, store, lock.forMs, clock))) continue
    const { ledger, catalog } = repository
    await ledger.refresh()
    const upTo = ledger.headNumber
    const until = clock.now() + lock.forMs
    let objects = 0
    const together = new SideBySide(LIMITS.purgesInFlight, LIMITS.purgesInFlight)
    const extend = async (name: string): Promise<void> => {
      objects++
      await together.begin(1, () => lock.extend(name, until))
    }
    for await (const entry of ledger.walk(upTo)) {
      signal.throwIfAborted()
      await extend(ledger.lineages.nameOf(entry.number))
      for (const { object } of namedObjects(entry))
        if (!isBelow(catalog.floor, object.name)) await extend(object.name)
    }
    await together.all()
    await ledger.append(
      { kind: 'locks', place: store.place, upTo: upTo.toString(), until: new Date(until).toISOString() },
      repository.signer,
    )
    say({ event: 'locks', place: store.place, objects, until: new Date(until).toISOString() })
  }
}

/** The lock that ends first: of what was extended last time, or of the first entry behind that. */
async function isDue(
  { ledger, catalog }: Repository,
  store: ObjectStore,
  forMs: number,
  clock: Clock,
): Promise<boolean> {
  const last = catalog.locks.get(store.place)
  const next = await ledger.readEntry(BigInt(last?.upTo ?? '0') + 1n)
  const ends = [
    ...(last === undefined ? [] : [Date.parse(last.until)]),
    ...(next === undefined ? [] : [Date.parse(next.writtenAt) + forMs]),
  ]
  return ends.some((end) => end - clock.now() < forMs / 2)
}

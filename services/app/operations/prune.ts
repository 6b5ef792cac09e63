/**
 * `prune`: the end of the life cycle. In this order, so that a crash anywhere leaves more than is needed and never less: what was retired
 * long enough ago is said to be removed, then removed; stores that keep less say so, then lose it; last the beginning moves, and nothing
 * goes before the grace is over. Without consent all of it is told, and nothing done.
 */
import type { Clock } from '../../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import { comparePositions, type Position, positionBefore, positionText } from '../../core/position.ts'
import { decodeEntry, type FloorText, type SealedRef } from '../../formats/ledger-entry.ts'
import {
  namedPlace,
  type NamedPlace,
  orphanNumber,
  ORPHANS,
  retiredDdlName,
} from '../../formats/object-name.ts'
import { planRestore } from '../../rebuild/plan.ts'
import { resolvePoint } from '../../history/point.ts'
import { readDdl } from '../../history/schema-at.ts'
import { type Cleared, clearBelow, clearUnnamed } from '../../repository/clear.ts'
import { parseFloor } from '../../repository/floor.ts'
import { fetchChecked } from '../../repository/keyring.ts'
import { headOf } from '../../repository/lineages.ts'
import { namedObjects } from '../../repository/named-objects.ts'
import { NameSet } from '../../repository/name-set.ts'
import type { Repository } from '../../repository/repository.ts'
import {
  type Beginning,
  chooseBeginning,
  floorAt,
  holdBelow,
  isLater,
  lastBelow,
  type RetentionPolicy,
  sizeBelow,
} from '../../lifecycle/retention.ts'
import { readTrim, writeTrim } from '../../repository/trim.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'
import { dialectOf } from '../wiring/dialect.ts'

export interface PruneOptions {
  readonly actor: Actor
  readonly place: BackupPlace
  readonly policy: RetentionPolicy & { readonly graceMs: number }
  /** By the place's order of stores, the primary first: how long each keeps what it has; undefined for as long as the backup. */
  readonly storeKeepMs: readonly (number | undefined)[]
  /** Else it is a dry run. */
  readonly confirmed: boolean
  /** Looks for what no ledger entry names, which reads the whole ledger. */
  readonly unnamed: boolean
  readonly clock: Clock
  readonly signal: AbortSignal
}

export interface PruneReport {
  readonly confirmed: boolean
  /** Where the backup would begin, or begins from now on; null where it stays. */
  readonly retire: {
    readonly id: string | null
    readonly from: { readonly position: string; readonly writtenAt: string }
    readonly segments: number
    readonly parts: number
    readonly bytes: string
    readonly removeAfter: string
  } | null
  readonly because: string
  /** Retired before, and not yet removed. */
  readonly waiting: readonly { readonly id: string; readonly removeAfter: string; readonly isDue: boolean }[]
  readonly trims: readonly {
    readonly place: string
    readonly from: string | null
    readonly because: string
  }[]
  readonly cleared: readonly ({ readonly place: string } & Cleared)[]
  readonly audit: string
}

function passOverFull(error: unknown): void {
  if (!(error instanceof TidemarkError) || error.code !== 'STORE_FULL') throw error
}

export async function prune(options: PruneOptions): Promise<PruneReport> {
  const { place, actor, policy, confirmed, clock, signal } = options
  const { repository } = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  const { catalog, ledger } = repository
  const stores = repository.stores.all
  await compareClocks(stores, clock)
  const now = clock.now()
  const due = catalog.retirements.filter(
    (one) =>
      !one.isRemoved &&
      Date.parse(one.entry.removeAfter) <= now &&
      holdBelow(catalog, one.floor, now) === undefined,
  )
  const waiting = catalog.retirements
    .filter((one) => !one.isRemoved)
    .map((one) => ({ id: one.id, removeAfter: one.entry.removeAfter, isDue: due.includes(one) }))
  const cleared: ({ place: string } & Cleared)[] = []
  if (confirmed) {
    const newest = due.at(-1)
    if (newest !== undefined) await ledger.append({ kind: 'removed', id: newest.id }, repository.signer)
    for (const store of stores) {
      const floor = catalog.removedFloor
      if (floor !== undefined)
        cleared.push({ place: store.place, ...(await clearBelow(store, floor, signal)) })
    }
  }
  const trims: { place: string; from: string | null; because: string }[] = []
  for (const [i, store] of stores.entries()) {
    const keepMs = options.storeKeepMs[i]
    if (keepMs !== undefined) trims.push(await trim(options, repository, stores, store, keepMs, now, cleared))
  }
  if (confirmed && options.unnamed)
    for (const store of stores)
      cleared.push({ place: store.place, ...(await sweep(repository, store, now, signal)) })
  // Before the trial of a floor, which begins where this run has proven the ledger; behind what makes room, since a full
  // store has none for it, and the next run proves the same again.
  if (confirmed) await repository.leaveProof().catch(passOverFull)
  const { begin, because } = chooseBeginning(catalog, policy, now)
  let retire: PruneReport['retire'] = null
  if (begin !== undefined) {
    const size = await sizeBelow(catalog, begin)
    const removeAfter = new Date(now + policy.graceMs).toISOString()
    let id: string | null = null
    if (confirmed) {
      const floor = await proven(options, repository, begin)
      id = repository.randomness.uuid()
      await ledger.append(
        {
          kind: 'retire',
          id,
          floor,
          objects: String(size.segments + size.parts),
          bytes: String(size.bytes),
          removeAfter,
        },
        repository.signer,
        () => {
          // Asked before every try: a restore may have begun meanwhile.
          if (chooseBeginning(catalog, policy, now).begin?.base.id !== begin.base.id)
            throw new TidemarkError('POINT_INVALID', 'a hold came in between', {
              means: 'Nothing was retired.',
              next: 'the same command again',
            })
        },
      )
    }
    retire = {
      id,
      from: { position: positionText(begin.base.closing), writtenAt: begin.base.writtenAt },
      segments: size.segments,
      parts: size.parts,
      bytes: String(size.bytes),
      removeAfter,
    }
  }
  const what = `${retire === null ? 'nothing retired' : `retired what is before ${retire.from.position}`}, ${cleared.reduce((sum, one) => sum + one.objects, 0)} objects taken away`
  return {
    confirmed,
    retire,
    because,
    waiting,
    trims,
    cleared,
    audit: confirmed ? await audit(repository, actor, 'prune', what) : 'none: nothing was done',
  }
}

/** What was retired comes back, as long as it is there. */
export async function undoPrune(
  place: BackupPlace,
  actor: Actor,
  id: string,
): Promise<{ readonly audit: string }> {
  const { repository } = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  const retirement = repository.catalog.retirements.find((one) => one.id === id)
  if (retirement === undefined || retirement.isRemoved)
    throw new TidemarkError(
      'USAGE',
      retirement === undefined ? `nothing was retired as ${id.slice(0, 40)}` : 'its objects are removed',
      { next: 'tidemark prune  (lists what is retired)' },
    )
  await repository.ledger.append({ kind: 'retire-undone', id }, repository.signer)
  const said = await audit(repository, actor, 'prune --undo', id)
  await repository.leaveProof()
  return { audit: said }
}

/**
 * What is old is told by this machine's clock: it must agree with the stores'. Times in the ledger are a writer's to say, and stop nothing.
 *
 * @throws TidemarkError PRUNE_CLOCK
 */
async function compareClocks(stores: readonly ObjectStore[], clock: Clock): Promise<void> {
  for (const store of stores) {
    let there: number | undefined
    try {
      there = (await store.facts?.())?.now
    } catch (error) {
      const known = asTidemarkError(error)
      throw new TidemarkError(
        known.code,
        `${store.place} could not be asked for its clock: ${known.message}`,
        { cause: error },
      )
    }
    if (there !== undefined && Math.abs(there - clock.now()) > LIMITS.skewMs)
      throw new TidemarkError(
        'PRUNE_CLOCK',
        `the clocks of ${store.place} and of this machine differ by ${Math.round(Math.abs(there - clock.now()) / 1000)} s`,
      )
  }
}

/** A floor, once the oldest and the newest point that stay have been planned from what would stay. */
async function proven(options: PruneOptions, repository: Repository, begin: Beginning): Promise<FloorText> {
  const floor = await floorAt(repository, begin, (before) => storeDdl(repository, begin, before))
  const { repository: trial } = await openBackup({ ...options.place, role: 'restore', trusting: 'keepers' })
  trial.catalog.limit(parseFloor(floor))
  const oldest = positionBefore(begin.base.closing)
  await planRestore(
    trial,
    dialectOf(begin.generation.facts.engine),
    await resolvePoint(trial, {
      kind: 'position',
      position: oldest,
      generation: begin.generation.facts.generation,
    }),
    openGaps(trial),
  )
  // A new generation may have no base yet.
  const newest = trial.catalog.generation
  if (newest?.base !== undefined)
    await planRestore(
      trial,
      dialectOf(newest.facts.engine),
      await resolvePoint(trial, { kind: 'latest' }),
      openGaps(trial),
    )
  return floor
}

/** A table that has a gap has it with and without the floor. */
function openGaps(repository: Repository): string[] {
  return repository.catalog.gaps.flatMap((gap) =>
    gap.scope.kind === 'table' ? [`${gap.scope.schema}.${gap.scope.name}`] : [],
  )
}

/** Schema changes from segments that go: points that stay are planned with them. */
async function storeDdl(
  repository: Repository,
  { generation }: Beginning,
  before: Position,
): Promise<SealedRef | null> {
  const words = dialectOf(generation.facts.engine).records
  const records = (await readDdl(repository, words, generation)).filter(
    (record) => comparePositions(record.position, before) <= 0,
  )
  if (records.length === 0) return null
  const number = generation.facts.generation
  const sealed = await repository.seal(
    retiredDdlName(number, before, repository.nonce()),
    words.print(records),
    { kind: 'ddl', generation: String(number) },
  )
  await repository.put(sealed)
  return sealed.object
}

/** One store keeps less than the backup: only what another one has whole is taken away. */
async function trim(
  options: PruneOptions,
  repository: Repository,
  stores: readonly ObjectStore[],
  store: ObjectStore,
  keepMs: number,
  now: number,
  cleared: ({ place: string } & Cleared)[],
): Promise<{ place: string; from: string | null; because: string }> {
  const { catalog, ledger } = repository
  const { confirmed, signal } = options
  const held = await readTrim(store, ledger, catalog.stream)
  const { begin, because } = chooseBeginning(catalog, { keepMs, bases: 1 }, now)
  const stays = { place: store.place, from: null, because }
  if (begin !== undefined) {
    const floor = await floorAt(repository, begin, () => Promise.resolve(null))
    if (isLater(parseFloor(floor), held)) {
      const other = await wholeElsewhere(
        repository,
        stores,
        store,
        lastBelow(begin.generation, begin.base, parseFloor(floor)),
      )
      if (!other) return { ...stays, because: 'no other store has all of it yet' }
      if (!confirmed) return { place: store.place, from: positionText(begin.base.closing), because }
      const sure = await proven(options, repository, begin)
      // It is to be whole from its mark on, by itself.
      if (sure.ddl !== null) await store.putIfAbsent(sure.ddl.name, [await fetchChecked(ledger, sure.ddl)])
      await writeTrim(store, ledger, catalog.stream, sure, repository.signer)
    }
  }
  const floor = await readTrim(store, ledger, catalog.stream)
  if (!confirmed || floor === undefined) return stays
  cleared.push({ place: store.place, ...(await clearBelow(store, floor, signal)) })
  return {
    place: store.place,
    from: begin === undefined || floor.base !== begin.base.id ? null : positionText(begin.base.closing),
    because,
  }
}

/** Whether another store keeps everything and has it up to an entry. */
async function wholeElsewhere(
  repository: Repository,
  stores: readonly ObjectStore[],
  store: ObjectStore,
  number: bigint,
): Promise<boolean> {
  const { catalog, ledger } = repository
  for (const other of stores) {
    if (other === store) continue
    try {
      if (
        (await readTrim(other, ledger, catalog.stream)) === undefined &&
        (await headOf(other, ledger.headNumber, (one) => ledger.lineages.nameOf(one))) >= number
      )
        return true
    } catch (error) {
      if (asTidemarkError(error).code === 'INTERNAL') throw error
    }
  }
  return false
}

async function sweep(
  repository: Repository,
  store: ObjectStore,
  now: number,
  signal: AbortSignal,
): Promise<Cleared> {
  const { ledger, catalog } = repository
  await ledger.refresh()
  const names = await NameSet.ofLedger(ledger)
  // What an old primary wrote of its own is read by nothing, and may be all there is of it.
  for await (const name of store.list(ORPHANS)) {
    const entry = decodeEntry(await store.get(name), orphanNumber(name), undefined, ledger.signers)
    for (const { object } of namedObjects(entry)) names.add(object.name)
  }
  // What a copy of a table has stored is named when the table is finished, which may take days.
  const over = new Set([
    ...catalog.allGenerations.flatMap((generation) => generation.bases.map((base) => base.id)),
    ...catalog.gaps.flatMap((gap) => (gap.closedAt === undefined ? [] : [gap.id])),
    ...(catalog.floor?.gone ?? []),
  ])
  // Behind what is durable an entry may still come, however long a full store or a copy that is away holds it up.
  const { generation } = catalog
  const head = ledger.headNumber
  const isPending = (place: NamedPlace | undefined): boolean => {
    if (place === undefined || generation === undefined) return true
    if ('number' in place) return place.number >= head
    return (
      place.kind !== 'copy' &&
      place.generation >= generation.facts.generation &&
      comparePositions(place.at, generation.to) >= 0
    )
  }
  const isNamed = (name: string): boolean => {
    const place = namedPlace(name)
    return (
      names.has(name) ||
      place?.kind === 'ddl' ||
      (place?.kind === 'copy' && !over.has(place.base)) ||
      isPending(place)
    )
  }
  return clearUnnamed(store, isNamed, now - LIMITS.unnamedMs, signal)
}

/** Opening a backup: its stores, its keys, its ledger, and what knows better. No source and no log: `compose.ts` wires those. */
import './error-codes.ts'
import { openStoreUrl } from '../../adapters/object-store/store-url.ts'
import { type KeyRole, type KeysFolder, openKeys, type OpenedKeys } from '../../adapters/keys/key-folder.ts'
import { unlessAborted } from '../../core/bounded-queue.ts'
import { systemClock, systemRandomness } from '../../core/clock.ts'
import { asTidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import { breakLine } from '../../history/behind-break.ts'
import { type AnchorReport, Anchors } from '../../repository/anchors.ts'
import type { Trusting } from '../../repository/checkpoint.ts'
import { CopySet } from '../../repository/copy-set.ts'
import { type Floor, laterFloor } from '../../repository/floor.ts'
import { mirror, refusePromoted } from '../../repository/mirror.ts'
import { type Orphans, setOrphansAside } from '../../repository/orphans.ts'
import { readTrim } from '../../repository/trim.ts'
import { Repository } from '../../repository/repository.ts'
import type { Config, CopyPlace, StoreRole } from '../config/config.ts'
import { compareCopies, type CopyReport, type OpenedCopy, openStoreSet } from './store-set.ts'

/** @throws TidemarkError CONFIG_INVALID */
export function openStore(url: string): Promise<ObjectStore> {
  return openStoreUrl(url, systemRandomness, systemClock)
}

/** Where a backup is, and what its store is compared with. */
export interface BackupPlace {
  readonly storeUrl: string
  readonly storeRole?: StoreRole | undefined
  /** Other stores with the same backup. */
  readonly copies?: readonly CopyPlace[] | undefined
  readonly keys: KeysFolder
  /** Places where the ledger's head is anchored. */
  readonly anchors?: readonly string[] | undefined
  /** Takes the store as it is, whatever the anchors say. */
  readonly acceptLoss?: boolean | undefined
  /** Ends the opening, and a read of what has copies, while a store says nothing. */
  readonly signal?: AbortSignal | undefined
}

export function placeOf(config: Config): BackupPlace {
  return {
    storeUrl: config.storeUrl,
    storeRole: config.storeRole,
    copies: config.copies,
    keys: config.keys,
    anchors: config.anchors,
  }
}

export interface OpenedBackup {
  readonly repository: Repository
  readonly keys: OpenedKeys
  readonly anchors: Anchors
  readonly copies: readonly OpenedCopy[]
  /** How the copies stand beside the primary; only a writer asks. */
  readonly compared: readonly CopyReport[]
  /** What went wrong with a store and was helped by another, up to now. */
  readonly troubles: () => readonly string[]
  /** Undefined where the comparison was not wanted. */
  readonly anchored: readonly AnchorReport[] | undefined
}

/** @throws TidemarkError INTERRUPTED, what opening throws; STORE_ROLLED_BACK, COPY_AHEAD where an anchor or a copy knows better */
export function openBackup(options: OpenOptions): Promise<OpenedBackup> {
  // It only reads: what is under way in a store that says nothing may be left to itself.
  const { signal } = options
  return signal === undefined ? open(options) : unlessAborted(open(options), signal)
}

export interface OpenOptions extends BackupPlace {
  readonly role: KeyRole
  /** `write` for what changes the ledger or takes objects away: the stores are in the order of the settings. By default as the role does. */
  readonly use?: 'read' | 'write'
  /** `keepers` for what takes away or gives rights: no writer's checkpoint is believed, and everything behind a keeper's is proven. */
  readonly trusting?: Trusting
  /** Up to where the ledger is broken, instead of not at all; `troubles` tells. For what only reads. */
  readonly upToBreak?: boolean
  /** For a reader that says how the copies stand too; a writer always asks. */
  readonly compare?: boolean
}

async function open(options: OpenOptions): Promise<OpenedBackup> {
  const keys = await openKeys(options.keys, options.role)
  const use = options.use ?? (options.role === 'writer' ? 'write' : 'read')
  const { store, copies, troubles, away } = await openStoreSet(options, use, openStore, options.signal)
  // A primary that answers and ends before a copy was set back: that is for a person, as a writer would say it.
  const isBehind = store instanceof CopySet && use === 'read' && store.isSetBack
  if (options.compare === true && isBehind) return open({ ...options, use: 'write' })
  const repository = await Repository.open({
    store,
    trust: keys.trust,
    provider: keys.provider,
    recipientsNow:
      options.role === 'writer' ? async () => (await openKeys(options.keys, 'writer')).provider : undefined,
    signer: keys.signer,
    clock: systemClock,
    randomness: systemRandomness,
    trusting: options.trusting,
    upToBreak: options.upToBreak,
  })
  const { ledger } = repository
  if (store instanceof CopySet) {
    store.refusePromoted = (copy) => refusePromoted(ledger, copy)
    store.catchUp = async (copy, from, until) =>
      void (await mirror({
        ledger,
        stream: keys.trust.stream,
        to: copy,
        floor: repository.catalog.removedFloor,
        from,
        until,
        bandwidth: undefined,
        clock: systemClock,
        signal: new AbortController().signal,
      }))
  }
  await findFloors(repository, store, keys.trust.stream)
  const anchors = new Anchors({
    places: await Promise.all((options.anchors ?? []).map(openStore)),
    ledger,
    stream: keys.trust.stream,
    clock: systemClock,
  })
  // Behind a break, a copy and an anchor know better in a way that is told already.
  const isCompared = options.acceptLoss !== true && ledger.broken === undefined
  const compared =
    (use === 'write' || options.compare === true) && isCompared ? await compareCopies(ledger, copies) : []
  if (store instanceof CopySet)
    for (const [i, { outcome }] of compared.entries())
      if (outcome === 'returning') store.returning.add(copies[i]!.store)
  const anchored = isCompared ? await anchors.check() : undefined
  // Each may know of entries that this store has lost.
  const unasked = [...compared, ...(anchored ?? [])].filter(({ outcome }) => outcome === 'unreachable')
  repository.unasked = [...away, ...unasked.map(({ place }) => place)]
  return {
    repository,
    keys,
    anchors,
    copies,
    troubles: () => [
      ...(repository.recovered === 0
        ? []
        : [
            `the newest ${repository.recovered} ledger entries had been DELETED from ${store.place}; they were read from its older versions`,
          ]),
      ...(ledger.broken === undefined ? [] : [breakLine(ledger.broken)]),
      ...garbageFindings(repository).map(({ code, what }) => `${code}: ${what}`),
      ...repository.catalog.repeated.map(
        (number) => `ledger entry ${number} says the same as one before it, and is passed over`,
      ),
      ...keys.findings.map(({ code, what, fix }) => `${code}: ${what}; ${fix}`),
      ...troubles(),
    ],
    compared,
    anchored,
  }
}

/** Something that is no entry where the next one would be: writers go around it, and somebody may write the store who should not. */
export function garbageFindings({ ledger }: Repository): Finding[] {
  const { garbage } = ledger
  if (garbage === undefined) return []
  return [
    {
      level: 'warn',
      code: 'LEDGER_GARBAGE',
      what: `${ledger.lineages.nameOf(garbage.number)} in ${ledger.store.place} was written by no signer of this backup, and nothing tells of an entry in its place: the ledger ends before it`,
      fix: 'find out who may write the store; tidemark up goes around it',
    },
  ]
}

/** What stores keep less than the whole: where none that can be asked has it all, what is read begins later. */
async function findFloors(repository: Repository, store: ObjectStore, stream: string): Promise<void> {
  const stores = storesOf(store)
  const floors: (Floor | undefined)[] = []
  for (const one of stores) {
    if (store instanceof CopySet && store.isAway(one)) continue
    try {
      const floor = await readTrim(one, repository.ledger, stream)
      floors.push(floor)
      if (floor !== undefined && store instanceof CopySet) store.floors.set(one, floor)
    } catch (error) {
      if (asTidemarkError(error).code === 'LEDGER_BROKEN') throw error
    }
  }
  const least = floors.reduce(
    (a, b) => (a === undefined || b === undefined ? undefined : laterFloor(a, b) === a ? b : a),
    floors[0],
  )
  if (least !== undefined) repository.catalog.limit(least)
}

/** Copies from before a promotion become copies of now: what they have of their own is set aside. Before anything counts as durable. */
export async function takeBackCopies(
  repository: Repository,
): Promise<readonly { readonly place: string; readonly orphans: Orphans }[]> {
  const { ledger, catalog } = repository
  const taken: { place: string; orphans: Orphans }[] = []
  if (!(ledger.store instanceof CopySet)) return taken
  for (const store of [...ledger.store.returning]) {
    const orphans = await setOrphansAside(ledger, store, catalog.stream, repository.signer)
    ledger.store.returning.delete(store)
    if (orphans !== undefined) taken.push({ place: store.place, orphans })
  }
  return taken
}

/** All stores of a backup, the primary first. */
export function storesOf(store: ObjectStore): readonly ObjectStore[] {
  return store instanceof CopySet ? [store.primary, ...store.copies.map((copy) => copy.store)] : [store]
}

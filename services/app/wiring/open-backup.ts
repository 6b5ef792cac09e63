/** Opening a backup: its stores, its keys, its ledger, and what knows better. No source and no log: `compose.ts` wires those. */
import './error-codes.ts'
import { openStoreUrl } from '../../adapters/object-store/store-url.ts'
import { type KeyRole, type KeysFolder, openKeys, type OpenedKeys } from '../../adapters/keys/key-folder.ts'
import { unlessAborted } from '../../core/bounded-queue.ts'
import { type Clock, systemClock, systemRandomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Finding } from '../../core/finding.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import { hashBytes } from '../../formats/ledger-entry.ts'
import { ledgerName } from '../../formats/object-name.ts'
import { breakLine } from '../../history/behind-break.ts'
import { type AnchorReport, Anchors } from '../../repository/anchors.ts'
import type { Trusting } from '../../repository/checkpoint.ts'
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
  /** What operations take for the time; the system's by default. */
  readonly clock?: Clock | undefined
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
  const { clock = systemClock } = options
  const use = options.use ?? (options.role === 'writer' ? 'write' : 'read')
  const { stores, copies, troubles, away } = await openStoreSet(options, use, openStore, options.signal)
  // A primary that answers and ends before a copy was set back: that is for a person, as a writer would say it.
  const isBehind = use === 'read' && stores.isSetBack
  if (options.compare === true && isBehind) return open({ ...options, use: 'write' })
  const repository = await Repository.open({
    stores,
    trust: keys.trust,
    provider: keys.provider,
    recipientsNow:
      options.role === 'writer' ? async () => (await openKeys(options.keys, 'writer')).provider : undefined,
    signer: keys.signer,
    signerNow:
      options.role === 'writer' ? async () => (await openKeys(options.keys, 'writer')).signer : undefined,
    clock,
    randomness: systemRandomness,
    trusting: options.trusting,
    upToBreak: options.upToBreak,
  }).catch((error: unknown) => orCopyHasIt(error, copies, keys))
  const { ledger } = repository
  const floor = await stores.readFloors()
  if (floor !== undefined) repository.catalog.limit(floor)
  const anchors = new Anchors({
    places: await Promise.all((options.anchors ?? []).map(openStore)),
    ledger,
    stream: keys.trust.stream,
    clock,
  })
  // Behind a break, a copy and an anchor know better in a way that is told already.
  const isCompared = options.acceptLoss !== true && ledger.broken === undefined
  const compared =
    (use === 'write' || options.compare === true) && isCompared ? await compareCopies(ledger, copies) : []
  for (const [i, { outcome }] of compared.entries())
    if (outcome === 'returning') stores.returns(copies[i]!.store)
  const anchored = isCompared ? await anchors.check() : undefined
  // Each may know of entries that this store has lost.
  const unasked = [...compared, ...(anchored ?? [])].filter(({ outcome }) => outcome === 'unreachable')
  repository.unasked = [...away, ...unasked.map(({ place }) => place)]
  return {
    repository,
    keys,
    anchors,
    copies,
    troubles: () => [...foundIn(repository, keys), ...troubles()],
    compared,
    anchored,
  }
}

/** A primary without a ledger, while a copy has this very backup: nobody should begin a new one because of that. */
async function orCopyHasIt(
  error: unknown,
  copies: readonly OpenedCopy[],
  { trust }: OpenedKeys,
): Promise<never> {
  if (!(error instanceof TidemarkError) || error.code !== 'STORE_NOT_FOUND') throw error
  for (const { store } of copies) {
    const first = await store.get(ledgerName(1, 1n)).catch(() => undefined)
    if (first === undefined || hashBytes(first) !== trust.genesis) continue
    throw new TidemarkError('COPY_AHEAD', `${error.message}; the copy ${store.place} has this backup`, {
      cause: error,
      means:
        'Nothing was read or written. The primary has been moved or emptied, or its disk is not mounted.',
      next: 'bring it back (is its disk mounted?); where it is gone for good: tidemark promote --store COPY, by its URL. A restore takes the copy meanwhile',
    })
  }
  throw error
}

/** What reading the ledger and the keys has found, for people. */
function foundIn(repository: Repository, keys: OpenedKeys): string[] {
  const { ledger, recovered, catalog } = repository
  return [
    ...(recovered === 0
      ? []
      : [
          `the newest ${recovered} ledger entries had been DELETED from ${ledger.store.place}; they were read from its older versions`,
        ]),
    ...(ledger.broken === undefined ? [] : [breakLine(ledger.broken)]),
    ...garbageFindings(repository).map(({ code, what }) => `${code}: ${what}`),
    ...catalog.repeated.map(
      (number) => `ledger entry ${number} says the same as one before it, and is passed over`,
    ),
    ...keys.findings.map(({ code, what, fix }) => `${code}: ${what}; ${fix}`),
  ]
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

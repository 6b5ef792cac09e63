/** `copy` and `promote`: a backup brought to another store, and a copy made the primary. */
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { COPY_MARK } from '../../formats/object-name.ts'
import { headOf } from '../../repository/lineages.ts'
import { compareHead, mirror, refuseLaterLineage } from '../../repository/mirror.ts'
import { setOrphansAside } from '../../repository/orphans.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup, openStore } from '../wiring/open-backup.ts'

export interface CopyRequest {
  readonly actor: Actor
  readonly from: BackupPlace
  readonly to: string
  readonly bandwidth: number | undefined
  readonly signal: AbortSignal
  onEntry?(progress: { readonly number: bigint; readonly of: bigint; readonly bytes: number }): void
}

/** Everything up to the head; goes on where an earlier run ended. Needs no key that opens anything. */
export async function copyBackup({ from, to, actor, bandwidth, signal, onEntry }: CopyRequest): Promise<{
  readonly place: string
  readonly entries: bigint
  readonly copied: bigint
  readonly bytes: number /** Entries of an older lineage that were set aside there. */
  readonly orphans: number
  readonly audit: string
}> {
  const { repository } = await openBackup({ ...from, role: 'writer' })
  const store = await openStore(to)
  if (store.place === repository.ledger.store.place)
    throw new TidemarkError('USAGE', 'from and to are the same store')
  const { ledger } = repository
  const taken = await repository.stores.takeBack(() => repository.signer)
  const orphans =
    taken.find((one) => one.place === store.place)?.orphans ??
    (await setOrphansAside(ledger, store, repository.catalog.stream, repository.signer))
  const before = await headOf(store, ledger.headNumber, (number) => ledger.lineages.nameOf(number))
  let bytes = 0
  const copying = mirror({
    ledger,
    stream: repository.catalog.stream,
    to: store,
    floor: repository.catalog.removedFloor,
    bandwidth,
    clock: repository.clock,
    signal,
    onEntry: (entry) => {
      bytes += entry.bytes
      onEntry?.({ number: entry.number, of: ledger.headNumber, bytes })
    },
  })
  const head = await copying.catch((error: unknown) => {
    throw ofCopy(error, store.place)
  })
  return {
    place: store.place,
    entries: head,
    copied: head - before,
    bytes,
    orphans: orphans === undefined ? 0 : Number(orphans.to - orphans.from + 1n),
    audit: await audit(repository, actor, 'copy', `entries ${before + 1n} to ${head} to ${store.place}`),
  }
}

/** What the store that is copied to has no room or no rights for is no fault of the backup's own. */
function ofCopy(error: unknown, place: string): unknown {
  if (!(error instanceof TidemarkError) || (error.code !== 'STORE_FULL' && error.code !== 'STORE_READ_ONLY'))
    return error
  return new TidemarkError(error.code, `the copy in ${place}: ${error.message}`, {
    cause: error,
    means:
      'The copy is not complete, and the backup that it is made of is as it was. What is there already stays.',
    next: `${error.code === 'STORE_FULL' ? 'make room' : 'give write access'} in ${place}, then the same command again: it goes on where it ended`,
  })
}

/**
 * Makes a copy the primary store: a new lineage begins, and a writer may append to it. What the old primary has of its own, when it
 * comes back, is set aside before it counts as a copy. A keeper's to do: it decides which entries count.
 *
 * @throws TidemarkError COPY_AHEAD where another store that is given has more of the backup
 */
export async function promote(
  place: BackupPlace,
  actor: Actor,
): Promise<{
  readonly place: string
  readonly head: string
  readonly lineage: number
  /** The checkpoint whose word was taken for what lies before it; 0 where every entry was proven before. */
  readonly trusted: string
  /** What came of proving every entry since, which promoting does not wait for. */
  readonly proof: string
  readonly audit: string
}> {
  const store = await openStore(place.storeUrl)
  const { repository, copies } = await openBackup({ ...place, copies: [], role: 'restore' })
  const { ledger } = repository
  if (!ledger.isCopy) throw new TidemarkError('USAGE', `${store.place} is no copy: it is written to already`)
  if (place.acceptLoss !== true) {
    for (const other of [
      ...copies.map((copy) => copy.store),
      ...(await Promise.all((place.copies ?? []).map((copy) => openStore(copy.url)))),
    ]) {
      await refuseLaterLineage(ledger, other)
      await compareHead(
        ledger,
        other,
        await headOf(other, ledger.headNumber, (number) => ledger.lineages.nameOf(number)),
      )
    }
  }
  const head = ledger.headNumber
  // The lineage first: whoever finds the mark gone finds it too.
  await ledger.promote(repository.signer)
  await store.remove(COPY_MARK)
  ledger.isCopy = false
  const said = await audit(
    repository,
    actor,
    'promote',
    `${store.place}, lineage ${ledger.lineages.current}, from entry ${head + 1n} on`,
  )
  return {
    place: store.place,
    head: String(head),
    lineage: ledger.lineages.current,
    trusted: String(repository.readFrom),
    proof: await proofOf(place),
    audit: said,
  }
}

/** Every entry, now that writers can go on. What is wrong is told, and changes nothing: the copy is the primary store already. */
async function proofOf(place: BackupPlace): Promise<string> {
  try {
    const { repository } = await openBackup({ ...place, copies: [], role: 'restore', trusting: 'keepers' })
    await repository.leaveProof()
    return `every ledger entry up to ${repository.ledger.headNumber} is proven`
  } catch (error) {
    const known = asTidemarkError(error)
    if (known.code === 'INTERNAL') throw error
    return `NOT proven: ${known.code}: ${known.message}`
  }
}

/**
 * A store that comes back: the old primary, with entries that it wrote after a copy of it had been promoted. They are recorded, set aside
 * under `orphans/` in that store, and never read again; the store then receives the new lineage like any other copy.
 */
import { TidemarkError } from '../core/errors.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { decodeEntry } from '../formats/ledger-entry.ts'
import type { Signer } from '../formats/signed-line.ts'
import { checkpointName, COPY_MARK, ledgerName, orphanName, proofName } from '../formats/object-name.ts'
import { putSame } from './copy-set.ts'
import type { Ledger } from './ledger.ts'
import { headOf } from './lineages.ts'

export interface Orphans {
  readonly lineage: number
  readonly from: bigint
  readonly to: bigint
}

/** Entries of an older lineage behind the one that the lineages share; undefined where the store has none. */
export async function findOrphans(ledger: Ledger, store: ObjectStore): Promise<Orphans | undefined> {
  for (const { lineage, from, garbage } of ledger.lineages.later) {
    const nameOf = (number: bigint): string | undefined =>
      number < from ? undefined : ledgerName(lineage - 1, number)
    if (garbage !== undefined) continue
    if ((await store.size(nameOf(from)!)) !== undefined)
      return { lineage: lineage - 1, from, to: await headOf(store, from, nameOf) }
  }
  return undefined
}

/**
 * @returns what was set aside; undefined where there was nothing
 * @throws TidemarkError COPY_DIFFERS where an entry is not one of this backup's signers
 */
export async function setOrphansAside(
  ledger: Ledger,
  store: ObjectStore,
  stream: string,
  signer: Signer,
): Promise<Orphans | undefined> {
  const orphans = await findOrphans(ledger, store)
  if (orphans === undefined) return undefined
  const { lineage, from, to } = orphans
  const last = decoded(ledger, await store.get(ledgerName(lineage, to)), to, store)
  // From here on it is a copy: its old writer, should it start again, is refused.
  await store.putIfAbsent(COPY_MARK, [Buffer.from(`{"stream":"${stream}"}\n`, 'utf8')])
  await ledger.append(
    {
      kind: 'orphans',
      place: store.place,
      lineage,
      from: from.toString(),
      to: to.toString(),
      hash: last.hash,
    },
    signer,
  )
  // The newest first: wherever it stops, what is left is a chain.
  for (let number = to; number >= from; number--) {
    const name = ledgerName(lineage, number)
    const file = await store.get(name)
    const entry = decoded(ledger, file, number, store)
    // Another one under its name is left, and so is the entry.
    await putSame(store, orphanName(lineage, number), [file])
    if (entry.body?.kind === 'checkpoint')
      for (const hint of [checkpointName(lineage, number), proofName(lineage, number)])
        await store.remove(hint)
    await store.remove(name)
  }
  return orphans
}

function decoded(
  ledger: Ledger,
  file: Buffer,
  number: bigint,
  store: ObjectStore,
): ReturnType<typeof decodeEntry> {
  try {
    return decodeEntry(file, number, undefined, ledger.signers)
  } catch (error) {
    throw new TidemarkError(
      'COPY_DIFFERS',
      `${store.place} has a ledger entry ${number} that no signer of this backup wrote`,
      { cause: error },
    )
  }
}

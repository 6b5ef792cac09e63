/** The first entry: what tells one backup from another. */
import { TidemarkError } from '../core/errors.ts'
import type { Clock } from '../core/clock.ts'
import type { ObjectStore } from '../core/ports/object-store.ts'
import { encodeEntry, type EntryOf, hashBytes } from '../formats/ledger-entry.ts'
import { isProbe, ledgerName, ledgerPrefix } from '../formats/object-name.ts'
import type { Signer } from '../formats/signed-line.ts'
import type { TrustedSigner } from './signers.ts'

/** What a reader brings along. */
export interface TrustedSigners {
  readonly stream: string
  readonly genesis: string
  readonly signers: readonly TrustedSigner[]
}

/**
 * @param file of entry 1, where there is one
 * @throws TidemarkError STORE_FOREIGN where it is another one than the keys belong to, STORE_NOT_FOUND where there is no ledger, LEDGER_BROKEN
 */
export async function proveGenesis(
  store: ObjectStore,
  file: Buffer | undefined,
  hash: string,
): Promise<void> {
  if (file === undefined) {
    for await (const name of store.list(ledgerPrefix(1)))
      throw new TidemarkError('LEDGER_BROKEN', `ledger entry 1 is missing, while ${name} exists`)
    throw new TidemarkError('STORE_NOT_FOUND', `there is no ledger in ${store.place}`, {
      means:
        'Nothing was read or written. A backup that was there has been moved, or its disk is not mounted.',
      next: 'check store in tidemark.yaml, or --store, and that its disk is mounted; a new backup starts with tidemark init, with --keys and --config of its own (where the old one is gone for good, tidemark uninstall before it)',
    })
  }
  if (hashBytes(file) !== hash)
    throw new TidemarkError(
      'STORE_FOREIGN',
      `the ledger in ${store.place} does not begin with the genesis entry of these keys`,
    )
}

/** Writes the genesis entry into an empty store; returns its hash, which the keys folder keeps. @throws TidemarkError STORE_NOT_EMPTY */
export async function createLedger(
  store: ObjectStore,
  clock: Clock,
  body: EntryOf<'genesis'>,
  signer: Signer,
): Promise<string> {
  for await (const name of store.list(''))
    if (!isProbe(name)) throw new TidemarkError('STORE_NOT_EMPTY', `the store already holds ${name}`)
  const file = encodeEntry(1n, null, new Date(clock.now()).toISOString(), body, signer)
  if ((await store.putIfAbsent(ledgerName(1, 1n), [file])) === 'exists')
    throw new TidemarkError('STORE_NOT_EMPTY', 'another init was faster')
  return hashBytes(file)
}

/** `keys`: who can open what, new recipients for old and new epoch keys, and recipients for whom nothing more is sealed. */
import { openKeys, ownSide, type SignerRole } from '../../adapters/keys/key-folder.ts'
import {
  addRecipient,
  addServiceRecipient,
  newRecipient,
  removeRecipient,
} from '../../adapters/keys/recipient-files.ts'
import { installSigner, nextSigner } from '../../adapters/keys/signer-files.ts'
import type { ServiceKey } from '../../adapters/keys/service-key.ts'
import { systemRandomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { madeAt } from '../../repository/keyring.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'

export interface RecipientReport {
  readonly recipient: string
  /** Epoch keys that were sealed for it, in whatever object of the store. */
  readonly epochKeys: number
  /**
   * When the first and the last of them was made: it opens what was written from then on, up to the next epoch key. `from` is null
   * where a version before sealed one anew and did not note when it was made.
   */
  readonly from: string | null
  readonly to: string | null
  /**
   * Whether the writer's folder has it: what `up` seals from the next minute on is sealed for it. Where that folder is not at hand,
   * whether the newest epoch key is sealed for it.
   */
  readonly current: boolean
}

export async function listRecipients(place: BackupPlace): Promise<readonly RecipientReport[]> {
  const { repository, keys } = await openBackup({ ...place, role: 'writer', use: 'read' })
  return reports(
    repository,
    (await hasWriter(place)) ? keys.provider.recipients : latestRecipients(repository),
  )
}

/** A restore folder keeps the keys of those that were rotated away: only the writer's says whom it seals for. */
async function hasWriter({ keys }: BackupPlace): Promise<boolean> {
  try {
    await ownSide(keys, 'writer')
    return true
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'KEY_MISSING') return false
    throw error
  }
}

/** Whom the newest epoch key is sealed for: who was revoked or rotated away before is not among them. */
export function latestRecipients({ catalog }: Pick<Repository, 'catalog'>): readonly string[] {
  const [first, ...others] = catalog.keys.values()
  if (first === undefined) return []
  const { body } = others.reduce((a, b) => (a.number > b.number ? a : b), first)
  return body.sealedFor ?? body.recipients
}

function reports(repository: Repository, current: readonly string[]): RecipientReport[] {
  const entries = [...repository.catalog.keys.values()]
    .map((entry) => ({ made: madeAt(entry), body: entry.body }))
    .sort((a, b) => ((a.made ?? '') < (b.made ?? '') ? -1 : 1))
  const names = new Set([...entries.flatMap((entry) => entry.body.recipients), ...current])
  return [...names].map((recipient) => {
    const opened = entries.filter((entry) => entry.body.recipients.includes(recipient))
    return {
      recipient,
      epochKeys: opened.length,
      from: opened[0]?.made ?? null,
      to: opened.at(-1)?.made ?? null,
      current: current.includes(recipient),
    }
  })
}

export interface RewrapReport {
  readonly recipient: string
  /** Epoch keys that were sealed anew, for the recipients of now. */
  readonly rewrapped: number
  readonly recipients: readonly RecipientReport[]
  readonly audit: string
}

/** A new recipient of our own takes the place of the others: every epoch key is sealed for it; no segment is written anew. */
export async function rotateRecipient(
  place: BackupPlace,
  actor: Actor,
  signal: AbortSignal,
): Promise<RewrapReport> {
  const before = await openKeys(place.keys, 'writer')
  // Whoever cannot open the old epoch keys cannot seal them anew: asked before anything is made.
  await openKeys(place.keys, 'restore')
  const recipient = await newRecipient(place.keys, systemRandomness)
  for (const old of before.provider.recipients)
    await removeRecipient(place.keys, old.slice(old.indexOf(':') + 1))
  return rewrap(place, actor, recipient, 'keys rotate', signal)
}

/** One more, for what is written from now on; and for what was written before, where the restore keys are at hand. */
export async function addRecipientFile(
  place: BackupPlace,
  actor: Actor,
  file: string,
  name: string,
  signal: AbortSignal,
): Promise<RewrapReport> {
  return added(place, actor, await addRecipient(place.keys, file, name), signal)
}

/** A key that never leaves its service. Where the epoch keys can be sealed anew for it, that also tries it. */
export async function addServiceKey(
  place: BackupPlace,
  actor: Actor,
  key: ServiceKey,
  name: string,
  signal: AbortSignal,
): Promise<RewrapReport> {
  return added(place, actor, await addServiceRecipient(place.keys, key, name), signal)
}

async function added(
  place: BackupPlace,
  actor: Actor,
  recipient: string,
  signal: AbortSignal,
): Promise<RewrapReport> {
  const canOpen = await openKeys(place.keys, 'restore').then(
    () => true,
    (error: unknown) => {
      if (error instanceof TidemarkError && error.code === 'KEY_MISSING') return false
      throw error
    },
  )
  if (canOpen) return rewrap(place, actor, recipient, 'keys add-recipient', signal)
  const { repository, keys } = await openBackup({ ...place, role: 'writer' })
  return {
    recipient,
    rewrapped: 0,
    recipients: reports(repository, keys.provider.recipients),
    audit: await audit(repository, actor, 'keys add-recipient', recipient),
  }
}

/** @returns what its private key still opens, and always will */
export async function revokeRecipient(
  place: BackupPlace,
  actor: Actor,
  name: string,
): Promise<{ readonly revoked: RecipientReport; readonly audit: string }> {
  const before = await openKeys(place.keys, 'writer')
  const full = before.provider.recipients.find(
    (recipient) => recipient === name || recipient.endsWith(`:${name}`),
  )
  if (full === undefined)
    throw new TidemarkError('KEY_MISSING', `nothing is sealed for ${name.slice(0, 60)}`, {
      next: 'tidemark keys list',
    })
  if (before.provider.recipients.length === 1)
    throw new TidemarkError(
      'USAGE',
      `${full} is the only recipient: without another one, nothing that is written could be read`,
      { next: 'tidemark keys rotate, or tidemark keys add-recipient' },
    )
  await removeRecipient(place.keys, full.slice(full.indexOf(':') + 1))
  const { repository, keys } = await openBackup({ ...place, role: 'writer' })
  const revoked = reports(repository, keys.provider.recipients).find((report) => report.recipient === full)
  return {
    revoked: revoked ?? { recipient: full, epochKeys: 0, from: null, to: null, current: false },
    audit: await audit(repository, actor, 'keys revoke', full),
  }
}

async function rewrap(
  place: BackupPlace,
  actor: Actor,
  recipient: string,
  command: string,
  signal: AbortSignal,
): Promise<RewrapReport> {
  const { provider } = await openKeys(place.keys, 'writer')
  const { repository } = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  let rewrapped = 0
  for (const id of [...repository.catalog.keys.keys()]) {
    signal.throwIfAborted()
    await repository.keyring.rewrap(id, provider, repository.signer)
    rewrapped++
  }
  const said = await audit(repository, actor, command, recipient)
  await repository.leaveProof()
  return { recipient, rewrapped, recipients: reports(repository, provider.recipients), audit: said }
}

export interface SignerReport {
  readonly id: string
  readonly role: SignerRole
  /** The ledger entries that it may sign; null for no end. */
  readonly from: string
  readonly to: string | null
}

export async function listSigners(place: BackupPlace): Promise<readonly SignerReport[]> {
  const { repository } = await openBackup({ ...place, role: 'writer', use: 'read' })
  return repository.ledger.signers.trusted.map(({ id, role, from, to }) => ({
    id,
    role,
    from: from ?? '1',
    to: to ?? null,
  }))
}

/** A new signing key for writers, or for keepers; those of before count up to the entry that says so, and no further. */
export async function rotateSigner(
  place: BackupPlace,
  actor: Actor,
  role: SignerRole,
): Promise<{
  readonly signer: string
  readonly retired: readonly string[]
  readonly entry: string
  readonly audit: string
}> {
  const opened = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  const { ledger, signer, catalog } = opened.repository
  const next = await nextSigner(place.keys, role, systemRandomness)
  if (ledger.signers.get(next.id) === undefined) {
    const retire = ledger.signers.trusted
      .filter((one) => one.role === role && one.to === undefined)
      .map((one) => one.id)
    await ledger.append(
      { kind: 'signers', add: [{ id: next.id, role, publicKey: next.publicKey }], retire },
      signer,
    )
  }
  await installSigner(place.keys, role, next, { ...opened.keys.trust, signers: [...ledger.signers.trusted] })
  const change = catalog.signerChanges.findLast((one) => one.body.add.some((added) => added.id === next.id))
  // As whoever signs from now on.
  const { repository } = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  const said = await audit(repository, actor, 'keys rotate-signer', next.id)
  await repository.leaveProof()
  return {
    signer: next.id,
    retired: change?.body.retire ?? [],
    entry: String(change?.number ?? 0n),
    audit: said,
  }
}

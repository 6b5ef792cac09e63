/** `keys recover-writer`: the writer's folder is lost, the restore keys are there. They sign a new writer in, and the lost one out. */
import { sideOfKeys } from '../../adapters/keys/key-folder.ts'
import { nextSigner } from '../../adapters/keys/signer-files.ts'
import { beginWriterFolder, bringRecipients, finishWriterFolder } from '../../adapters/keys/writer-folder.ts'
import { systemRandomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { latestRecipients } from './keys.ts'
import type { Actor } from './actor.ts'
import { audit } from './audit.ts'
import { type BackupPlace, openBackup } from '../wiring/open-backup.ts'

export interface RecoveredWriter {
  readonly signer: string
  /** What these sign from now on is refused. */
  readonly retired: readonly string[]
  readonly recipients: readonly string[]
  /** Their public keys are not at hand: nothing more is sealed for them. */
  readonly missing: readonly string[]
  readonly audit: string
}

/** @throws TidemarkError KEY_MISSING where no recipient of the backup can be sealed for; what opening throws */
export async function recoverWriter(place: BackupPlace, actor: Actor, out: string): Promise<RecoveredWriter> {
  const opened = await openBackup({ ...place, role: 'restore', use: 'write', trusting: 'keepers' })
  const { repository } = opened
  const { ledger, signer, catalog } = repository
  await beginWriterFolder(out)
  const wanted = new Map(
    latestRecipients(repository).map((full) => [full.slice(full.indexOf(':') + 1), full]),
  )
  const found = await bringRecipients(await sideOfKeys(place.keys, 'restore'), out, new Set(wanted.keys()))
  if (found.length === 0)
    throw new TidemarkError(
      'KEY_MISSING',
      `none of the recipients that are sealed for (${[...wanted.values()].join(', ')}) is among the restore keys`,
      { next: 'the same with --keys DIR, the newest restore keys' },
    )
  const next = await nextSigner(out, 'writer', systemRandomness)
  if (ledger.signers.get(next.id) === undefined) {
    const retire = ledger.signers.trusted
      .filter((one) => one.role === 'writer' && one.to === undefined)
      .map((one) => one.id)
    await ledger.append(
      { kind: 'signers', add: [{ id: next.id, role: 'writer', publicKey: next.publicKey }], retire },
      signer,
    )
  }
  await finishWriterFolder(out, next, { ...opened.keys.trust, signers: [...ledger.signers.trusted] })
  const change = catalog.signerChanges.findLast((one) => one.body.add.some((added) => added.id === next.id))
  const said = await audit(repository, actor, 'keys recover-writer', next.id)
  await repository.leaveProof()
  return {
    signer: next.id,
    retired: change?.body.retire ?? [],
    recipients: found.map((name) => wanted.get(name)!),
    missing: [...wanted].filter(([name]) => !found.includes(name)).map(([, full]) => full),
    audit: said,
  }
}

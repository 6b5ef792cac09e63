/** keys list, rotate, rotate-signer, recover-writer, add-recipient, revoke. */
import type { Command } from 'commander'
import {
  addRecipientFile,
  addServiceKey,
  listRecipients,
  listSigners,
  type RecipientReport,
  rotateSigner,
  revokeRecipient,
  rotateRecipient,
} from '../../app/operations/keys.ts'
import { recoverWriter } from '../../app/operations/recover-writer.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { BackupPlace } from '../../app/wiring/open-backup.ts'
import type { Context } from '../context.ts'
import type { Run } from '../run.ts'
import { table } from '../../terminal/output.ts'

function lines(recipients: readonly RecipientReport[]): string {
  return table([
    ['recipient', 'epoch keys', 'from', 'to', ''],
    ...recipients.map((r) => [
      r.recipient,
      String(r.epochKeys),
      r.from ?? (r.epochKeys === 0 ? '' : 'not known'),
      r.to ?? '',
      r.current ? 'sealed for' : 'no longer sealed for',
    ]),
  ])
}

/** Whoever keeps the sides apart names each; --keys means the folder above both, or the one that is not named. */
function placeOf(context: Context, command: Command): BackupPlace {
  const { writerKeys, restoreKeys } = command.optsWithGlobals<{
    writerKeys?: string
    restoreKeys?: string
  }>()
  const place = context.place()
  const { keys } = place
  if ((writerKeys === undefined && restoreKeys === undefined) || typeof keys !== 'string') return place
  return { ...place, keys: { writer: writerKeys ?? keys, restore: restoreKeys ?? keys } }
}

function withSides(command: Command): Command {
  return command
    .option('--writer-keys <DIR>', "the writer's side, where it does not lie beside the other one")
    .option('--restore-keys <DIR>', 'the restore side, where it does not lie beside the other one')
}

export function registerKeys(program: Command, run: Run): void {
  const keys = program.command('keys').description('who can read the backup: recipients of its epoch keys')
  keys
    .command('list')
    .description('every recipient, and what it can open')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const recipients = await listRecipients(context.place())
        const { output } = context
        const signers = await listSigners(context.place())
        output.line(lines(recipients))
        output.line()
        output.line(
          table([
            ['signer', 'role', 'entries', ''],
            ...signers.map((s) => [
              s.id,
              s.role,
              `${s.from} to ${s.to ?? 'the end'}`,
              s.to === null ? '' : 'retired',
            ]),
          ]),
        )
        output.result({ recipients, signers })
      }),
    )
  withSides(keys.command('rotate'))
    .description(
      'a new recipient in the place of the others: seals every epoch key anew, rewrites no segment. Needs keys/restore',
    )
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        if (!context.yes)
          throw new TidemarkError(
            'CONSENT_NEEDED',
            'rotate makes a new private key in keys/restore, which restores need from then on',
          )
        const report = await rotateRecipient(placeOf(context, command), context.actor, context.signal)
        const { output } = context
        output.line(lines(report.recipients))
        output.line(
          `${report.rewrapped} epoch keys are sealed for ${report.recipient} now. Keep its private key, in the folder of the restore keys, safe. A \`tidemark up\` that runs with this keys/writer seals for it within a minute.`,
        )
        output.line(
          'The private keys of before still open what was written up to now, as long as it is in the store.',
        )
        output.result(report)
      }),
    )
  withSides(keys.command('rotate-signer'))
    .description(
      'a new signing key in the place of the others of its role: what those sign from then on is refused. Needs keys/restore',
    )
    .option('--role <ROLE>', 'writer (up signs with it) or keeper (restore keys)', 'writer')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { role } = command.optsWithGlobals<{ role: string }>()
        if (role !== 'writer' && role !== 'keeper')
          throw new TidemarkError('USAGE', '--role is writer or keeper')
        if (!context.yes)
          throw new TidemarkError(
            'CONSENT_NEEDED',
            'a process that still signs with the old key, and has no newer one in its keys folder, ends with SIGNER_REFUSED',
          )
        const report = await rotateSigner(placeOf(context, command), context.actor, role)
        const { output } = context
        output.line(
          `${report.signer} signs from ledger entry ${BigInt(report.entry) + 1n} on; ${report.retired.join(', ')} no longer ${report.retired.length === 1 ? 'does' : 'do'}.`,
        )
        output.line(
          `Take keys/${role === 'writer' ? 'writer to every other host that runs `tidemark up`, and start it again there; what runs with this folder takes the new key by itself' : 'restore to where the restore keys are kept'}; and keys/restore/trust.json to every copy of the restore keys.`,
        )
        output.result(report)
      }),
    )
  keys
    .command('recover-writer')
    .description(
      "the writer's folder is lost: a new one from the restore keys, with a signing key in the place of the lost one's. --keys names the restore keys",
    )
    .requiredOption('--out <DIR>', 'where its folder writer/ is made')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { out } = command.optsWithGlobals<{ out: string }>()
        if (!context.yes)
          throw new TidemarkError(
            'CONSENT_NEEDED',
            'a process that still signs with the key of the lost folder ends with SIGNER_REFUSED',
          )
        const report = await recoverWriter(context.place(), context.actor, out)
        const { output } = context
        output.line(
          `${out}/writer is made: ${report.signer} signs in the place of ${report.retired.join(', ')}.`,
        )
        output.line(`It seals for ${report.recipients.join(', ')}.`)
        if (report.missing.length > 0)
          output.line(
            `Not for ${report.missing.join(', ')}: tidemark keys add-recipient with their public keys.`,
          )
        output.line(`Next: keys: ${out} in tidemark.yaml, then tidemark up`)
        output.result(report)
      }),
    )
  withSides(keys.command('add-recipient'))
    .description(
      'one more recipient: the public key in a PEM file (RSA, 3072 bits or more), or a key in AWS KMS or Vault',
    )
    .argument('[file]')
    .requiredOption('--name <NAME>', 'small letters, digits, dashes')
    .option('--kms <ARN>', 'a key in AWS KMS; the writer needs kms:Encrypt on it, a restore kms:Decrypt')
    .option('--kms-endpoint <URL>', "another server than AWS' own")
    .option('--vault <URL>', 'a Vault or OpenBao with a transit engine')
    .option('--vault-key <KEY>', 'of the transit engine', 'tidemark')
    .option('--vault-mount <PATH>', 'of the transit engine', 'transit')
    .option('--vault-token-file <FILE>', 'read at each use (default: VAULT_TOKEN)')
    .action(async (file: string | undefined, _, command: Command) =>
      run(command, async (context) => {
        const { name, kms, kmsEndpoint, vault, vaultKey, vaultMount, vaultTokenFile } =
          command.optsWithGlobals<{
            name: string
            kms?: string
            kmsEndpoint?: string
            vault?: string
            vaultKey: string
            vaultMount: string
            vaultTokenFile?: string
          }>()
        if ([file, kms, vault].filter((one) => one !== undefined).length !== 1)
          throw new TidemarkError('USAGE', 'give one of: a PEM file, --kms ARN, --vault URL')
        const place = placeOf(context, command)
        const { signal } = context
        const report =
          file !== undefined
            ? await addRecipientFile(place, context.actor, file, name, signal)
            : kms !== undefined
              ? await addServiceKey(
                  place,
                  context.actor,
                  { kms: { key: kms, ...(kmsEndpoint === undefined ? {} : { endpoint: kmsEndpoint }) } },
                  name,
                  signal,
                )
              : await addServiceKey(
                  place,
                  context.actor,
                  {
                    vault: {
                      address: vault!,
                      mount: vaultMount,
                      key: vaultKey,
                      ...(vaultTokenFile === undefined ? {} : { tokenFile: vaultTokenFile }),
                    },
                  },
                  name,
                  signal,
                )
        const { output } = context
        output.line(lines(report.recipients))
        output.line(
          report.rewrapped > 0
            ? `${report.rewrapped} epoch keys are sealed for ${report.recipient} too.`
            : `What \`tidemark up\` writes before it looks again, within a minute, stays closed to ${report.recipient}: the restore keys are not here.`,
        )
        output.result(report)
      }),
    )
  withSides(keys.command('revoke'))
    .description('seal nothing more for a recipient; says what it can still open')
    .argument('<name>')
    .action(async (name: string, _, command: Command) =>
      run(command, async (context) => {
        const { revoked, audit } = await revokeRecipient(placeOf(context, command), context.actor, name)
        const { output } = context
        output.line(
          `Within a minute nothing more is sealed for ${revoked.recipient}, where \`tidemark up\` has this keys folder.`,
        )
        output.line(
          revoked.epochKeys === 0
            ? 'It opens nothing.'
            : `Its private key still opens ${revoked.epochKeys} epoch keys, made from ${revoked.from ?? ''} to ${revoked.to ?? ''}, and with them what was written then.`,
        )
        output.result({ revoked, audit })
      }),
    )
}

/** verify. */
import type { Command } from 'commander'
import { anchorLines } from '../../app/operations/anchor-lines.ts'
import { audit } from '../../app/operations/audit.ts'
import { askedSource, requireSource } from '../../app/operations/examine-source.ts'
import { type BackupPlace, openBackup } from '../../app/wiring/open-backup.ts'
import { ofVerify, notRecorded, recordAsReader } from '../../app/operations/record-damage.ts'
import { verifyAgainstSource, verifyStore } from '../../app/operations/verify.ts'
import {
  lookedAt,
  ofVerifyEach,
  refusalOf,
  type VerifiedStore,
  verifyEach,
} from '../../app/operations/verify-stores.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Context } from '../context.ts'
import type { Run } from '../run.ts'
import { bytesText, countText } from '../../terminal/output.ts'
import { openAnySide } from './status.ts'

export function registerVerify(program: Command, run: Run): void {
  program
    .command('verify')
    .description('prove the chain, every object and that the keys open them; or compare with the source')
    .option('--chain', 'chain and hashes only: needs no key that opens anything')
    .option('--against-source', 'digest the source at one exact LSN and compare the backup with it')
    .option(
      '--all-stores',
      'each store by itself, the primary and every copy, as if it were the only one left',
    )
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{
          chain?: boolean
          againstSource?: boolean
          allStores?: boolean
        }>()
        const { againstSource = false, allStores = false, chain = false } = options
        if (againstSource && allStores)
          throw new TidemarkError('USAGE', '--against-source compares what is read, and looks at no store', {
            next: 'tidemark verify --all-stores, and tidemark verify --against-source',
          })
        if (againstSource) await compareWithSource(context)
        else if (allStores) await verifyAllStores(context, !chain)
        else await verifyRead(context, !chain)
      }),
    )
}

/** What a restore would read now. */
async function verifyRead(context: Context, decrypt: boolean): Promise<void> {
  const { output, signal } = context
  const opened = decrypt
    ? await openBackup({ ...context.place(), role: 'restore' })
    : await openAnySide(context)
  const { repository } = opened
  const anchors = anchorLines(opened)
  for (const line of anchors) output.line(`anchor   ${line}`)
  const report = await verifyStore(repository, decrypt, () => undefined, signal)
  const where = lookedAt(repository, report.decrypted)
  for (const place of where.looked) output.line(`looked at ${place}`)
  for (const place of where.notLooked)
    output.line(
      `NOT looked at ${place}: tidemark verify --all-stores${context.placeFlags}  (looks at each store by itself)`,
    )
  for (const line of opened.troubles()) output.line(`store    ${line}`)
  for (const d of report.damaged)
    output.line(`DAMAGED  ${d.object} (ledger entry ${d.entry}, ${d.range}): ${d.what}`)
  const recorded = await recordAsReader(repository, ofVerify(report))
  output.event({ damaged: report.damaged, recorded })
  for (const line of notRecorded(recorded)) output.line(line)
  if (report.damaged.length > 0)
    throw new TidemarkError(
      report.damaged[0]!.code === 'OBJECT_MISSING' ? 'OBJECT_MISSING' : 'OBJECT_CORRUPT',
      `${report.damaged.length} of ${report.objects} objects are damaged: ${report.damaged
        .slice(0, 3)
        .map((d) => `${d.object} (${d.range})`)
        .join(', ')}`,
    )
  const audited = await audit(
    repository,
    context.actor,
    decrypt ? 'verify' : 'verify --chain',
    `${report.objects} objects`,
  )
  output.line(
    `${report.entries} ledger entries and ${countText(report.objects)} objects (${bytesText(report.bytes)}) are intact${report.decrypted ? ' and can be opened' : ''}. Head ${report.head.slice(0, 16)}…`,
  )
  output.result({
    ...report,
    ...where,
    anchors,
    audit: audited,
  })
}

async function verifyAllStores(context: Context, decrypt: boolean): Promise<void> {
  const { output, signal } = context
  const place = context.place()
  const open = (alone: BackupPlace): ReturnType<typeof openBackup> =>
    decrypt ? openBackup({ ...alone, role: 'restore' }) : openAnySide(context, {}, alone)
  const stores = await verifyEach(place, open, decrypt, signal)
  for (const store of stores) {
    output.line(storeLine(store))
    for (const { object, entry, range, what } of store.report?.damaged ?? [])
      output.line(`DAMAGED  ${object} in ${store.place} (ledger entry ${entry}, ${range}): ${what}`)
  }
  // The primary's word: where it cannot be opened there is nothing to write into.
  const { repository } = decrypt
    ? await openBackup({ ...place, role: 'restore' })
    : await openAnySide(context)
  const recorded = await recordAsReader(repository, ofVerifyEach(stores))
  output.event({ stores, recorded })
  for (const line of notRecorded(recorded)) output.line(line)
  const refusal = refusalOf(stores)
  if (refusal !== undefined) throw refusal
  const command = decrypt ? 'verify --all-stores' : 'verify --chain --all-stores'
  output.result({
    stores,
    audit: await audit(repository, context.actor, command, `${stores.length} stores`),
  })
}

function storeLine({ place, report, failed, behind }: VerifiedStore): string {
  if (report === null) return `NOT looked at ${place}: ${failed?.code ?? ''}: ${failed?.message ?? ''}`
  const late = behind === null || behind === '0' ? '' : `; it is ${behind} entries behind`
  const found =
    report.damaged.length > 0
      ? `${report.damaged.length} DAMAGED`
      : `intact${report.decrypted ? ' and can be opened' : ''}`
  return `looked at ${place}: ${report.entries} ledger entries and ${countText(report.objects)} objects (${bytesText(report.bytes)}), ${found}${late}`
}

async function compareWithSource(context: Context): Promise<void> {
  const { output, signal } = context
  const place = context.place()
  const { repository } = await openBackup({ ...place, role: 'restore' })
  const source = askedSource(context.config())
  await requireSource(source, repository)
  const report = await verifyAgainstSource(repository, source.url, signal)
  for (const t of report.tables)
    output.line(
      `${t.equal ? 'equal    ' : 'DIFFERENT'} ${t.table}: ${countText(t.sourceRows)} rows in the source, ${countText(t.backupRows)} in the backup`,
    )
  const where = await audit(repository, context.actor, 'verify --against-source', report.position)
  if (!report.equal)
    throw new TidemarkError(
      'NOT_PROVEN',
      `the backup at ${report.position} differs from the source: ${report.tables
        .filter((t) => !t.equal)
        .map((t) => t.table)
        .join(', ')}`,
    )
  output.line(`The backup equals the source at ${report.position}.`)
  output.result({ ...report, audit: where })
}

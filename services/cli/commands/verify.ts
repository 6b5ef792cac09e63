/** verify. */
import type { Command } from 'commander'
import { anchorLines } from '../../app/operations/anchor-lines.ts'
import { audit } from '../../app/operations/audit.ts'
import { askedSource, requireSource } from '../../app/operations/examine-source.ts'
import { openBackup } from '../../app/wiring/open-backup.ts'
import { ofVerify, notRecorded, recordAsReader } from '../../app/operations/record-damage.ts'
import { verifyAgainstSource, verifyStore } from '../../app/operations/verify.ts'
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
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{ chain?: boolean; againstSource?: boolean }>()
        const { output, signal } = context
        if (options.againstSource === true) {
          await compareWithSource(context)
          return
        }
        const opened =
          options.chain === true
            ? await openAnySide(context)
            : await openBackup({ ...context.place(), role: 'restore' })
        const { repository } = opened
        const anchors = anchorLines(opened)
        for (const line of anchors) output.line(`anchor   ${line}`)
        const report = await verifyStore(repository, options.chain !== true, () => undefined, signal)
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
        const where = await audit(
          repository,
          context.actor,
          options.chain === true ? 'verify --chain' : 'verify',
          `${report.objects} objects`,
        )
        output.line(
          `${report.entries} ledger entries and ${countText(report.objects)} objects (${bytesText(report.bytes)}) are intact${report.decrypted ? ' and can be opened' : ''}. Head ${report.head.slice(0, 16)}…`,
        )
        output.result({
          ...report,
          anchors,
          audit: where,
        })
      }),
    )
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

/** copy, promote. */
import type { Command } from 'commander'
import { copyBackup, promote } from '../../app/operations/copy-backup.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Run } from '../run.ts'
import { bytesText, countText } from '../../terminal/output.ts'
import { Progress } from '../../terminal/progress.ts'

function bandwidthOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB)$/.exec(text)
  if (match === null)
    throw new TidemarkError(
      'USAGE',
      `--bandwidth takes a size a second such as 5MiB, not "${text.slice(0, 20)}"`,
    )
  return Number(match[1]) * { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }[match[2] as 'KiB' | 'MiB' | 'GiB']
}

export function registerCopy(program: Command, run: Run): void {
  program
    .command('copy')
    .description('bring the whole backup to another store; goes on where it was interrupted')
    .option('--from <URL>', 'the store to read (default: the one in tidemark.yaml)')
    .requiredOption('--to <URL>', 'an empty store, or a copy that is behind')
    .option('--bandwidth <SIZE>', 'a second, such as 5MiB', bandwidthOf)
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{ from?: string; to: string; bandwidth?: number }>()
        const { output } = context
        const progress = new Progress(output.json)
        const place = context.place()
        const report = await copyBackup({
          actor: context.actor,
          from: options.from === undefined ? place : { ...place, storeUrl: options.from, copies: undefined },
          to: options.to,
          bandwidth: options.bandwidth,
          signal: context.signal,
          onEntry: (entry) =>
            progress.show('copy', Number(entry.number), Number(entry.of), bytesText(String(entry.bytes))),
        }).finally(() => progress.stop())
        output.line(
          report.copied === 0n
            ? `${report.place} has everything already: ${countText(String(report.entries))} ledger entries`
            : `${report.place} has everything: ${countText(String(report.copied))} of ${countText(String(report.entries))} ledger entries were copied, ${bytesText(String(report.bytes))}`,
        )
        if (report.orphans > 0)
          output.line(
            `${countText(String(report.orphans))} entries that it had of an older lineage were set aside, under orphans/ in that store.`,
          )
        output.line('To keep it so, name it under copies: in tidemark.yaml')
        output.result({
          place: report.place,
          entries: String(report.entries),
          copied: String(report.copied),
          bytes: report.bytes,
          orphans: report.orphans,
          audit: report.audit,
        })
      }),
    )
  program
    .command('promote')
    .description('make a copy (--store URL) the primary store, where the primary is lost. Needs keys/restore')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { output } = context
        const place = context.place()
        if (!context.yes)
          throw new TidemarkError(
            'CONSENT_NEEDED',
            'from here on the old primary store, should it come back, holds a backup that nobody goes on with',
          )
        const report = await promote(place, context.actor)
        output.line(
          `${report.place} is the primary store now: lineage ${report.lineage}, behind ledger entry ${report.head}.`,
        )
        output.line(
          report.trusted === '0'
            ? `Before: every ledger entry was proven. Since: ${report.proof}.`
            : `Before: on the word of checkpoint ${report.trusted}, and of the anchors and copies that were given. Since: ${report.proof}.`,
        )
        output.line('Write it under store: in tidemark.yaml and take it out of copies:, then: tidemark up')
        output.result(report)
      }),
    )
}

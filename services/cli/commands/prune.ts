/** prune. */
import type { Command } from 'commander'
import { prune, type PruneReport, undoPrune } from '../../app/operations/prune.ts'
import { systemClock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Run } from '../run.ts'
import { bytesText, countText, type Output } from '../../terminal/output.ts'

function say(output: Output, report: PruneReport): void {
  const { retire, confirmed } = report
  for (const one of report.waiting)
    output.line(
      `retired ${one.id}: its objects ${one.isDue ? (confirmed ? 'are removed now' : 'would be removed now') : `stay until ${one.removeAfter}; undo it with: tidemark prune --undo ${one.id}`}`,
    )
  for (const one of report.trims)
    output.line(
      one.from === null
        ? `${one.place}: keeps what it has (${one.because})`
        : `${one.place}: ${confirmed ? 'begins' : 'would begin'} at ${one.from}`,
    )
  for (const one of report.cleared)
    if (one.objects + one.locked > 0)
      output.line(
        `${one.place}: ${countText(one.objects)} objects taken away, ${bytesText(one.bytes)}${one.locked > 0 ? `; ${countText(one.locked)} are locked and go later` : ''}`,
      )
  if (retire === null) output.line(`Nothing is older than it has to be: ${report.because}.`)
  else {
    output.line(
      `The backup ${confirmed ? 'begins' : 'would begin'} at ${retire.from.position}, written ${retire.from.writtenAt} (${report.because}).`,
    )
    output.line(
      `Before it: ${countText(retire.segments)} segments and ${countText(retire.parts)} parts of bases, ${bytesText(retire.bytes)}${confirmed ? `. They stay until ${retire.removeAfter}; undo it with: tidemark prune --undo ${retire.id ?? ''}` : ''}`,
    )
  }
  if (!confirmed) output.line('Nothing was done. To do it: the same with --yes')
}

export function registerPrune(program: Command, run: Run): void {
  program
    .command('prune')
    .description(
      'let go of what retention no longer keeps: the oldest end first, nothing without --yes. Needs keys/restore',
    )
    .option('--undo <ID>', 'bring back what was retired, before it is removed')
    .option(
      '--unnamed',
      'also take away what no ledger entry names (given up uploads): reads the whole ledger',
    )
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { undo, unnamed } = command.optsWithGlobals<{ undo?: string; unnamed?: boolean }>()
        const { output } = context
        const place = context.place()
        if (undo !== undefined) {
          const report = await undoPrune(place, context.actor, undo)
          output.line('Undone: everything before is part of the backup again.')
          output.result(report)
          return
        }
        const config = context.config()
        if (config.retentionFault !== undefined)
          throw new TidemarkError('CONFIG_INVALID', `${config.path}: ${config.retentionFault}`)
        if (config.retention === undefined)
          throw new TidemarkError('CONFIG_INVALID', 'no retention is set: nothing is ever taken away', {
            next: 'retention: {keep: 90d, bases: 2, grace: 7d} in tidemark.yaml',
          })
        const report = await prune({
          actor: context.actor,
          place,
          policy: config.retention,
          storeKeepMs: [config.storeKeepMs, ...(place.copies ?? []).map((copy) => copy.keep)],
          confirmed: context.yes,
          unnamed: unnamed === true,
          clock: systemClock,
          signal: context.signal,
        })
        say(output, report)
        output.result(report)
      }),
    )
}

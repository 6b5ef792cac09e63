/** scrub. */
import type { Command } from 'commander'
import { audit } from '../../app/operations/audit.ts'
import { openBackup } from '../../app/wiring/open-backup.ts'
import { ofScrub, notRecorded, recordDamage } from '../../app/operations/record-damage.ts'
import { systemClock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Run } from '../run.ts'
import { bytesText, countText } from '../../terminal/output.ts'
import { Progress } from '../../terminal/progress.ts'
import { scrubSet } from '../../app/operations/scrub-set.ts'

function daysOf(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 365)
    throw new TidemarkError('USAGE', `--days takes 1 to 365, not "${text.slice(0, 20)}"`)
  return value
}

export function registerScrub(program: Command, run: Run): void {
  program
    .command('scrub')
    .description(
      'look at every copy of the backup, object by object, and mend what is damaged from another copy',
    )
    .option(
      '--days <N>',
      "today's share: run daily, everything is looked at within N days (default: everything now)",
      daysOf,
      1,
    )
    .option('--known', 'only what is known to be damaged')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { days, known } = command.optsWithGlobals<{ days: number; known?: boolean }>()
        const { output, signal } = context
        const opened = await openBackup({ ...context.place(), role: 'writer' })
        const progress = new Progress(output.json)
        const report = await scrubSet(
          opened,
          known === true ? 'known' : { part: Math.floor(systemClock.now() / 86_400_000) % days, parts: days },
          signal,
          (objects) => progress.show('scrub', objects, objects, 'objects'),
        ).finally(() => progress.stop())
        for (const store of report.stores)
          output.line(
            store.away === null
              ? `${store.place}: ${countText(String(store.objects))} objects, ${bytesText(store.bytes)}`
              : `${store.place}: could not be looked at (${store.away})`,
          )
        for (const fault of report.faults)
          output.line(
            `${fault.outcome === 'mended' ? 'MENDED' : 'DAMAGED'}  ${fault.object} in ${fault.place} (${fault.range}): ${fault.what}`,
          )
        const recorded = await recordDamage(opened.repository, ofScrub(report))
        for (const line of notRecorded(recorded)) output.line(line)
        const bad = report.faults.filter((fault) => fault.outcome !== 'mended')
        const where = await audit(
          opened.repository,
          context.actor,
          'scrub',
          `${report.faults.length} faults, ${report.faults.length - bad.length} mended`,
        )
        output.event({ stores: report.stores, faults: report.faults })
        if (bad.length > 0)
          throw new TidemarkError(
            'OBJECT_CORRUPT',
            `${bad.length} objects are damaged and could not be mended: ${bad
              .slice(0, 3)
              .map((fault) => `${fault.object} in ${fault.place}`)
              .join(', ')}`,
          )
        const away = report.stores.filter((store) => store.away !== null)
        if (away.length > 0)
          throw new TidemarkError(
            'STORE_UNREACHABLE',
            `${away.map((store) => store.place).join(', ')} could not be looked at`,
          )
        output.line(
          report.faults.length === 0
            ? 'Everything that was looked at is intact.'
            : `${report.faults.length} objects were mended.`,
        )
        output.result({ ...report, audit: where })
      }),
    )
}

/** doctor. */
import type { Command } from 'commander'
import { doctor } from '../../app/doctor.ts'
import { refusalOf } from '../../app/refusal.ts'
import type { Run } from '../main.ts'

export function registerDoctor(program: Command, run: Run): void {
  program
    .command('doctor')
    .description('examine source, store and keys: every finding with its fix, and what is not covered')
    .option(
      '--scratch <url>',
      "an empty database of another server: make the source's schema there, to know what a restore could not make",
    )
    .action(async (options: { scratch?: string }, command: Command) =>
      run(command, async (context) => {
        const { output } = context
        const report = await doctor(context.config(), { scratch: options.scratch, signal: context.signal })
        for (const finding of report.findings)
          output.line(
            `${finding.level.padEnd(6)} ${finding.code}: ${finding.what}${finding.fix === '' ? '' : `\n       fix: ${finding.fix}`}`,
          )
        if (report.notCovered.length > 0)
          output.line(`Not covered:\n${report.notCovered.map((note) => `  ${note}`).join('\n')}`)
        const refusal = refusalOf(report.findings)
        output.event({ findings: report.findings, notCovered: report.notCovered })
        if (refusal !== undefined) throw refusal
        output.line(report.findings.length === 0 ? 'All is well.' : 'Nothing keeps the backup from running.')
        output.result(report)
      }),
    )
}

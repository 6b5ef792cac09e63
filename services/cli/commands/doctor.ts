/** doctor. */
import type { Command } from 'commander'
import { doctor } from '../../app/operations/doctor.ts'
import { refusalOf } from '../../app/operations/refusal.ts'
import { examineSchemaOf, scratchEnd } from '../../app/operations/scratch.ts'
import type { Finding } from '../../core/finding.ts'
import { clearDatabase } from '../../app/wiring/clear-database.ts'
import { TidemarkError } from '../../core/errors.ts'
import { ScratchServer } from '../../demo/scratch-server.ts'
import type { Context } from '../context.ts'
import type { Run } from '../run.ts'

export function registerDoctor(program: Command, run: Run): void {
  program
    .command('doctor')
    .description('examine source, store and keys: every finding with its fix, and what is not covered')
    .option(
      '--scratch [url]',
      "make the source's schema in an empty database of another server (without URL: the embedded one), to know what a restore could not make as it is",
    )
    .option(
      '--source <url>',
      'with --scratch: this source, and nothing but its schema; no settings file, store or keys are read',
    )
    .action(async (options: { scratch?: string | true; source?: string }, command: Command) =>
      run(command, (context) =>
        options.source === undefined
          ? examineAll(context, options.scratch)
          : examineSchemaAlone(context, options.source, options.scratch),
      ),
    )
}

async function examineAll(context: Context, scratch: string | true | undefined): Promise<void> {
  const { output } = context
  const config = context.configHere()
  const report = await withScratch(config.source.url, scratch, (url) =>
    doctor(config, { scratch: url, signal: context.signal, sslMode: context.sslMode }),
  )
  sayFindings(context, report)
  const refusal = refusalOf(report.findings)
  output.event({ findings: report.findings, notCovered: report.notCovered })
  if (refusal !== undefined) throw refusal
  const end = scratchEnd(report.tried)
  if (end !== undefined) throw end
  output.line(report.findings.length === 0 ? 'All is well.' : 'Nothing keeps the backup from running.')
  output.result({ findings: report.findings, notCovered: report.notCovered })
}

async function examineSchemaAlone(
  context: Context,
  source: string,
  scratch: string | true | undefined,
): Promise<void> {
  if (scratch === undefined) throw new TidemarkError('USAGE', '--source belongs to --scratch')
  const { output } = context
  output.warn(clearDatabase(source, 'source', context.sslMode))
  const tried = await withScratch(source, scratch, (url) =>
    examineSchemaOf(source, url ?? '', context.signal),
  )
  const report = { findings: tried.findings, notCovered: tried.notes }
  sayFindings(context, report)
  output.event(report)
  const end = scratchEnd(report.findings)
  if (end !== undefined) throw end
  output.line('The whole schema comes back as it is.')
  output.result(report)
}

/** @param scratch true: the embedded server, for as long as the action runs */
async function withScratch<T>(
  source: string,
  scratch: string | true | undefined,
  action: (url: string | undefined) => Promise<T>,
): Promise<T> {
  if (scratch !== true) return action(scratch)
  await using server = await ScratchServer.start(source)
  return await action(server.url)
}

function sayFindings(
  { output }: Context,
  report: { readonly findings: readonly Finding[]; readonly notCovered: readonly string[] },
): void {
  for (const finding of report.findings)
    output.line(
      `${finding.level.padEnd(6)} ${finding.code}: ${finding.what}${finding.fix === '' ? '' : `\n       fix: ${finding.fix}`}`,
    )
  if (report.notCovered.length > 0)
    output.line(`Not covered:\n${report.notCovered.map((note) => `  ${note}`).join('\n')}`)
}

/** restore. */
import type { Command } from 'commander'
import { type Neighbour, type PlanReport, restore } from '../../app/operations/restore.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Run } from '../run.ts'
import { bytesText, countText, table } from '../../terminal/output.ts'
import { Progress } from '../../terminal/progress.ts'
import { transactionWords } from '../../terminal/transaction-words.ts'

function neighbourText(one: Neighbour): string {
  const did = transactionWords(one)
  return `${one.point} at ${one.position}, committed ${one.committedAt}${did === '' ? '' : `: ${did}`}`
}

/** The time of a bad transaction, pasted, is a point that has it. */
function takesAway({ tables, schema }: Neighbour): boolean {
  return schema.length > 0 || tables.some(({ deletes, truncates }) => deletes + truncates > 0)
}

export function planLines(plan: PlanReport): string[] {
  const { at, next } = plan.point
  const lines = [
    `to        ${plan.point.position}${plan.resumes ? ', which the point meant when this restore began' : ''}`,
    `  last in   ${at === null ? 'the base itself' : neighbourText(at)}`,
    ...(at !== null && takesAway(at) ? [`            without it: --at before:${at.point}`] : []),
    `  first out ${next === null ? 'nothing known yet' : neighbourText(next)}`,
    `from      base ${plan.base.id} (closes at ${plan.base.closing}) and ${plan.segments} segments, ${bytesText(plan.bytes)}, ${countText(plan.changes)} changes`,
    `keys      ${plan.keys.length} epoch keys`,
    table([
      ['table', 'rows in base', 'changes'],
      ...plan.tables.map((t) => [`${t.schema}.${t.name}`, countText(t.baseRows), countText(t.changes)]),
    ]),
  ]
  for (const name of plan.excluded) lines.push(`left out  ${name}`)
  for (const note of plan.notes) lines.push(`note      ${note}`)
  if (plan.uncompared !== null) lines.push(`not yet   ${plan.uncompared}`)
  return lines
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 16 || value > 1_000_000)
    throw new TidemarkError('USAGE', `--fold-memory takes 16 to 1000000 MiB, not "${text.slice(0, 20)}"`)
  return value
}

export function registerRestore(program: Command, run: Run): void {
  program
    .command('restore')
    .description('rebuild the database as it stood at a point, in an empty database')
    .requiredOption(
      '--at <POINT>',
      'time with zone, LSN, xid:N, before:xid:N, marker:NAME, latest; @GENERATION behind an LSN, xid:N or NAME that two have',
    )
    .option('--into <URL>', 'an empty database')
    .option('--dry-run', 'show the plan and stop')
    .option(
      '--except-table <TABLE>',
      'leave this table out (repeatable)',
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option('--with-jobs', 'jobs of scheduling extensions (pg_cron, pg_partman) come back active')
    .option(
      '--with-role-attributes',
      'give roles what they had at the source too: SUPERUSER, LOGIN and the like (no passwords), settings, memberships',
    )
    .option(
      '--strict',
      'stop at what cannot be made as it was, instead of bringing all rows back and telling it',
    )
    .option(
      '--trust-source-code',
      'let functions of the source run by the rights of who restores, where no role without rights can log in',
    )
    .option(
      '--fold-memory <MiB>',
      'for changes while folding; what exceeds it goes to an encrypted scratch file in TMPDIR',
      wholeNumber,
    )
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{
          at: string
          into?: string
          dryRun?: boolean
          exceptTable: string[]
          withJobs?: boolean
          foldMemory?: number
          strict?: boolean
          withRoleAttributes?: boolean
          trustSourceCode?: boolean
        }>()
        if (options.into === undefined && options.dryRun !== true)
          throw new TidemarkError('USAGE', 'restore needs --into URL, or --dry-run')
        const { output } = context
        context.warnOfTarget(options.into)
        const progress = new Progress(output.json)
        const report = await restore({
          actor: context.actor,
          ...context.place(),
          at: options.at,
          into: options.into,
          exceptTables: options.exceptTable.map((name) => (name.includes('.') ? name : `public.${name}`)),
          withJobs: options.withJobs === true,
          dryRun: options.dryRun === true,
          strict: options.strict === true,
          withRoleAttributes: options.withRoleAttributes === true,
          trustSourceCode: options.trustSourceCode === true,
          memoryBytes: options.foldMemory === undefined ? undefined : options.foldMemory * 1024 * 1024,
          signal: context.signal,
          onPlan: (plan) => planLines(plan).forEach((line) => output.line(line)),
          events: {
            onProgress: (p) =>
              progress.show(
                p.stage,
                p.done,
                p.total,
                `${p.what}${p.rows > 0 ? `, ${countText(p.rows)} rows` : ''}`,
              ),
          },
        }).finally(() => progress.stop())
        for (const line of report.stores) output.line(`store     ${line}`)
        for (const line of report.anchors) output.line(`anchor    ${line}`)
        if (report.audit !== 'ledger') output.line(`audit     the ledger cannot be written: ${report.audit}`)
        if (report.result === null) {
          output.line('Nothing was changed (dry run).')
          output.result({
            dryRun: true,
            plan: report.plan,
            anchors: report.anchors,
            stores: report.stores,
            audit: report.audit,
          })
          return
        }
        const { result, proof } = report
        const { seconds } = result
        output.line(
          `reached   ${result.reached.position}${result.reached.committedAt === null ? '' : `, committed ${result.reached.committedAt}`}`,
        )
        output.line(
          `rows      ${countText(result.rows)} in ${result.tables.length} tables; fold ${seconds.fold.toFixed(1)} s, load ${seconds.load.toFixed(1)} s, indexes ${seconds.indexes.toFixed(1)} s${result.spilledBytes > 0 ? `; ${bytesText(String(result.spilledBytes))} went through the scratch file` : ''}`,
        )
        for (const note of result.notes) output.line(`note      ${note}`)
        const unmade = [...new Set(result.unmade.map((u) => u.object))]
        for (const object of unmade) output.line(`not made  ${object}`)
        output.line(`proof     ${proof?.text ?? ''}`)
        if (proof?.equal === false) throw new TidemarkError('NOT_PROVEN', proof.text)
        const facts = {
          reached: result.reached,
          tables: result.tables,
          rows: result.rows,
          excluded: result.excluded,
          notes: result.notes,
          seconds,
          proof,
          anchors: report.anchors,
          stores: report.stores,
          audit: report.audit,
          plan: report.plan,
          unmade,
          unmadeFile: report.unmadeFile,
        }
        if (report.unmadeFile === null) {
          output.result(facts)
          return
        }
        output.event({ event: 'restored', ...facts })
        throw new TidemarkError(
          'SCHEMA_INCOMPLETE',
          `${unmade.length} objects of the schema are not as they were; reasons and SQL: ${report.unmadeFile}`,
        )
      }),
    )
}

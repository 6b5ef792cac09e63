/** find. */
import type { Command } from 'commander'
import { find, type FindReport } from '../../app/operations/find.ts'
import { TidemarkError } from '../../core/errors.ts'
import { OPERATIONS, type Operation } from '../../core/transaction.ts'
import type { Run } from '../run.ts'
import { offeredText } from './status.ts'
import { countText, table } from '../../terminal/output.ts'
import { transactionWords } from '../../terminal/transaction-words.ts'

export function registerFind(program: Command, run: Run): void {
  program
    .command('find')
    .description('transactions around a time, the unusual first: what to restore to just before of')
    .option('--around <TIME>', 'RFC 3339 time with zone (default: the end of the backup)')
    .option('--within <MINUTES>', 'minutes before and after', '60')
    .option('--table <TABLE>', 'schema.table')
    .option('--operation <OPERATION>', OPERATIONS.join(', '))
    .option('--rows <N>', 'at least so many rows', '1')
    .option('--limit <N>', 'at most so many transactions', '10')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{
          around?: string
          within: string
          table?: string
          operation?: string
          rows: string
          limit: string
        }>()
        if (options.operation !== undefined && !OPERATIONS.includes(options.operation as Operation))
          throw new TidemarkError('USAGE', `--operation is one of ${OPERATIONS.join(', ')}`)
        const report = await find({
          actor: context.actor,
          ...context.place(),
          around: options.around,
          withinMinutes: number(options.within, '--within'),
          ...(options.table === undefined ? {} : { table: options.table }),
          ...(options.operation === undefined ? {} : { operation: options.operation as Operation }),
          minRows: number(options.rows, '--rows'),
          limit: number(options.limit, '--limit'),
        })
        const { output } = context
        const rows = report.transactions.map((t) => [
          t.committedAt,
          t.point,
          t.position,
          `${countText(t.rows)} rows`,
          transactionWords(t) + withOrBefore(t),
        ])
        for (const line of report.stores) output.line(`store     ${line}`)
        for (const line of searchedLines(report)) output.line(line)
        output.line(
          rows.length === 0
            ? noneText(report)
            : table([['committed', 'transaction', 'position', 'size', 'what'], ...rows]),
        )
        const first = report.transactions[0]
        if (first !== undefined)
          output.line(
            first.before.restorable
              ? `\nTo the moment before the first: tidemark restore --at ${first.before.point} --into URL${offeredText(first.before)}${context.placeFlags}`
              : `\nThe moment before the first cannot be restored: tidemark windows${context.placeFlags}  (says what can)`,
          )
        output.result(report)
      }),
    )
}

/** In a terminal. */
const SHOWN = 20

function searchedLines({ from, to, searched, unsearched, partitions }: FindReport): string[] {
  const spans = searched.map((span) => `${span.from} to ${span.to}`)
  const more = unsearched.length - SHOWN
  return [
    spans.length === 0
      ? `Nothing of ${from} to ${to} could be searched.`
      : `Searched ${spans.join(', and ')}.`,
    ...(partitions.length === 0
      ? []
      : [
          `Its rows are in its partitions: ${partitions.slice(0, SHOWN).join(', ')}${partitions.length > SHOWN ? ` and ${partitions.length - SHOWN} more` : ''}.`,
        ]),
    ...unsearched.slice(0, SHOWN).map((one) => {
      const { positions, table: name } = one
      const where = positions === null ? '' : `, ${positions.from} to ${positions.to ?? 'the end'}`
      const what = name === null ? 'NOT SEARCHED' : `NOT ALL OF ${name}`
      return `${what}: ${one.from} to ${one.to}${where}: ${one.why}`
    }),
    ...(more > 0 ? [`and ${more} more gaps: tidemark windows`] : []),
  ]
}

/** Of a time that nobody watched nothing is said. */
function noneText({ searched, unsearched }: FindReport): string {
  if (unsearched.length === 0) return 'No such transaction.'
  const what =
    'What happened in the rest is not known: tidemark windows lists the gaps, and tidemark status says how far the backup has come.'
  return searched.length === 0 ? what : `No such transaction in what was searched. ${what}`
}

export function number(text: string, name: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0) throw new TidemarkError('USAGE', `${name} is not a number`)
  return value
}

/** Where the transaction opens a gap, the state before it needs no exception: what is pasted beside that would lose a table. */
function withOrBefore(t: FindReport['transactions'][number]): string {
  const isSame = String(t.without) === String(t.before.without)
  if (isSame || !t.restorable || !t.before.restorable) return offeredText(t)
  return `  without it: --at ${t.before.point}${offeredText(t.before)}  with it: --at ${t.point}${offeredText(t)}`
}

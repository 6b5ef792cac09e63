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
        output.line(`Searched ${report.from} to ${report.to}.`)
        output.line(
          rows.length === 0
            ? 'No such transaction.'
            : table([['committed', 'transaction', 'position', 'size', 'what'], ...rows]),
        )
        const first = report.transactions[0]
        if (first !== undefined)
          output.line(
            first.before.restorable
              ? `\nTo the moment before the first: tidemark restore --at ${first.before.point} --into URL${offeredText(first.before)}`
              : '\nThe moment before the first cannot be restored: tidemark windows says what can',
          )
        output.result(report)
      }),
    )
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

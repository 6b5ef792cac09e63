/** hold add, list, release. */
import type { Command } from 'commander'
import {
  addHold,
  type HoldChange,
  type HoldReport,
  listHolds,
  releaseHold,
} from '../../app/operations/holds.ts'
import { systemClock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { Run } from '../run.ts'
import { countText, type Output, table } from '../../terminal/output.ts'

function lines(holds: readonly HoldReport[]): string {
  return table([
    ['hold', 'from', 'to', 'until', 'why'],
    ...holds.map((hold) => [
      hold.id,
      `${hold.from}@${hold.generation}`,
      hold.to ?? 'the end',
      hold.until ?? 'it is released',
      hold.reason,
    ]),
  ])
}

function say(output: Output, { hold, objects }: HoldChange, what: string): void {
  output.line(lines([hold]))
  for (const one of objects) output.line(`${one.place}: legal hold ${what} ${countText(one.objects)} objects`)
}

function instantOf(text: string): string {
  const at = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.test(text)
    ? Date.parse(text)
    : NaN
  if (Number.isNaN(at))
    throw new TidemarkError(
      'USAGE',
      `--until takes a time with its zone such as 2027-01-31T00:00:00Z, not "${text.slice(0, 30)}"`,
    )
  if (at <= systemClock.now())
    throw new TidemarkError('USAGE', `--until ${text} is over already: nothing would be held`)
  return new Date(at).toISOString()
}

export function registerHold(program: Command, run: Run): void {
  const hold = program
    .command('hold')
    .description('what has to stay whatever its age: prune never takes it away')
  hold
    .command('list')
    .description('every hold, those of running restores too')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const holds = await listHolds(context.place())
        context.output.line(holds.length === 0 ? 'There are no holds.' : lines(holds))
        context.output.result({ holds })
      }),
    )
  hold
    .command('add')
    .description(
      'hold the points from --from to --to; in stores with object locks every object too. Needs keys/restore',
    )
    .requiredOption('--reason <TEXT>', 'why: stands in the ledger, in the clear')
    .option('--from <POINT>', 'the first point (default: the oldest)')
    .option('--to <POINT>', 'the last point (default: no end)')
    .option('--until <TIME>', 'ends by itself then (default: when it is released)', instantOf)
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { reason, from, to, until } = command.optsWithGlobals<{
          reason: string
          from?: string
          to?: string
          until?: string
        }>()
        const change = await addHold({
          actor: context.actor,
          place: context.place(),
          reason,
          from,
          to,
          until,
          signal: context.signal,
        })
        say(context.output, change, 'set on')
        context.output.result(change)
      }),
    )
  hold
    .command('release')
    .description('take a hold back. Needs keys/restore')
    .argument('<id>')
    .action(async (id: string, _, command: Command) =>
      run(command, async (context) => {
        if (!context.yes)
          throw new TidemarkError(
            'CONSENT_NEEDED',
            'what the hold keeps goes with the next prune, where retention does not keep it',
          )
        const change = await releaseHold(context.place(), context.actor, id, context.signal)
        say(context.output, change, 'taken from')
        context.output.result(change)
      }),
    )
}

/** read. */
import type { Command } from 'commander'
import { read } from '../../app/operations/read.ts'
import { writeSlowly } from '../closed-output.ts'
import type { Run } from '../run.ts'

export function registerRead(program: Command, run: Run): void {
  program
    .command('read')
    .description("a table's history between two points, as JSON lines")
    .requiredOption('--table <TABLE>', 'schema.table')
    .requiredOption('--from <POINT>', 'exclusive')
    .requiredOption('--to <POINT>', 'inclusive')
    .option(
      '--key <VALUE...>',
      'only rows with this key: the leading columns of the replica identity, or all of them',
    )
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const options = command.optsWithGlobals<{ table: string; from: string; to: string; key?: string[] }>()
        const report = await read({
          actor: context.actor,
          ...context.place(),
          ...options,
          onLine: (line) => writeSlowly(`${JSON.stringify(line)}\n`),
        })
        context.output.result(report)
      }),
    )
}

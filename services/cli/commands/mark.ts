/** mark. */
import type { Command } from 'commander'
import { BEFORE_BASE, notDurable, setMarker } from '../../app/operations/mark.ts'
import type { Run } from '../run.ts'

export function registerMark(program: Command, run: Run): void {
  program
    .command('mark')
    .description(
      'put a named point into the stream, before something risky; restore to it with --at marker:NAME',
    )
    .argument('<name>')
    .action(async (name: string, _, command: Command) =>
      run(command, async (context) => {
        const report = await setMarker(context.config(), context.actor, name, context.signal)
        const { output } = context
        if (!report.durable) {
          output.event({ event: 'marker', name, ...report })
          throw notDurable(name, report)
        }
        output.line(`Marker ${name} is durable at ${report.position}.`)
        if (!report.inWindow) output.line(BEFORE_BASE)
        output.result({ name, ...report })
      }),
    )
}

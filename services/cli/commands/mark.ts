/** mark. */
import type { Command } from 'commander'
import { setMarker } from '../../app/mark.ts'
import type { Run } from '../main.ts'

export function registerMark(program: Command, run: Run): void {
  program
    .command('mark')
    .description(
      'put a named point into the stream, before something risky; restore to it with --at marker:NAME',
    )
    .argument('<name>')
    .action(async (name: string, _, command: Command) =>
      run(command, async (context) => {
        const report = await setMarker(context.config(), name, context.signal)
        context.output.line(
          report.durable
            ? `Marker ${name} is durable at ${report.position}.`
            : `Marker ${name} is in the source; it becomes durable when \`tidemark up\` runs.`,
        )
        context.output.result({ name, ...report })
      }),
    )
}

/** demo: what `npm start` runs. */
import type { Command } from 'commander'
import type { Run } from '../run.ts'

export function registerDemo(program: Command, run: Run): void {
  program
    .command('demo')
    .description(
      'a real PostgreSQL with a chat database, a disaster, and the proven restore to the moment before it',
    )
    .option('--folder <DIR>', 'where it puts everything', '.tidemark/demo')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { runDemo } = await import('../../demo/demo.ts')
        await runDemo({
          folder: command.optsWithGlobals<{ folder: string }>().folder,
          actor: context.actor,
          output: context.output,
          signal: context.signal,
        })
      }),
    )
}

/** The command line: parse, pick the command, map the error's code to the exit code. */
import { Command, CommanderError } from 'commander'
import '../app/wiring/error-codes.ts'
import { asTidemarkError, TidemarkError } from '../core/errors.ts'
import { namedPasswords } from '../core/exposure.ts'
import { OutputClosed, outliveReaders, outputFailure } from './closed-output.ts'
import { registersFor } from './command-table.ts'
import { Context, type SharedOptions } from './context.ts'
import { exitCodeTable, Output } from '../terminal/output.ts'
import type { Run } from './run.ts'

export async function main(args: readonly string[]): Promise<number> {
  outliveReaders()
  const exit = await command(args)
  await written(process.stdout)
  const failure = outputFailure()
  if (failure === undefined) return exit
  // Standard output is gone, whatever form was asked for.
  new Output(false).failure(failure, 'tidemark')
  return exit === 0 ? failure.exitCode : exit
}

/** A stream says of a line that it could not write a turn later. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) =>
    setImmediate(() => (stream.writable ? stream.write('', () => resolve()) : resolve())),
  )
}

async function command(args: readonly string[]): Promise<number> {
  let exit = 0
  const stop = new AbortController()
  const onSignal = (): void => stop.abort(new DOMException('interrupted', 'AbortError'))
  const run: Run = async (command, action) => {
    const options = command.optsWithGlobals<SharedOptions>()
    // These have their own way to stop: they drain first.
    if (!['up', 'replicator', 'compactor'].includes(command.name()))
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onSignal)
    try {
      const context = new Context(options, stop.signal)
      context.output.warn(namedPasswords(args))
      await action(context)
    } catch (error) {
      if (error instanceof OutputClosed) return
      const known = stop.signal.aborted
        ? new TidemarkError('INTERRUPTED', 'stopped by a signal', { cause: error })
        : asTidemarkError(error)
      new Output(options.json === true).failure(known, command.name())
      if (process.env['TIDEMARK_DEBUG'] !== undefined) console.error(error)
      exit = known.exitCode
    } finally {
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal)
    }
  }
  const program = new Command('tidemark')
    .description(
      'Streaming backup for the databases behind chat systems: every row change, encrypted, restorable at any transaction.',
    )
    .version('0.1.0')
    .option('--config <FILE>', 'settings file (default: tidemark.yaml)')
    .option('--json', 'one JSON object per line; the last one has ok and, on failure, error.code')
    .option('--yes', 'consent to what would otherwise be asked')
    .option('--store <URL>', 'the store, e.g. file:///backups/chat')
    .option('--copy <URL...>', 'other stores with the same backup: read where the first one fails')
    .option('--keys <DIR>', 'the keys folder')
    .option(
      '--anchor <URL...>',
      'where the head of the ledger is anchored: tells whether newer entries were cut off',
    )
    .option('--accept-loss', 'take the store as it is, whatever the anchors say')
    .addHelpText('after', `\nExit codes:\n   0  done\n${exitCodeTable()}\n`)
    .exitOverride()
    .configureOutput({ writeErr: (text) => void process.stderr.write(text) })
  for (const register of await registersFor(args)) register(program, run)
  inherit(program)
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    // What an option's own reader refuses, before there is a command that could say it.
    if (error instanceof TidemarkError) {
      new Output(args.includes('--json')).failure(error, 'tidemark')
      return error.exitCode
    }
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return 0
    if (args.includes('--json'))
      new Output(true).failure(new TidemarkError('USAGE', error.message.replace(/^error: /, '')), 'tidemark')
    return 2
  }
  return exit
}

/** Options that all commands share may stand before or behind the command's name. */
function inherit(program: Command): void {
  for (const command of program.commands) {
    command.exitOverride()
    for (const option of program.options)
      if (option.long !== '--version' && !command.options.some((own) => own.long === option.long))
        command.addOption(option)
    inherit(command)
  }
}

/** The commands of the table, with the arguments that they require: a new one is tried without being named in a test. */
import { Command } from 'commander'
import { registersFor } from '../../services/cli/command-table.ts'

/** Makes a database and a backup of its own, whatever is there; it has its test. */
const ELSEWHERE = 'demo'
/** Of options and arguments that have to be given. */
const VALUES: Readonly<Record<string, string>> = {
  at: 'latest',
  from: 'latest',
  to: 'latest',
  table: 'public.t',
}
/** A command's words, and what it requires. */
export async function commands(): Promise<string[][]> {
  const program = new Command()
  for (const register of await registersFor(['help'])) register(program, () => Promise.resolve())
  const leaves = (command: Command, words: readonly string[]): string[][] => {
    if (command.commands.length > 0)
      return command.commands.flatMap((one) => leaves(one, [...words, one.name()]))
    const options = command.options.filter((option) => option.mandatory)
    return [
      [
        ...words,
        ...command.registeredArguments.filter((one) => one.required).map((one) => VALUES[one.name()] ?? 'x'),
        ...options.flatMap((option) => [option.long ?? '', VALUES[option.attributeName()] ?? 'x']),
      ],
    ]
  }
  return program.commands
    .filter((one) => one.name() !== ELSEWHERE)
    .flatMap((one) => leaves(one, [one.name()]))
}

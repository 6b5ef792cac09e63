/** Names in command lines that somebody is to run: tables and markers may be called anything. */

/** As a shell takes it for one word, and for nothing else: in quotes only where it needs them. */
export function shellWord(text: string): string {
  return /^[\w./@:,+%][\w./@:,+%=-]*$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

/** What leaves these tables (`schema.name`) out of a restore. */
export function leavingOut(names: readonly string[]): string {
  return names.map((name) => `--except-table ${shellWord(name)}`).join(' ')
}

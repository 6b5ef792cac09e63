/** The process: command line in, exit code out. */
import { main } from '../cli/main.ts'
import { tieToLauncher } from './launched.ts'

/** What was left to itself, such as a request to a store that says nothing, holds the process no longer behind its last line. */
const LINGER_MS = 2_000

const untie = tieToLauncher()
process.exitCode = await main(process.argv.slice(2))
untie()
setTimeout(() => process.exit(), LINGER_MS).unref()

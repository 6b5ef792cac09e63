/** The process: command line in, exit code out. */
import { main } from '../cli/main.ts'
import { tieToLauncher } from './launched.ts'

const untie = tieToLauncher()
process.exitCode = await main(process.argv.slice(2))
untie()

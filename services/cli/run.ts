/** What registers a command gets to run it. */
import type { Command } from 'commander'
import type { Context } from './context.ts'

/** Runs one command's action with its context; what it throws becomes the process's answer. */
export type Run = (command: Command, action: (context: Context) => Promise<void>) => Promise<void>

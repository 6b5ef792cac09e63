/**
 * The commands, and what registers each: loaded when a command is asked for, not before. Half of what a start takes is
 * the loading of modules, and status needs neither the HTTP server of up nor the rebuild.
 */
import type { Command } from 'commander'
import type { Run } from './run.ts'

type Register = (program: Command, run: Run) => void

interface Registered {
  readonly names: readonly string[]
  readonly load: () => Promise<Register>
}

/** In the order of the help. */
export const COMMANDS: readonly Registered[] = [
  {
    names: ['init', 'uninstall'],
    load: async () => (await import('./commands/init.ts')).registerInit,
  },
  { names: ['doctor'], load: async () => (await import('./commands/doctor.ts')).registerDoctor },
  {
    names: ['up', 'replicator', 'compactor'],
    load: async () => (await import('./commands/up.ts')).registerUp,
  },
  {
    names: ['status', 'windows'],
    load: async () => (await import('./commands/status.ts')).registerStatus,
  },
  { names: ['backup'], load: async () => (await import('./commands/backup.ts')).registerBackup },
  { names: ['mark'], load: async () => (await import('./commands/mark.ts')).registerMark },
  { names: ['find'], load: async () => (await import('./commands/find.ts')).registerFind },
  { names: ['read'], load: async () => (await import('./commands/read.ts')).registerRead },
  { names: ['restore'], load: async () => (await import('./commands/restore.ts')).registerRestore },
  { names: ['verify'], load: async () => (await import('./commands/verify.ts')).registerVerify },
  { names: ['copy', 'promote'], load: async () => (await import('./commands/copy.ts')).registerCopy },
  { names: ['scrub'], load: async () => (await import('./commands/scrub.ts')).registerScrub },
  { names: ['prune'], load: async () => (await import('./commands/prune.ts')).registerPrune },
  { names: ['hold'], load: async () => (await import('./commands/hold.ts')).registerHold },
  { names: ['keys'], load: async () => (await import('./commands/keys.ts')).registerKeys },
  { names: ['demo'], load: async () => (await import('./commands/demo.ts')).registerDemo },
]

/**
 * What registers the command that the arguments name. An option's value may be a command's name as well, so there may be
 * more; where they name none, it is all: for the help, and for the name that somebody may have meant.
 */
export function registersFor(args: readonly string[]): Promise<Register[]> {
  const named = COMMANDS.filter(({ names }) => names.some((name) => args.includes(name)))
  const isHelp = args.includes('help')
  return Promise.all((named.length === 0 || isHelp ? COMMANDS : named).map(({ load }) => load()))
}

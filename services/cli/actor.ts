/** Who runs a command: for the trace that it leaves. */
import { homedir, tmpdir, userInfo } from 'node:os'
import type { Actor } from '../app/operations/actor.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Named by the environment, else the account. */
export function actorHere(environment: Environment): Actor {
  return {
    name: environment['TIDEMARK_OPERATOR'] ?? environment['SUDO_USER'] ?? accountName(),
    face: 'command line',
    right: 'account',
    // Nobody is kept from restoring by the folder that they stand in.
    traces: [process.cwd(), homedir(), tmpdir()],
  }
}

function accountName(): string {
  try {
    return userInfo().username
  } catch {
    // A container may run as a number that no passwd file knows.
    return `uid ${process.geteuid?.() ?? 'unknown'}`
  }
}

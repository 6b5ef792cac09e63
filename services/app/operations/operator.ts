/** Who runs a command: for the trace that it leaves. */
import { userInfo } from 'node:os'

/** Who does it, for the audit log. */
export function operator(): string {
  return process.env['TIDEMARK_OPERATOR'] ?? process.env['SUDO_USER'] ?? accountName()
}

function accountName(): string {
  try {
    return userInfo().username
  } catch {
    // A container may run as a number that no passwd file knows.
    return `uid ${process.geteuid?.() ?? 'unknown'}`
  }
}

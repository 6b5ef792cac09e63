/** Audit entries: in the ledger where it can be written, else in a local file, and the caller is told which. */
import { appendFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { systemClock } from '../core/clock.ts'
import { asTidemarkError } from '../core/errors.ts'
import type { Repository } from '../repository/repository.ts'
import { operator } from './compose.ts'

export const LOCAL_AUDIT = 'tidemark-audit.log'

/** @returns where the entry is: `ledger`, or the local file's path */
export async function audit(repository: Repository, command: string, what: string): Promise<string> {
  const who = operator()
  try {
    if (await repository.audit(command, what, who)) return 'ledger'
  } catch (error) {
    const known = asTidemarkError(error)
    // A full or vanished store, a copy, or keys that may no longer sign, must not keep anybody from restoring; the trace goes to the file.
    if (
      known.code !== 'STORE_FULL' &&
      known.code !== 'STORE_UNREACHABLE' &&
      known.code !== 'STORE_READ_ONLY' &&
      known.code !== 'STORE_REFUSED' &&
      known.code !== 'STORE_NO_LOCK' &&
      known.code !== 'STORE_IS_COPY' &&
      known.code !== 'SIGNER_REFUSED'
    )
      throw error
  }
  const path = resolve(LOCAL_AUDIT)
  await appendFile(
    path,
    `${JSON.stringify({ at: new Date(systemClock.now()).toISOString(), operator: who, command, what })}\n`,
  )
  return path
}

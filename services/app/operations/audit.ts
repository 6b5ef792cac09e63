/** Audit entries: in the ledger where it can be written, else in a local file, and the caller is told which. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { asTidemarkError } from '../../core/errors.ts'
import { isMistake } from '../../core/mistake.ts'
import type { Repository } from '../../repository/repository.ts'
import type { Actor } from './actor.ts'

const NOT_TAKEN: ReadonlySet<string> = new Set([
  'STORE_FULL',
  'STORE_UNREACHABLE',
  'STORE_READ_ONLY',
  'STORE_REFUSED',
  'STORE_NO_LOCK',
  'STORE_IS_COPY',
  'LEDGER_BROKEN',
  'SIGNER_REFUSED',
])

/** A full or vanished store, a copy, a broken ledger, or keys that may no longer sign. */
export function isNotTaken(error: unknown): boolean {
  return NOT_TAKEN.has(asTidemarkError(error).code)
}

/** Commands that have nothing else to write. */
const READS: ReadonlySet<string> = new Set([
  'find',
  'read',
  'restore',
  'restore --dry-run',
  'verify',
  'verify --chain',
  'verify --all-stores',
  'verify --chain --all-stores',
])

export const LOCAL_AUDIT = 'tidemark-audit.log'

/** @returns where the entry is: `ledger`, or the local file's path */
export async function audit(
  repository: Pick<Repository, 'audit' | 'unasked' | 'clock'>,
  actor: Actor,
  command: string,
  what: string,
): Promise<string> {
  try {
    if (
      !(READS.has(command) && repository.unasked.length > 0) &&
      (await repository.audit(command, what, actor.name))
    )
      return 'ledger'
  } catch (error) {
    // These must not keep anybody from restoring; the trace goes to the file.
    if (!isNotTaken(error)) throw error
  }
  return leaveLocally(
    actor.traces,
    `${JSON.stringify({ at: new Date(repository.clock.now()).toISOString(), operator: actor.name, command, what })}\n`,
  )
}

/** Where this account can write at all. */
async function leaveLocally(folders: readonly string[], line: string): Promise<string> {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
  for (const folder of folders) {
    const path = join(folder, LOCAL_AUDIT)
    const file = await open(path, flags, 0o600).catch(() => undefined)
    if (file === undefined) continue
    try {
      await file.appendFile(line)
      return path
    } catch (error) {
      // No room here; a mistake of ours would end the same way everywhere.
      if (isMistake(error)) throw error
    } finally {
      await file.close()
    }
  }
  return 'nowhere: neither the ledger nor a file can be written'
}

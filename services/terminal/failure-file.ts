/** A mistake of ours as a file, for whoever mends it: where it arose, and nothing of what was worked on. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TidemarkError } from '../core/errors.ts'
import { stackOf } from '../core/mistake.ts'

/**
 * @param command its name alone: arguments may hold passwords
 * @returns the file in TMPDIR, which only its owner can read; undefined where it could not be written
 */
export function writeFailureFile(error: TidemarkError, command: string): string | undefined {
  const path = join(tmpdir(), `tidemark-failure-${randomBytes(6).toString('hex')}.txt`)
  const facts = [`tidemark ${command}`, `node ${process.version} on ${process.platform}-${process.arch}`]
  try {
    writeFileSync(path, `${[...facts, stackOf(error)].join('\n')}\n`, { mode: 0o600, flag: 'wx' })
    return path
  } catch {
    // No room, or nothing may be written there: the stack is in the output all the same.
    return undefined
  }
}

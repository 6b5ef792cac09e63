/** The script of what a restore could not make: for the account that ran it alone, since definitions may tell much. */
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import type { SchemaWords } from '../../core/ports/dialect.ts'
import { bytesOfText } from '../../core/escaped-bytes.ts'
import { TidemarkError } from '../../core/errors.ts'
import { type Unmade, unmadeScript } from '../../rebuild/unmade.ts'

/** In the working folder, or in TMPDIR where that cannot be written. Resolves with its path, null for nothing. */
export async function writeUnmade(
  unmade: readonly Unmade[],
  schemas: SchemaWords,
  restoreId: string,
  about: string,
): Promise<string | null> {
  if (unmade.length === 0) return null
  const script = unmadeScript(unmade, about, schemas)
  let failure: unknown
  for (const folder of ['.', tmpdir()]) {
    const path = resolve(folder, `tidemark-unmade-${restoreId}.sql`)
    try {
      // A new file each time: an older one may have another mode, or be a link of somebody else's.
      await rm(path, { force: true })
      await writeFile(path, bytesOfText(script), { mode: 0o600, flag: 'wx' })
      return path
    } catch (error) {
      failure = error
    }
  }
  throw new TidemarkError(
    'SCHEMA_INCOMPLETE',
    `${unmade.length} statements could not be run, and no file for them could be written`,
    {
      cause: failure,
      next: 'the same restore into another empty database, from a folder that can be written',
    },
  )
}

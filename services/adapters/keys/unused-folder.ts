/** Where new keys may go: before anything is made for them. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError } from '../../core/errors.ts'

/** @throws TidemarkError KEY_FILE_INVALID where keys lie in the folder: it is never overwritten */
export async function refuseUsedFolder(folder: string): Promise<void> {
  for (const side of ['writer', 'restore']) {
    const path = join(folder, side)
    const names = await readdir(path).catch((error: unknown) => {
      if ((error as { readonly code?: unknown }).code === 'ENOENT') return []
      throw error
    })
    if (names.length > 0)
      throw new TidemarkError(
        'KEY_FILE_INVALID',
        `${path} holds files already; a keys folder is never overwritten`,
        {
          next: 'choose another --keys folder',
        },
      )
  }
}

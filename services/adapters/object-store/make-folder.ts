/** Makes a folder of a folder store. */
import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { TidemarkError } from '../../core/errors.ts'
import { errno } from './folder-errors.ts'

/**
 * With its parents; true where it was not there. One by one: Node's `recursive` goes round for ever where a file system says
 * that a folder's parent is missing though it is there, as /proc does, and hides that one is read-only.
 */
export async function makeFolder(path: string, mode: number): Promise<boolean> {
  const first = await tryFolder(path, mode)
  if (first !== 'no parent') return first === 'made'
  const parent = dirname(path)
  if (parent !== path) await makeFolder(parent, mode)
  const again = await tryFolder(path, mode)
  if (again === 'no parent')
    throw new TidemarkError('STORE_READ_ONLY', `${path} cannot be made: ${parent} takes no folders`)
  return again === 'made'
}

/** That folder alone. */
export async function tryFolder(path: string, mode: number): Promise<'made' | 'there' | 'no parent'> {
  try {
    await mkdir(path, { mode })
    return 'made'
  } catch (error) {
    if (errno(error) === 'ENOENT') return 'no parent'
    // A file of that name is no folder.
    if (errno(error) === 'EEXIST' && (await stat(path)).isDirectory()) return 'there'
    throw error
  }
}

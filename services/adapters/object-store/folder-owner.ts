/**
 * Whose a folder store is. The account that streams has to read what every command leaves there: what root writes goes to the folder's
 * owner, and any other account writes only where the folder is its group's.
 */
import { chmod, chown, type FileHandle, stat } from 'node:fs/promises'
import { TidemarkError } from '../../core/errors.ts'

const ROOT = 0
const OWN_FILE = 0o640
const OWN_FOLDER = 0o750
const SETGID = 0o2000

export interface Ownership {
  /** To which account and group new objects go; undefined where they are ours anyway. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined
  readonly fileMode: number
  readonly folderMode: number
}

const OURS: Ownership = { owner: undefined, fileMode: OWN_FILE, folderMode: OWN_FOLDER }

/**
 * How this process may write into a folder.
 *
 * @throws TidemarkError STORE_READ_ONLY where the owner could not read what this account writes
 */
export async function ownershipOf(root: string): Promise<Ownership> {
  const [uid, groups] = [process.geteuid?.(), process.getgroups?.() ?? []]
  const found = await stat(root).catch(() => undefined)
  if (uid === undefined || found === undefined || found.uid === uid) return OURS
  const mode = found.mode & 0o777
  const shared = {
    owner: { uid: found.uid, gid: found.gid },
    fileMode: (mode & 0o666) | OWN_FILE,
    folderMode: mode | OWN_FOLDER,
  }
  if (uid === ROOT) return shared
  const isGroups = (found.mode & 0o020) !== 0 && [process.getegid?.(), ...groups].includes(found.gid)
  if (isGroups)
    return {
      ...shared,
      owner: { uid, gid: found.gid },
      folderMode: shared.folderMode | (found.mode & SETGID),
    }
  throw new TidemarkError(
    'STORE_READ_ONLY',
    `${root} belongs to uid ${found.uid}: what uid ${uid} writes there it could not read`,
    { next: 'the same as the account that runs `tidemark up`' },
  )
}

export async function giveFile(file: FileHandle, { owner, fileMode }: Ownership): Promise<void> {
  if (owner === undefined) return
  await file.chown(owner.uid, owner.gid)
  await file.chmod(fileMode)
}

export async function giveFolder(path: string, { owner, folderMode }: Ownership): Promise<void> {
  if (owner === undefined) return
  await chown(path, owner.uid, owner.gid)
  await chmod(path, folderMode)
}

/** Why something may not be read or written, with the command that mends it. */
export async function refusedBy(path: string, name: string): Promise<TidemarkError> {
  const found = await stat(path).catch(() => undefined)
  const uid = process.geteuid?.()
  return found === undefined || uid === undefined || found.uid === uid
    ? new TidemarkError('STORE_READ_ONLY', `not permitted: ${name}`)
    : new TidemarkError('STORE_READ_ONLY', `${path} belongs to uid ${found.uid}; this is uid ${uid}`, {
        next: `chown it to the account that owns the store, or run the command as uid ${found.uid}`,
      })
}

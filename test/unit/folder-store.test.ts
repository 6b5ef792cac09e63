/** What a folder store says is there survives power loss, whoever put it there. */
import { execFileSync } from 'node:child_process'
import { chmod, chown, cp, mkdir, mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FolderStore } from '../../services/adapters/object-store/folder-store.ts'
import { systemRandomness } from '../../services/core/clock.ts'

test('"exists" comes behind a sync of the folder, as "created" does', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-folder-'))
  const handle = await open(root)
  const prototype = Object.getPrototypeOf(handle) as { sync(): Promise<void>; stat: typeof handle.stat }
  const sync = prototype.sync
  const synced: string[] = []
  prototype.sync = async function (this: typeof handle) {
    synced.push((await this.stat()).isDirectory() ? 'folder' : 'file')
    return sync.call(this)
  }
  try {
    const store = new FolderStore(root, systemRandomness)
    expect(await store.putIfAbsent('a/b', [Buffer.from('x')])).toBe('created')
    expect(synced.slice(-2)).toEqual(['file', 'folder'])
    synced.length = 0
    expect(await store.putIfAbsent('a/b', [Buffer.from('y')])).toBe('exists')
    expect(synced).toEqual(['file', 'folder'])
  } finally {
    prototype.sync = sync
    await handle.close()
    await rm(root, { recursive: true })
  }
})

test('a folder that went away is an outage, no empty store, and is not made anew', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-folder-'))
  const away = `${root}-away`
  const gone = { code: 'STORE_UNREACHABLE', message: expect.stringContaining('mounted') as string }
  try {
    const store = new FolderStore(join(root, 'store'), systemRandomness)
    expect(await store.size('a/b')).toBe(undefined)
    await store.putIfAbsent('a/b', [Buffer.from('x')])
    await rename(join(root, 'store'), away)
    // In a folder that was there, and in one that never was.
    for (const name of ['b/c', 'a/c', 'a/c'])
      await expect(store.putIfAbsent(name, [Buffer.from('y')])).rejects.toMatchObject(gone)
    await expect(store.get('a/b')).rejects.toMatchObject(gone)
    await expect(store.digest('a/b')).rejects.toMatchObject(gone)
    await expect(store.size('a/b')).rejects.toMatchObject(gone)
    await expect(store.remove('a/b')).rejects.toMatchObject(gone)
    await expect(store.list('')[Symbol.asyncIterator]().next()).rejects.toMatchObject(gone)
    expect(await readdir(root)).toEqual([])
    await rename(away, join(root, 'store'))
    expect(await store.putIfAbsent('a/c', [Buffer.from('y')])).toBe('created')
    await expect(store.get('a/d')).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
    // A part of it alone is made again.
    await rm(join(root, 'store', '.tmp'), { recursive: true })
    await expect(store.putIfAbsent('a/d', [Buffer.from('z')])).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    })
    expect(await store.putIfAbsent('a/d', [Buffer.from('z')])).toBe('created')
  } finally {
    await rm(root, { recursive: true, force: true })
    await rm(away, { recursive: true, force: true })
  }
})

test('an empty folder in the place of the store takes nothing, and what is not in it is not missing', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-folder-'))
  const [place, away] = [join(root, 'store'), join(root, 'away')]
  const other = { code: 'STORE_UNREACHABLE', message: expect.stringContaining('mounted') as string }
  try {
    const writer = new FolderStore(place, systemRandomness)
    await writer.putIfAbsent('a/b', [Buffer.from('x')])
    const reader = new FolderStore(place, systemRandomness)
    await reader.get('a/b')
    await rename(place, away)
    await mkdir(place)
    for (const store of [writer, reader]) {
      await expect(store.putIfAbsent('a/c', [Buffer.from('y')])).rejects.toMatchObject(other)
      await expect(store.get('a/b')).rejects.toMatchObject(other)
      await expect(store.size('a/b')).rejects.toMatchObject(other)
      await expect(store.digest('a/b')).rejects.toMatchObject(other)
      await expect(store.remove('a/b')).rejects.toMatchObject(other)
      await expect(store.list('')[Symbol.asyncIterator]().next()).rejects.toMatchObject(other)
    }
    expect(await readdir(place)).toEqual([])
    // An older copy of the store in its place has what was read, and not what was put last.
    const older = join(root, 'older')
    await cp(away, older, { recursive: true })
    await rm(place, { recursive: true })
    await rename(away, place)
    expect(await writer.putIfAbsent('a/newest', [Buffer.from('z')])).toBe('created')
    await rename(place, away)
    await rename(older, place)
    expect(await writer.get('a/b')).toEqual(Buffer.from('x'))
    await expect(writer.putIfAbsent('a/c', [Buffer.from('y')])).rejects.toMatchObject(other)
    // Mounted again, under another number: what was stored is there.
    await rm(place, { recursive: true })
    await cp(away, place, { recursive: true })
    for (const [store, name] of [
      [writer, 'a/c'],
      [reader, 'a/d'],
    ] as const)
      expect(await store.putIfAbsent(name, [Buffer.from('y')])).toBe('created')
  } finally {
    await rm(root, { recursive: true, force: true })
  }
})

test.skipIf(process.platform !== 'linux')('a folder that no file system makes is refused', async () => {
  const store = new FolderStore('/proc/tidemark/store', systemRandomness)
  await expect(store.putIfAbsent('a/b', [Buffer.from('x')])).rejects.toMatchObject({
    code: 'STORE_READ_ONLY',
  })
})

const [OWNER, OTHER, GROUP] = [54321, 54322, 54323]

/** A folder of another account; what `use` does is done as `uid`. */
async function inFolderOf(
  mode: number,
  uid: number,
  use: (store: FolderStore, root: string) => Promise<void>,
) {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-folder-'))
  await chown(root, OWNER, GROUP)
  await chmod(root, mode)
  process.seteuid!(uid)
  try {
    await use(new FolderStore(root, systemRandomness), root)
  } finally {
    process.seteuid!(0)
    await rm(root, { recursive: true })
  }
}

test('what root writes belongs to the owner of the folder, who reads it', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root may write for others')
  await inFolderOf(0o700, 0, async (store, root) => {
    await store.putIfAbsent('ledger/1/entry', [Buffer.from('x')])
    for (const path of ['ledger', 'ledger/1', 'ledger/1/entry', '.tmp'])
      expect((await stat(join(root, path))).uid, path).toBe(OWNER)
    process.seteuid!(OWNER)
    expect(await new FolderStore(root, systemRandomness).get('ledger/1/entry')).toEqual(Buffer.from('x'))
    expect(await new FolderStore(root, systemRandomness).putIfAbsent('ledger/1/next', [])).toBe('created')
  })
})

test('another account leaves nothing that the owner could not read', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root may be somebody else')
  await inFolderOf(0o777, OTHER, async (store, root) => {
    await expect(store.putIfAbsent('ledger/1/entry', [Buffer.from('x')])).rejects.toMatchObject({
      code: 'STORE_READ_ONLY',
      message: expect.stringContaining(String(OWNER)),
    })
    await expect(stat(join(root, 'ledger'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

test('a file that somebody else owns is refused with its owner by name', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root may be somebody else')
  await inFolderOf(0o755, 0, async (store, root) => {
    await store.putIfAbsent('a', [Buffer.from('x')])
    await chown(join(root, 'a'), OTHER, OTHER)
    await chmod(join(root, 'a'), 0o600)
    process.seteuid!(OWNER)
    await expect(store.get('a')).rejects.toMatchObject({
      code: 'STORE_READ_ONLY',
      message: expect.stringContaining(String(OTHER)),
    })
  })
})

test('a disk without a byte left takes the mark that lets room be made', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('a small disk cannot be mounted here (needs root)')
  const root = await mkdtemp(join(tmpdir(), 'tidemark-folder-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', root], { stdio: 'ignore' })
  } catch {
    await rm(root, { recursive: true })
    return context.skip('a small disk cannot be mounted here (needs root)')
  }
  try {
    const store = new FolderStore(root, systemRandomness)
    await store.putIfAbsent('trims/first', [Buffer.from('x')])
    const full = expect.objectContaining({ code: 'STORE_FULL' }) as Error
    await expect(store.putIfAbsent('segments/big', [Buffer.alloc(1024 * 1024)])).rejects.toEqual(full)
    for (let i = 0; i < 100; i++)
      if (
        await store.putIfAbsent(`segments/${i}`, [Buffer.alloc(4096)]).then(
          () => false,
          () => true,
        )
      )
        break
    await expect(store.putIfAbsent('segments/one', [Buffer.alloc(4096)])).rejects.toEqual(full)
    expect(await store.putIfAbsent('trims/mark', [Buffer.alloc(1000)])).toBe('created')
  } finally {
    execFileSync('umount', ['-l', root])
    await rm(root, { recursive: true })
  }
})

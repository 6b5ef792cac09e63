/** What a folder store says is there survives power loss, whoever put it there. */
import { mkdtemp, open, rm } from 'node:fs/promises'
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

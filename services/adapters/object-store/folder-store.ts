/**
 * ObjectStore in a folder. Create-only without a window: write a temporary file, fsync, `link` it to its final name
 * (EEXIST: somebody was first), unlink the temporary one, fsync the folder. Never rename: it replaces silently.
 *
 * A crash leaves at most a temporary file, which is swept when it is older than any upload can be.
 */
import { createHash } from 'node:crypto'
import { close as closeFd, constants, open as openFd, read as readFd } from 'node:fs'
import { type FileHandle, link, open, opendir, readdir, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { TidemarkError } from '../../core/errors.ts'
import {
  isObjectName,
  type KeptObject,
  type ObjectDigest,
  type ObjectStore,
} from '../../core/ports/object-store.ts'
import type { Clock, Randomness } from '../../core/clock.ts'
import { errno, isRefusal, notThere, storeError } from './folder-errors.ts'
import { giveFile, giveFolder, type Ownership, ownershipOf, refusedBy } from './folder-owner.ts'
import { makeFolder, tryFolder } from './make-folder.ts'
import { SameFolder } from './same-folder.ts'

const PIECE_BYTES = 256 * 1024
const DIGESTS_TOGETHER = 4
const [openFile, readFile, closeFile] = [promisify(openFd), promisify(readFd), promisify(closeFd)]
const TEMPORARY = '.tmp'
const NAME_BYTES = 12
const TEMPORARY_NAME = /^[0-9a-f]{24}$/
/** Room for the mark that has to be written before anything may be taken away from a full disk. */
const RESERVE = { name: 'reserve', bytes: 16 * 1024, for: 'trims/' }
const SWEEP_AFTER_MS = 24 * 3600 * 1000

export class FolderStore implements ObjectStore {
  readonly place: string
  readonly #root: string
  readonly #randomness: Randomness
  /** Folders known to exist and to be durable in their parents. */
  readonly #folders = new Set<string>()
  /** As many as digests were ever made at once. */
  readonly #pieces: Buffer[][] = []
  readonly #digesting = new Set<Promise<void>>()
  #ownership: Ownership | undefined
  #reserved: Promise<void> | undefined
  /** Something of it was there: it is never made anew from then on. */
  #isKnown = false
  readonly #same: SameFolder

  constructor(root: string, randomness: Randomness) {
    this.#root = resolve(root)
    this.place = this.#root
    this.#same = new SameFolder(this.#root)
    this.#randomness = randomness
  }

  async putIfAbsent(
    name: string,
    chunks: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<'created' | 'exists'> {
    try {
      return await this.#put(name, chunks, signal)
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'STORE_FULL' || !name.startsWith(RESERVE.for))
        throw error
      await unlink(join(this.#root, TEMPORARY, RESERVE.name)).catch(() => {
        // It was given away before: there is nothing more to give.
        throw error
      })
      return this.#put(name, chunks, signal)
    }
  }

  async #put(
    name: string,
    chunks: readonly Uint8Array[],
    signal: AbortSignal | undefined,
  ): Promise<'created' | 'exists'> {
    const final = this.#path(name)
    const temporary = join(this.#root, TEMPORARY, this.#randomness.bytes(NAME_BYTES).toString('hex'))
    signal?.throwIfAborted()
    try {
      await this.#same.prove()
      const ownership = (this.#ownership ??= await ownershipOf(this.#root))
      await this.#folder(dirname(temporary), ownership)
      await this.#folder(dirname(final), ownership)
      // Once: what was given away is needed until room has been made.
      await (this.#reserved ??= this.#reserve(ownership).catch((error: unknown) => {
        this.#reserved = undefined
        throw error
      }))
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
      const file = await open(temporary, flags, ownership.fileMode)
      try {
        await giveFile(file, ownership)
        await writeAll(file, chunks)
        await file.sync()
      } finally {
        await file.close()
      }
      try {
        await link(temporary, final)
      } catch (error) {
        if (errno(error) !== 'EEXIST') throw error
        // Whoever put it there may not have come to its own sync yet: what we say is there survives power loss too.
        await syncFolder(dirname(final))
        await this.#same.prove()
        await this.#same.stored(name)
        return 'exists'
      } finally {
        await unlink(temporary)
      }
      await syncFolder(dirname(final))
      // Exchanged meanwhile: it may lie in the other one.
      await this.#same.prove()
      await this.#same.stored(name)
      return 'created'
    } catch (error) {
      await unlink(temporary).catch(() => undefined)
      if (error instanceof TidemarkError && error.code === 'STORE_UNREACHABLE') this.#forget()
      if (errno(error) === 'ENOENT') throw await this.#vanished(error)
      throw isRefusal(error) ? await refusedBy(dirname(final), name) : storeError(error, name)
    }
  }

  /** A folder that was there is not: what is below it is looked for anew, once the whole is back. */
  async #vanished(cause: unknown): Promise<TidemarkError> {
    this.#forget()
    const isThere = await stat(this.#root).then(
      () => true,
      () => false,
    )
    return new TidemarkError(
      'STORE_UNREACHABLE',
      isThere ? `folders vanished from ${this.#root} while it was written` : notThere(this.#root),
      { cause },
    )
  }

  #forget(): void {
    this.#folders.clear()
    this.#reserved = undefined
  }

  /**
   * Of a folder that this process has seen, nothing is missing because all of it is: a disk that is not mounted any more is
   * no empty store.
   */
  async #missing(error: unknown, name: string): Promise<TidemarkError> {
    if (errno(error) === 'ENOENT' && this.#isKnown)
      try {
        await stat(this.#root)
        await this.#same.prove()
      } catch (other) {
        if (other instanceof TidemarkError) return other
        return new TidemarkError('STORE_UNREACHABLE', notThere(this.#root), { cause: error })
      }
    return storeError(error, name)
  }

  async get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    let file: FileHandle | undefined
    try {
      file = await open(this.#path(name), 'r')
      this.#isKnown = true
      await this.#same.read(name)
      const size = (await file.stat()).size
      const start = range?.start ?? 0
      const end = range?.end ?? size
      if (start < 0 || end > size || start > end)
        throw new TidemarkError('OBJECT_CORRUPT', `${name} has ${size} bytes, asked for ${start}-${end}`)
      const out = Buffer.allocUnsafe(end - start)
      let at = 0
      while (at < out.length) {
        const { bytesRead } = await file.read(out, at, out.length - at, start + at)
        if (bytesRead === 0)
          throw new TidemarkError('OBJECT_CORRUPT', `${name} became shorter while it was read`)
        at += bytesRead
      }
      return out
    } catch (error) {
      throw isRefusal(error) ? await refusedBy(this.#path(name), name) : await this.#missing(error, name)
    } finally {
      await file?.close()
    }
  }

  async digest(name: string): Promise<ObjectDigest> {
    // More at once would push each other's pieces out of the processor's cache.
    while (this.#digesting.size >= DIGESTS_TOGETHER) await Promise.race(this.#digesting)
    const running = this.#digest(name)
    const settled = running.then(
      () => undefined,
      () => undefined,
    )
    this.#digesting.add(settled)
    return running.finally(() => this.#digesting.delete(settled))
  }

  /** Piece by piece through two buffers: one is read into while the other is hashed. */
  async #digest(name: string): Promise<ObjectDigest> {
    const pieces = this.#pieces.pop() ?? [
      Buffer.allocUnsafeSlow(PIECE_BYTES),
      Buffer.allocUnsafeSlow(PIECE_BYTES),
    ]
    let file: number | undefined
    let reading: Promise<{ readonly bytesRead: number }> | undefined
    try {
      // A bare descriptor: handles cost more than small files do.
      file = await openFile(this.#path(name), 'r')
      const hash = createHash('sha256')
      reading = readFile(file, pieces[0]!, 0, PIECE_BYTES, 0)
      for (let at = 0, turn = 0; ; turn ^= 1) {
        const read: number = (await reading).bytesRead
        at += read
        reading = read < PIECE_BYTES ? undefined : readFile(file, pieces[turn ^ 1]!, 0, PIECE_BYTES, at)
        hash.update(pieces[turn]!.subarray(0, read))
        if (reading === undefined) return { bytes: at, sha256: hash.digest('hex') }
      }
    } catch (error) {
      throw await this.#missing(error, name)
    } finally {
      await reading?.catch(() => undefined)
      this.#pieces.push(pieces)
      if (file !== undefined) await closeFile(file)
    }
  }

  async size(name: string): Promise<number | undefined> {
    try {
      return (await stat(this.#path(name))).size
    } catch (error) {
      const known = await this.#missing(error, name)
      if (known.code === 'STORE_NOT_FOUND') return undefined
      throw known
    }
  }

  async *list(prefix: string): AsyncIterable<string> {
    await this.#same.prove()
    const cut = prefix.lastIndexOf('/') + 1
    yield* this.#walk(prefix.slice(0, cut), prefix)
  }

  async *#walk(folder: string, prefix: string): AsyncIterable<string> {
    let entries
    try {
      entries = await readdir(join(this.#root, folder), { withFileTypes: true })
    } catch (error) {
      const known = await this.#missing(error, folder === '' ? this.#root : folder)
      if (known.code === 'STORE_NOT_FOUND') return
      throw known
    }
    // A folder sorts as its name with the slash behind it, as whole names do.
    const keyed = entries.map((entry) => ({
      entry,
      key: entry.isDirectory() ? `${entry.name}/` : entry.name,
    }))
    keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    for (const { entry, key } of keyed) {
      const name = folder + key
      if (folder === '' && entry.name === TEMPORARY) continue
      if (entry.isDirectory()) {
        if (name.startsWith(prefix) || prefix.startsWith(name)) yield* this.#walk(name, prefix)
      } else if (name.startsWith(prefix)) {
        yield name
      }
    }
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name)
    await this.#same.prove()
    try {
      this.#same.gone(name)
      await unlink(path)
      await syncFolder(dirname(path))
    } catch (error) {
      const known = await this.#missing(error, name)
      if (known.code !== 'STORE_NOT_FOUND') throw known
    }
  }

  async *kept(prefix: string): AsyncIterable<KeptObject> {
    for await (const name of this.list(prefix)) {
      try {
        const facts = await stat(this.#path(name))
        yield { name, at: facts.mtimeMs, bytes: facts.size, version: undefined }
      } catch (error) {
        // Removed by somebody since it was listed.
        const known = await this.#missing(error, name)
        if (known.code !== 'STORE_NOT_FOUND') throw known
      }
    }
  }

  async purge({ name }: KeptObject): Promise<'purged'> {
    await this.remove(name)
    return 'purged'
  }

  /** Temporary files; of what else lies beside them we know nothing. */
  async sweep(clock: Clock): Promise<number> {
    let swept = 0
    try {
      for await (const entry of await opendir(join(this.#root, TEMPORARY))) {
        if (!entry.isFile() || !TEMPORARY_NAME.test(entry.name)) continue
        const path = join(this.#root, TEMPORARY, entry.name)
        try {
          if (clock.now() - (await stat(path)).mtimeMs <= SWEEP_AFTER_MS) continue
          await unlink(path)
          swept++
        } catch (error) {
          // Its upload came to its end just now, or somebody else sweeps.
          if (errno(error) !== 'ENOENT') throw error
        }
      }
      return swept
    } catch (error) {
      if (errno(error) === 'ENOENT') return swept
      throw storeError(error, TEMPORARY)
    }
  }

  /** Kept while there is room; a disk that is full already has none to keep. */
  async #reserve(ownership: Ownership): Promise<void> {
    const path = join(this.#root, TEMPORARY, RESERVE.name)
    try {
      const file = await open(
        path,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
        ownership.fileMode,
      )
      try {
        await giveFile(file, ownership)
        await writeAll(file, [this.#randomness.bytes(RESERVE.bytes)])
        await file.sync()
      } finally {
        await file.close()
      }
    } catch (error) {
      const known = storeError(error, RESERVE.name)
      if (errno(error) === 'EEXIST') return
      if (known.code !== 'STORE_FULL' && known.code !== 'STORE_READ_ONLY') throw known
    }
  }

  #path(name: string): string {
    if (!isObjectName(name)) throw new TidemarkError('INTERNAL', 'a name that no object may have')
    return join(this.#root, name)
  }

  /** The root with what it hangs on; what is below it never makes the root anew. */
  async #make(path: string, { folderMode }: Ownership): Promise<boolean> {
    if (path === this.#root) return makeFolder(path, folderMode)
    const outcome = await tryFolder(path, folderMode)
    if (outcome === 'no parent') throw await this.#vanished(undefined)
    return outcome === 'made'
  }

  /** Makes a folder and its parents durable before anything is put into it. */
  async #folder(path: string, ownership: Ownership): Promise<void> {
    if (this.#folders.has(path)) return
    if (path !== this.#root && path !== dirname(path)) {
      if (path.startsWith(this.#root)) await this.#folder(dirname(path), ownership)
    }
    if (path === this.#root && this.#isKnown) await stat(path)
    else if (await this.#make(path, ownership)) {
      await giveFolder(path, ownership)
      await syncFolder(dirname(path))
    }
    if (path === this.#root) this.#isKnown = true
    this.#folders.add(path)
  }
}

async function writeAll(file: FileHandle, chunks: readonly Uint8Array[]): Promise<void> {
  const batch = 512
  for (let i = 0; i < chunks.length; i += batch) {
    const part = chunks.slice(i, i + batch)
    const wanted = part.reduce((sum, chunk) => sum + chunk.length, 0)
    const { bytesWritten } = await file.writev(part)
    if (bytesWritten === wanted) continue
    // A short write: the rest in one piece, until done or refused.
    const rest = Buffer.concat(part).subarray(bytesWritten)
    for (let at = 0; at < rest.length; ) at += (await file.write(rest, at)).bytesWritten
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/**
 * Whether the folder of a store is still the one that this process has used. Where a disk is not mounted any more, an empty
 * folder stands in its place, and what is written into that is no part of the backup: nothing may be written there, and
 * what is missing there is not missing from the store.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError } from '../../core/errors.ts'
import { PROBES } from '../../formats/object-name.ts'
import { errno, notThere, storeError } from './folder-errors.ts'

export class SameFolder {
  readonly #root: string
  /** Device and inode of the folder that is known. */
  #id: string | undefined
  /** An object that is in the store for sure: a disk that was mounted again may have another device's number. */
  #witness: string | undefined

  constructor(root: string) {
    this.#root = root
  }

  /** The object was put into the folder that was proven. */
  async stored(name: string): Promise<void> {
    if (name.startsWith(PROBES)) return
    this.#witness = name
    this.#id ??= await idOf(this.#root)
  }

  /** The object was read. It proves less than one that was put: an older copy of the store has it as well. */
  async read(name: string): Promise<void> {
    if (this.#id === undefined) await this.stored(name)
  }

  gone(name: string): void {
    if (this.#witness === name) this.#witness = undefined
  }

  /**
   * Nothing is known before the first object was seen: then any folder is the store.
   *
   * @throws TidemarkError STORE_UNREACHABLE where the folder is not there, or is another one
   */
  async prove(): Promise<void> {
    if (this.#id === undefined) return
    const now = await idOf(this.#root)
    if (now === this.#id) return
    if (now === undefined) throw new TidemarkError('STORE_UNREACHABLE', notThere(this.#root))
    if (this.#witness === undefined || !(await isThere(join(this.#root, this.#witness))))
      throw new TidemarkError(
        'STORE_UNREACHABLE',
        `another folder stands at ${this.#root}, without what was stored there: is the store's disk mounted?`,
      )
    this.#id = now
  }
}

async function idOf(root: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(root, { bigint: true })
    return `${dev}:${ino}`
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined
    throw storeError(error, root)
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return false
    throw storeError(error, path)
  }
}

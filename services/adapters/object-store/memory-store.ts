/** ObjectStore in memory: the form that tests and the contract suite start from. */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../../core/errors.ts'
import {
  isObjectName,
  type KeptObject,
  type ObjectDigest,
  type ObjectStore,
} from '../../core/ports/object-store.ts'

export class MemoryStore implements ObjectStore {
  readonly place = 'memory'
  readonly objects = new Map<string, Buffer>()
  readonly #at = new Map<string, number>()

  putIfAbsent(name: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    if (!isObjectName(name))
      return Promise.reject(new TidemarkError('INTERNAL', 'a name that no object may have'))
    if (this.objects.has(name)) return Promise.resolve('exists')
    this.objects.set(name, Buffer.concat(chunks))
    this.#at.set(name, Date.now())
    return Promise.resolve('created')
  }

  get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const object = this.objects.get(name)
    if (object === undefined) return Promise.reject(new TidemarkError('STORE_NOT_FOUND', `no object ${name}`))
    const start = range?.start ?? 0
    const end = range?.end ?? object.length
    if (start < 0 || end > object.length || start > end) {
      return Promise.reject(
        new TidemarkError('OBJECT_CORRUPT', `${name} has ${object.length} bytes, asked for ${start}-${end}`),
      )
    }
    return Promise.resolve(Buffer.from(object.subarray(start, end)))
  }

  async digest(name: string): Promise<ObjectDigest> {
    const bytes = await this.get(name)
    return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  }

  size(name: string): Promise<number | undefined> {
    return Promise.resolve(this.objects.get(name)?.length)
  }

  async *list(prefix: string): AsyncIterable<string> {
    for (const name of [...this.objects.keys()].sort()) if (name.startsWith(prefix)) yield name
  }

  remove(name: string): Promise<void> {
    this.objects.delete(name)
    return Promise.resolve()
  }

  async *kept(prefix: string): AsyncIterable<KeptObject> {
    for await (const name of this.list(prefix))
      yield {
        name,
        at: this.#at.get(name) ?? 0,
        bytes: this.objects.get(name)?.length ?? 0,
        version: undefined,
      }
  }

  async purge({ name }: KeptObject): Promise<'purged'> {
    await this.remove(name)
    return 'purged'
  }
}

/**
 * ObjectStore in a bucket of Google Cloud Storage. Create-only is `ifGenerationMatch: 0` on one upload ("Request preconditions"): the
 * S3 way of Google's own does not know `If-None-Match` on a put, so its JSON interface is spoken, by its own client.
 */
import { ApiError, type Bucket, type GetFilesResponse, Storage } from '@google-cloud/storage'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'
import { isMistake } from '../../core/mistake.ts'
import {
  isObjectName,
  type KeptObject,
  type ObjectDigest,
  type ObjectStore,
  type StoreFacts,
} from '../../core/ports/object-store.ts'
import { isBulk } from '../../formats/object-name.ts'
import { digestOf } from './digest-of.ts'
import { collect, moving, type Progress, withinSilence } from './silence.ts'

export interface GcsSettings {
  readonly bucket: string
  readonly prefix: string
  /** Of the service; Google's own where it is not given. */
  readonly endpoint: string | undefined
  /** A service account's key; the environment's, or the machine's or pod's identity, where it is not given. */
  readonly credentials: string | undefined
  /** Of the objects that are many and large; the bucket's default where it is not given. */
  readonly storageClass: string | undefined
  /** LIMITS.storeSilenceMs where it is not given. */
  readonly silenceMs?: number | undefined
}

const RETRIES = 4
const RETRY_S = 30
const PAGE = 1000
const AS_STORED = { decompress: false, validation: false }

export class GcsStore implements ObjectStore {
  readonly place: string
  readonly #settings: GcsSettings
  readonly #bucket: Bucket

  constructor(settings: GcsSettings) {
    const { bucket, prefix, endpoint, credentials } = settings
    this.#settings = settings
    this.place = `gs://${bucket}/${prefix}${endpoint === undefined ? '' : ` at ${new URL(endpoint).host}`}`
    this.#bucket = new Storage({
      ...(endpoint === undefined
        ? {}
        : { apiEndpoint: endpoint, useAuthWithCustomEndpoint: credentials !== undefined }),
      ...(credentials === undefined ? {} : { keyFilename: credentials }),
      // A project is named by the bucket; the client asks the machine for one otherwise.
      projectId: 'none',
      retryOptions: { autoRetry: true, maxRetries: RETRIES, totalTimeout: RETRY_S, maxRetryDelay: 2 },
    }).bucket(bucket)
  }

  async putIfAbsent(
    name: string,
    chunks: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<'created' | 'exists'> {
    signal?.throwIfAborted()
    const body =
      chunks.length === 1
        ? Buffer.from(chunks[0]!.buffer, chunks[0]!.byteOffset, chunks[0]!.byteLength)
        : Buffer.concat(chunks)
    const { storageClass } = this.#settings
    try {
      await this.#within(name, ({ moved }) =>
        this.#file(name).save(body, {
          resumable: false,
          preconditionOpts: { ifGenerationMatch: 0 },
          onUploadProgress: moved,
          metadata: {
            contentType: 'application/octet-stream',
            ...(storageClass !== undefined && isBulk(name) ? { storageClass } : {}),
          },
        }),
      )
      return 'created'
    } catch (error) {
      if (codeOf(error) === 412) return 'exists'
      throw this.#error(error, name)
    }
  }

  async get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const wanted = range === undefined ? undefined : range.end - range.start
    if (wanted !== undefined && wanted <= 0)
      throw new TidemarkError('OBJECT_CORRUPT', `an empty range of ${name} was asked for`)
    try {
      const part = range === undefined ? {} : { start: range.start, end: range.end - 1 }
      const bytes = await this.#read(this.#file(name), name, part)
      if (wanted !== undefined && bytes.length !== wanted)
        throw new TidemarkError(
          'OBJECT_CORRUPT',
          `${name} ends at ${range!.start + bytes.length}, asked for ${range!.start}-${range!.end}`,
        )
      return bytes
    } catch (error) {
      if (codeOf(error) === 416)
        throw new TidemarkError('OBJECT_CORRUPT', `${name} is shorter than ${range?.end ?? 0} bytes`, {
          cause: error,
        })
      throw this.#error(error, name)
    }
  }

  async digest(name: string): Promise<ObjectDigest> {
    try {
      return await this.#within(name, ({ moved, signal }) => {
        const stream = this.#file(name).createReadStream(AS_STORED)
        signal.addEventListener('abort', () => stream.destroy(), { once: true })
        return digestOf(moving(stream, moved))
      })
    } catch (error) {
      throw this.#error(error, name)
    }
  }

  async size(name: string): Promise<number | undefined> {
    try {
      const [metadata] = await this.#within(name, () => this.#file(name).getMetadata())
      return Number(metadata.size)
    } catch (error) {
      const known = this.#error(error, name)
      if (known.code === 'STORE_NOT_FOUND') return undefined
      throw known
    }
  }

  async *list(prefix: string): AsyncIterable<string> {
    for await (const { name } of this.#objects(prefix, false)) yield name
  }

  async remove(name: string): Promise<void> {
    try {
      await this.#within(name, () => this.#file(name).delete({ ignoreNotFound: true }))
    } catch (error) {
      throw this.#error(error, name)
    }
  }

  kept(prefix: string): AsyncIterable<KeptObject> {
    return this.#objects(prefix, true)
  }

  async purge({ name, version }: KeptObject): Promise<'purged' | 'locked'> {
    try {
      const file = this.#bucket.file(this.#key(name), version === undefined ? {} : { generation: version })
      await this.#within(name, () => file.delete({ ignoreNotFound: true }))
      return 'purged'
    } catch (error) {
      // A retention policy of the bucket or of the object, or a hold ("Object retention": 403 retentionPolicyNotMet, objectUnderActiveHold).
      if (codeOf(error) === 403 && /retention|hold/i.test(reasonOf(error))) return 'locked'
      throw this.#error(error, name)
    }
  }

  async *#objects(prefix: string, versions: boolean): AsyncGenerator<KeptObject> {
    const { prefix: own } = this.#settings
    for (let pageToken: string | undefined; ; ) {
      let page: GetFilesResponse
      try {
        const from = pageToken === undefined ? {} : { pageToken }
        page = await this.#within(`${prefix}*`, () =>
          this.#bucket.getFiles({
            prefix: own + prefix,
            versions,
            autoPaginate: false,
            maxResults: PAGE,
            ...from,
          }),
        )
      } catch (error) {
        throw this.#error(error, `${prefix}*`)
      }
      const [files, next] = page
      for (const file of files) {
        const { updated, timeCreated, size, generation } = file.metadata
        yield {
          name: file.name.slice(own.length),
          at: Date.parse(timeCreated ?? updated ?? '') || 0,
          bytes: Number(size ?? 0),
          version: versions && generation !== undefined ? String(generation) : undefined,
        }
      }
      pageToken = (next as { pageToken?: string } | null)?.pageToken
      if (pageToken === undefined) return
    }
  }

  /** In a bucket with versions: what was overwritten or deleted since, the newest first. */
  async *versions(name: string): AsyncIterable<Buffer> {
    const found: KeptObject[] = []
    for await (const object of this.#objects(name, true)) if (object.name === name) found.push(object)
    for (const { version } of found.sort(
      (a, b) => b.at - a.at || (BigInt(b.version ?? 0) > BigInt(a.version ?? 0) ? 1 : -1),
    )) {
      try {
        yield await this.#read(this.#bucket.file(this.#key(name), { generation: version! }), name)
      } catch (error) {
        throw this.#error(error, name)
      }
    }
  }

  alternatives(name: string): AsyncIterable<Buffer> {
    return this.versions(name)
  }

  async facts(): Promise<StoreFacts> {
    try {
      const [metadata] = await this.#within('the bucket', () => this.#bucket.getMetadata())
      return {
        versioning: metadata.versioning?.enabled === true,
        objectLock: metadata.retentionPolicy !== undefined || metadata.objectRetention?.mode === 'Enabled',
        now: await this.#clock(),
      }
    } catch (error) {
      throw this.#error(error, "the bucket's settings")
    }
  }

  /** By the answer to a question that needs no rights. */
  async #clock(): Promise<number | undefined> {
    const { endpoint } = this.#settings
    try {
      const answer = await fetch(endpoint ?? 'https://storage.googleapis.com', {
        method: 'HEAD',
        redirect: 'manual',
        signal: AbortSignal.timeout(RETRY_S * 1000),
      })
      const date = answer.headers.get('date')
      return date === null ? undefined : Date.parse(date)
    } catch (error) {
      if (isMistake(error)) throw error
      throw new TidemarkError('STORE_UNREACHABLE', `${this.place} does not tell its time`, { cause: error })
    }
  }

  /** As it is stored: hashes of ours are what it is proven by. */
  #read(
    file: ReturnType<Bucket['file']>,
    name: string,
    part: { readonly start?: number; readonly end?: number } = {},
  ): Promise<Buffer> {
    return this.#within(name, ({ moved, signal }) => {
      const stream = file.createReadStream({ ...AS_STORED, ...part })
      signal.addEventListener('abort', () => stream.destroy(), { once: true })
      return collect(stream, moved)
    })
  }

  #within<T>(name: string, action: (progress: Progress) => Promise<T>): Promise<T> {
    return withinSilence(this.place, name, this.#settings.silenceMs, action)
  }

  #file(name: string): ReturnType<Bucket['file']> {
    return this.#bucket.file(this.#key(name))
  }

  #key(name: string): string {
    if (!isObjectName(name)) throw new TidemarkError('INTERNAL', 'a name that no object may have')
    return this.#settings.prefix + name
  }

  #error(error: unknown, name: string): TidemarkError {
    if (error instanceof TidemarkError) return error
    if (isMistake(error)) return asTidemarkError(error)
    const code = codeOf(error)
    const options = { cause: error }
    if (code === 404) {
      if (/bucket/i.test(reasonOf(error)))
        return new TidemarkError('STORE_REFUSED', `there is no bucket ${this.#settings.bucket}`, {
          ...options,
          next: 'make the bucket, or correct the URL of the store',
        })
      return new TidemarkError('STORE_NOT_FOUND', `no object ${name}`, options)
    }
    if (code === 401 || code === 403)
      return new TidemarkError('STORE_REFUSED', `${this.place} answers ${code} for ${name}`, options)
    if (error instanceof Error && /credentials|ENOENT|JSON/i.test(error.message) && code === undefined)
      return new TidemarkError(
        'STORE_REFUSED',
        "no credentials for Google Cloud: give credentials=FILE with a service account's key, or GOOGLE_APPLICATION_CREDENTIALS, or an identity of this machine",
        options,
      )
    return new TidemarkError(
      'STORE_UNREACHABLE',
      `${this.place} answers ${code ?? (error instanceof Error ? error.name : 'nothing that is understood')} for ${name}`,
      options,
    )
  }
}

function codeOf(error: unknown): number | undefined {
  if (error instanceof ApiError && typeof error.code === 'number') return error.code
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'number' ? code : undefined
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : ''
}

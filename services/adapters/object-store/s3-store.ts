/**
 * ObjectStore in a bucket of S3 or what speaks its protocol (AWS, MinIO, Ceph, R2, B2), through the `minio` client.
 *
 * Create-only is `If-None-Match: *` on one PUT (Amazon S3 user guide, "conditional writes"). Never multipart: the client sends the
 * condition with its first request alone, where it does not count, and goes on with strangers' unfinished uploads (hazard 87).
 * An answer that was lost comes back as `exists` when the put is tried again (hazard 85); callers compare.
 */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Client } from 'minio/dist/esm/minio.mjs'
import type { Clock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import {
  isObjectName,
  type KeptObject,
  type ObjectDigest,
  type ObjectStore,
  type RaceOutcome,
  type StoreFacts,
  type StoreLock,
} from '../../core/ports/object-store.ts'
import { isBulk, isPassing } from '../../formats/object-name.ts'
import { digestOf } from './digest-of.ts'
import { hasLock, type ListedKey, versioningOf } from './s3-answers.ts'
import { agentFor, connectS3, endpointOf, type S3Place } from './s3-client.ts'
import { codeOf, isLost, isUnset, NO_VERSIONS, s3Error } from './s3-errors.ts'
import { listKeys, listVersions, queryOf } from './s3-listing.ts'
import { isLocked, S3Locks } from './s3-locks.ts'
import { raceCreates } from './s3-race.ts'
import { readAgain, SILENT_TRIES } from './read-again.ts'

export interface S3Settings extends S3Place {
  readonly bucket: string
  /** Of all names; empty, or with a slash at its end. */
  readonly prefix: string
  /** Of the objects that are many and large; the bucket's default where it is not given. */
  readonly storageClass: string | undefined
  readonly lock: { readonly mode: 'governance' | 'compliance'; readonly forMs: number } | undefined
  readonly clock: Clock
  /** LIMITS.storeSilenceMs where it is not given. */
  readonly silenceMs?: number | undefined
}

const SOCKETS = 16
/** AWS answers 403 for what is locked, MinIO 400; only where it is locked is that an answer. */
const LOCKED = new Set(['AccessDenied', 'InvalidRequest', 'ObjectLocked', 'Forbidden'])

export class S3Store implements ObjectStore {
  readonly place: string
  readonly lock?: StoreLock
  readonly #settings: S3Settings
  readonly #client: Client
  /** Of one try. */
  readonly #silenceMs: number

  constructor(settings: S3Settings) {
    this.#settings = settings
    const { endpoint, bucket, prefix } = settings
    this.#silenceMs = (settings.silenceMs ?? LIMITS.storeSilenceMs) / SILENT_TRIES
    this.place = `s3://${bucket}/${prefix}${endpoint === undefined ? '' : ` at ${endpointOf(settings).host}`}`
    this.#client = connectS3(settings, agentFor(settings, SOCKETS, this.#silenceMs), this.#silenceMs)
    if (settings.lock !== undefined)
      this.lock = new S3Locks(settings.lock, {
        client: this.#client,
        bucket,
        key: (name) => this.#key(name),
        retrying: (action) => this.#retrying(action),
        asCoded: (error, name) => this.#error(error, name),
      })
  }

  async putIfAbsent(
    name: string,
    chunks: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<'created' | 'exists'> {
    const key = this.#key(name)
    signal?.throwIfAborted()
    const body = chunks.length === 1 ? asBuffer(chunks[0]!) : Buffer.concat(chunks)
    try {
      // Not `putObject`: it sends headers of locks as if they were the user's own, and takes the MD5 of everything.
      await this.#client.makeRequestAsyncOmit(
        {
          method: 'PUT',
          bucketName: this.#settings.bucket,
          objectName: key,
          headers: {
            'If-None-Match': '*',
            'Content-Type': 'application/octet-stream',
            ...this.#headers(name, body),
          },
        },
        body,
        [200],
      )
      return 'created'
    } catch (error) {
      if (codeOf(error) === 'PreconditionFailed') return 'exists'
      // Another put of the same name is under way, or the object is there and locked: that it is there is what counts.
      if (isLost(codeOf(error)) && (await this.#isThere(name))) return 'exists'
      throw this.#error(error, name)
    }
  }

  #headers(name: string, body: Buffer): Record<string, string> {
    const { storageClass, lock } = this.#settings
    return {
      ...(storageClass !== undefined && isBulk(name) ? { 'X-Amz-Storage-Class': storageClass } : {}),
      // With a lock the service wants a checksum ("Managing Object Lock", Amazon S3 user guide).
      ...(lock !== undefined && !isPassing(name)
        ? {
            'Content-MD5': createHash('md5').update(body).digest('base64'),
            'X-Amz-Object-Lock-Mode': lock.mode.toUpperCase(),
            'X-Amz-Object-Lock-Retain-Until-Date': new Date(
              this.#settings.clock.now() + lock.forMs,
            ).toISOString(),
          }
        : {}),
    }
  }

  /** Reading again is always right; a put is tried again by those who know what an `exists` means to them. */
  async get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.#retrying(() => this.#get(name, range))
  }

  #retrying<T>(action: () => Promise<T>): Promise<T> {
    return readAgain(this.#silenceMs, action)
  }

  async #get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const key = this.#key(name)
    const wanted = range === undefined ? undefined : range.end - range.start
    try {
      if (wanted !== undefined && wanted <= 0)
        throw new TidemarkError('OBJECT_CORRUPT', `an empty range of ${name} was asked for`)
      const { bucket } = this.#settings
      const stream =
        range === undefined
          ? await this.#client.getObject(bucket, key)
          : await this.#client.getPartialObject(bucket, key, range.start, wanted)
      const parts: Buffer[] = []
      for await (const part of stream) parts.push(part as Buffer)
      const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
      if (wanted !== undefined && bytes.length !== wanted)
        throw new TidemarkError(
          'OBJECT_CORRUPT',
          `${name} ends at ${range!.start + bytes.length}, asked for ${range!.start}-${range!.end}`,
        )
      return bytes
    } catch (error) {
      if (codeOf(error) === 'InvalidRange')
        throw new TidemarkError('OBJECT_CORRUPT', `${name} is shorter than ${range?.end ?? 0} bytes`, {
          cause: error,
        })
      throw this.#error(error, name)
    }
  }

  digest(name: string): Promise<ObjectDigest> {
    return this.#retrying(async () => {
      try {
        return await digestOf(await this.#client.getObject(this.#settings.bucket, this.#key(name)))
      } catch (error) {
        throw this.#error(error, name)
      }
    })
  }

  size(name: string): Promise<number | undefined> {
    return this.#retrying(() => this.#size(name))
  }

  async #size(name: string): Promise<number | undefined> {
    try {
      return (await this.#client.statObject(this.#settings.bucket, this.#key(name))).size
    } catch (error) {
      const known = this.#error(error, name)
      if (known.code === 'STORE_NOT_FOUND') return undefined
      throw known
    }
  }

  async race(name: string, bodies: readonly Buffer[]): Promise<readonly RaceOutcome[]> {
    const errors = await raceCreates(this.#settings, this.#key(name), bodies, this.#silenceMs)
    return errors.map((error) => {
      if (error === undefined) return 'created'
      if (codeOf(error) === 'PreconditionFailed') return 'exists'
      if (isLost(codeOf(error)) && codeOf(error) !== 'AccessDenied') return 'failed'
      const known = this.#error(error, name)
      if (known.code !== 'STORE_UNREACHABLE') throw known
      return 'failed'
    })
  }

  /** Who may not put may not look, perhaps: the refusal of the put says more. */
  async #isThere(name: string): Promise<boolean> {
    try {
      return (await this.size(name)) !== undefined
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'STORE_REFUSED') return false
      throw error
    }
  }

  /** What the bucket or an object answers to a question about itself. */
  #ask(query: string, objectName?: string): Promise<string> {
    return this.#retrying(async () => {
      try {
        const answer = await this.#client.makeRequestAsync({
          method: 'GET',
          bucketName: this.#settings.bucket,
          ...(objectName === undefined ? {} : { objectName }),
          query,
        })
        const parts: Buffer[] = []
        for await (const part of answer) parts.push(part as Buffer)
        return Buffer.concat(parts).toString('utf8')
      } catch (error) {
        const known = this.#error(error, objectName ?? 'a question about the bucket')
        if (known.code === 'STORE_UNREACHABLE') throw known
        throw error
      }
    })
  }

  async *list(prefix: string): AsyncIterable<string> {
    const { prefix: own } = this.#settings
    try {
      for await (const { key } of listKeys((query) => this.#ask(query), own + prefix))
        yield key.slice(own.length)
    } catch (error) {
      throw this.#error(error, `${prefix}*`)
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await this.#client.removeObject(this.#settings.bucket, this.#key(name))
    } catch (error) {
      throw this.#error(error, name)
    }
  }

  /**
   * Deletion markers too: they hide what is under them, and take room like the rest. What is there now where the service knows no versions, or
   * lists none of what is there.
   */
  async *kept(prefix: string): AsyncIterable<KeptObject> {
    try {
      let isEmpty = true
      for await (const { key, at, bytes, version } of this.#versionsBelow(prefix)) {
        isEmpty = false
        yield { name: this.#nameOf(key), at, bytes, version }
      }
      if (!isEmpty) return
      for await (const { key, at, bytes } of listKeys(
        (query) => this.#ask(query),
        this.#settings.prefix + prefix,
      ))
        yield { name: this.#nameOf(key), at, bytes, version: undefined }
    } catch (error) {
      throw this.#error(error, `${prefix}*`)
    }
  }

  #nameOf(key: string): string {
    return key.slice(this.#settings.prefix.length)
  }

  /** None where there is no such thing, or no right to it. */
  async *#versionsBelow(prefix: string): AsyncGenerator<ListedKey> {
    try {
      // `null`: written while the bucket had no versions, and no version to be named where it has none now.
      for await (const one of listVersions((query) => this.#ask(query), this.#settings.prefix + prefix))
        yield one.version === 'null' ? { ...one, version: undefined } : one
    } catch (error) {
      if (!NO_VERSIONS.has(codeOf(error))) throw error
    }
  }

  async purge({ name, version }: KeptObject): Promise<'purged' | 'locked'> {
    try {
      await this.#client.removeObject(
        this.#settings.bucket,
        this.#key(name),
        version === undefined ? undefined : { versionId: version },
      )
      return 'purged'
    } catch (error) {
      if (LOCKED.has(codeOf(error)) && (await this.#isLocked(name, version))) return 'locked'
      throw this.#error(error, name)
    }
  }

  #isLocked(name: string, version: string | undefined): Promise<boolean> {
    const objectName = this.#key(name)
    const asking = {
      head: async (query: string): Promise<IncomingHttpHeaders> => {
        const { bucket: bucketName, region } = this.#settings
        const request = { method: 'HEAD', bucketName, objectName, query }
        const answer = await this.#client.makeRequestAsync(request, '', [200], region)
        answer.resume()
        return answer.headers
      },
      get: (query: string) => this.#ask(query, objectName),
    }
    return isLocked(asking, version, this.#settings.clock.now())
  }

  /** In a bucket with versions: what was overwritten or deleted since, the newest first. */
  async *versions(name: string): AsyncIterable<Buffer> {
    const key = this.#key(name)
    try {
      const found: ListedKey[] = []
      for await (const one of this.#versionsBelow(name))
        if (one.key === key && one.version !== undefined && !one.isMarker) found.push(one)
      for (const { version } of found.sort((a, b) => b.at - a.at)) {
        const parts: Buffer[] = []
        const body = await this.#client.getObject(this.#settings.bucket, key, { versionId: version! })
        for await (const part of body) parts.push(part as Buffer)
        yield Buffer.concat(parts)
      }
    } catch (error) {
      throw this.#error(error, name)
    }
  }

  alternatives(name: string): AsyncIterable<Buffer> {
    return this.versions(name)
  }

  /** What correctness and retention need to know of this bucket. */
  async facts(): Promise<StoreFacts> {
    try {
      return {
        versioning: await this.#whether('versioning', versioningOf),
        objectLock: await this.#whether('object-lock', hasLock),
        now: await this.#now(),
      }
    } catch (error) {
      throw this.#error(error, "the bucket's settings")
    }
  }

  /** A service without such a setting has it off. */
  async #whether(setting: string, read: (answer: string) => boolean): Promise<boolean> {
    try {
      return read(await this.#ask(queryOf({ [setting]: '' })))
    } catch (error) {
      if (isUnset(error)) return false
      throw error
    }
  }

  async #now(): Promise<number | undefined> {
    const { bucket, region } = this.#settings
    const answer = await this.#client.makeRequestAsync(
      { method: 'HEAD', bucketName: bucket },
      '',
      [200],
      region,
    )
    // Nobody reads what has no body: its socket would be kept open until the deadline of a request.
    answer.resume()
    return answer.headers.date === undefined ? undefined : Date.parse(answer.headers.date)
  }

  #key(name: string): string {
    if (!isObjectName(name)) throw new TidemarkError('INTERNAL', 'a name that no object may have')
    return this.#settings.prefix + name
  }

  #error(error: unknown, name: string): TidemarkError {
    return s3Error(error, name, {
      place: this.place,
      bucket: this.#settings.bucket,
      region: this.#settings.region,
    })
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

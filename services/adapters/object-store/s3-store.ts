/**
 * ObjectStore in a bucket of S3 or what speaks its protocol (AWS, MinIO, Ceph, R2, B2), through the `minio` client.
 *
 * Create-only is `If-None-Match: *` on one PUT (Amazon S3 user guide, "conditional writes"). Never multipart: the client sends the
 * condition with its first request alone, where it does not count, and goes on with strangers' unfinished uploads (hazard 87).
 * An answer that was lost comes back as `exists` when the put is tried again (hazard 85); callers compare.
 */
import { createHash } from 'node:crypto'
import { type BucketItem, Client, LEGAL_HOLD_STATUS, RETENTION_MODES } from 'minio/dist/esm/minio.mjs'
import type { Clock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import {
  isObjectName,
  type KeptObject,
  type ObjectDigest,
  type ObjectStore,
  type StoreFacts,
  type StoreLock,
} from '../../core/ports/object-store.ts'
import { isBulk, isPassing } from '../../formats/object-name.ts'
import { AmbientProvider, FileProvider } from './s3-credentials.ts'
import { digestOf } from './digest-of.ts'
import { codeOf, NO_VERSIONS, s3Error } from './s3-errors.ts'
import { readAgain, SILENT_TRIES } from './read-again.ts'
import { TimedAgent, TimedPlainAgent } from './timed-agent.ts'

export interface S3Settings {
  readonly bucket: string
  /** Of all names; empty, or with a slash at its end. */
  readonly prefix: string
  /** http or https, host, port; AWS's own where it is not given. */
  readonly endpoint: string | undefined
  readonly region: string
  /** Bucket in the path; else in the name of the host. */
  readonly pathStyle: boolean
  /** PEM of an own certificate authority. */
  readonly ca: string | undefined
  /** A file with credentials; the environment, or the machine's role, where it is not given. */
  readonly credentials: { readonly file: string; readonly profile: string } | undefined
  /** Of the objects that are many and large; the bucket's default where it is not given. */
  readonly storageClass: string | undefined
  readonly lock: { readonly mode: 'governance' | 'compliance'; readonly forMs: number } | undefined
  readonly clock: Clock
  /** LIMITS.storeSilenceMs where it is not given. */
  readonly silenceMs?: number | undefined
}

const SOCKETS = 16
/** For the client: whichever version is the newest. */
const NEWEST = ''
/** One PUT takes this much; no object of ours comes near it. */
const LARGEST_PUT = 5 * 1024 ** 3

export class S3Store implements ObjectStore {
  readonly place: string
  readonly lock?: StoreLock
  readonly #settings: S3Settings
  readonly #client: Client
  /** Of one try. */
  readonly #silenceMs: number

  constructor(settings: S3Settings) {
    this.#settings = settings
    const { endpoint, region, bucket, prefix, pathStyle, ca, credentials } = settings
    const url = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`)
    this.#silenceMs = (settings.silenceMs ?? LIMITS.storeSilenceMs) / SILENT_TRIES
    const isSecure = url.protocol === 'https:'
    this.place = `s3://${bucket}/${prefix}${endpoint === undefined ? '' : ` at ${url.host}`}`
    const kept = { keepAlive: true, maxSockets: SOCKETS }
    this.#client = new Client({
      endPoint: url.hostname,
      ...(url.port === '' ? {} : { port: Number(url.port) }),
      useSSL: isSecure,
      region,
      pathStyle,
      partSize: LARGEST_PUT,
      // Its own tries write to the terminal.
      retryOptions: { disableRetry: true },
      transportAgent: isSecure
        ? new TimedAgent({ ...kept, ...(ca === undefined ? {} : { ca }) }, this.#silenceMs)
        : new TimedPlainAgent(kept, this.#silenceMs),
      credentialsProvider:
        credentials === undefined
          ? new AmbientProvider(isSecure ? new TimedAgent({}, this.#silenceMs) : undefined)
          : new FileProvider(credentials.file, credentials.profile),
    })
    if (settings.lock !== undefined)
      this.lock = {
        ...settings.lock,
        extend: (name, until) => this.#extend(name, until),
        hold: (name, on) => this.#hold(name, on),
      }
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
      // 409: another put of the same name is under way (or a delete); the caller looks at what is there.
      if (codeOf(error) === 'PreconditionFailed') return 'exists'
      if (codeOf(error) === 'ConditionalRequestConflict' && (await this.size(name)) !== undefined)
        return 'exists'
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

  async #extend(name: string, until: number): Promise<void> {
    const { bucket, lock } = this.#settings
    await this.#locking(name, () =>
      this.#client.putObjectRetention(bucket, this.#key(name), {
        mode: lock!.mode === 'governance' ? RETENTION_MODES.GOVERNANCE : RETENTION_MODES.COMPLIANCE,
        retainUntilDate: new Date(until).toISOString(),
        versionId: NEWEST,
      }),
    )
  }

  async #hold(name: string, on: boolean): Promise<void> {
    await this.#locking(name, async () =>
      this.#client.setObjectLegalHold(this.#settings.bucket, this.#key(name), {
        status: on ? LEGAL_HOLD_STATUS.ENABLED : LEGAL_HOLD_STATUS.DISABLED,
      }),
    )
  }

  async #locking(name: string, action: () => Promise<void>): Promise<void> {
    await this.#retrying(async () => {
      try {
        await action()
      } catch (error) {
        // Hidden by a deletion: 405.
        const known = this.#error(error, name)
        if (known.code !== 'STORE_NOT_FOUND' && codeOf(error) !== 'MethodNotAllowed') throw known
      }
    })
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

  async *list(prefix: string): AsyncIterable<string> {
    const { bucket, prefix: own } = this.#settings
    try {
      for await (const item of this.#client.listObjectsV2(bucket, own + prefix, true)) {
        const { name } = item as BucketItem
        if (name !== undefined) yield name.slice(own.length)
      }
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

  /** Deletion markers too: they hide what is under them, and take room like the rest. Without versions to be had, what is there now. */
  async *kept(prefix: string): AsyncIterable<KeptObject> {
    const { bucket, prefix: own } = this.#settings
    try {
      for (const versions of [true, false]) {
        try {
          const listing = versions
            ? this.#client.listObjects(bucket, own + prefix, true, { IncludeVersion: true })
            : this.#client.listObjectsV2(bucket, own + prefix, true)
          for await (const item of listing) {
            const { name, versionId, lastModified, size } = item as ListedVersion
            if (name !== undefined)
              yield {
                name: name.slice(own.length),
                at: lastModified?.getTime() ?? 0,
                bytes: size ?? 0,
                version: versionId === 'null' ? undefined : versionId,
              }
          }
          return
        } catch (error) {
          if (!versions || !NO_VERSIONS.has(codeOf(error))) throw error
        }
      }
    } catch (error) {
      throw this.#error(error, `${prefix}*`)
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
      // AWS answers 403 for what is locked, MinIO 400; only where it is locked is that an answer.
      if (
        ['AccessDenied', 'InvalidRequest', 'ObjectLocked'].includes(codeOf(error)) &&
        (await this.#isLocked(name, version))
      )
        return 'locked'
      throw this.#error(error, name)
    }
  }

  async #isLocked(name: string, version: string | undefined): Promise<boolean> {
    const { bucket } = this.#settings
    const which = { versionId: version ?? NEWEST }
    const answers = await Promise.allSettled([
      this.#client.getObjectRetention(bucket, this.#key(name), which),
      this.#client.getObjectLegalHold(bucket, this.#key(name), which),
    ])
    const [retention, hold] = answers.map((answer) =>
      answer.status === 'fulfilled' ? (answer.value as unknown) : undefined,
    )
    const until = (retention as { retainUntilDate?: string } | undefined)?.retainUntilDate
    return (
      (until !== undefined && Date.parse(until) > this.#settings.clock.now()) ||
      hold === 'ON' ||
      (hold as { status?: string } | undefined)?.status === 'ON'
    )
  }

  /** In a bucket with versions: what was overwritten or deleted since, the newest first. */
  async *versions(name: string): AsyncIterable<Buffer> {
    const { bucket } = this.#settings
    const key = this.#key(name)
    try {
      const versions: { readonly id: string; readonly at: number }[] = []
      for await (const item of this.#client.listObjects(bucket, key, true, { IncludeVersion: true })) {
        const { name: found, versionId, lastModified, isDeleteMarker } = item as ListedVersion
        if (found === key && versionId !== undefined && versionId !== 'null' && isDeleteMarker !== true)
          versions.push({ id: versionId, at: lastModified?.getTime() ?? 0 })
      }
      for (const { id } of versions.sort((a, b) => b.at - a.at)) {
        const parts: Buffer[] = []
        for await (const part of await this.#client.getObject(bucket, key, { versionId: id }))
          parts.push(part as Buffer)
        yield Buffer.concat(parts)
      }
    } catch (error) {
      // A service without versions, or credentials that may not list them: none are known.
      if (NO_VERSIONS.has(codeOf(error))) return
      throw this.#error(error, name)
    }
  }

  alternatives(name: string): AsyncIterable<Buffer> {
    return this.versions(name)
  }

  /** What correctness and retention need to know of this bucket. */
  async facts(): Promise<StoreFacts> {
    const { bucket } = this.#settings
    try {
      const versioning = await this.#client.getBucketVersioning(bucket)
      const { headers } = await this.#client.makeRequestAsync(
        { method: 'HEAD', bucketName: bucket },
        '',
        [200],
        this.#settings.region,
      )
      return {
        versioning: versioning.Status === 'Enabled',
        objectLock: await this.#hasObjectLock(),
        now: headers.date === undefined ? undefined : Date.parse(headers.date),
      }
    } catch (error) {
      throw this.#error(error, "the bucket's settings")
    }
  }

  async #hasObjectLock(): Promise<boolean> {
    try {
      const config: unknown = await this.#client.getObjectLockConfig(this.#settings.bucket)
      return typeof config === 'object' && config !== null && 'objectLockEnabled' in config
    } catch (error) {
      if (['ObjectLockConfigurationNotFoundError', 'NotImplemented'].includes(codeOf(error))) return false
      throw error
    }
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

/** As a service's listing of versions has it. */
interface ListedVersion {
  readonly name?: string
  readonly versionId?: string
  readonly lastModified?: Date
  readonly size?: number
  readonly isDeleteMarker?: boolean
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * ObjectStore in a bucket of S3 or what speaks its protocol (AWS, MinIO, Ceph, R2, B2), through the `minio` client.
 *
 * Create-only is `If-None-Match: *` on one PUT (Amazon S3 user guide, "conditional writes"). Never multipart: the client sends the
 * condition with its first request alone, where it does not count, and goes on with strangers' unfinished uploads (hazard 87).
 * An answer that was lost comes back as `exists` when the put is tried again (hazard 85); callers compare.
 */
import { Agent as PlainAgent, type AgentOptions } from 'node:http'
import { Agent } from 'node:https'
import type { Socket } from 'node:net'
import { CredentialProvider } from 'minio/dist/esm/CredentialProvider.mjs'
import { Credentials } from 'minio/dist/esm/Credentials.mjs'
import { type BucketItem, Client, IamAwsProvider } from 'minio/dist/esm/minio.mjs'
import { TidemarkError } from '../../core/errors.ts'
import { isObjectName, type ObjectStore, type StoreFacts } from '../../core/ports/object-store.ts'
import { CREDENTIALS_MS, keysOfFile } from './store-credentials.ts'

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
}

/** A socket that says nothing for so long while somebody waits is dead. */
const SILENCE_MS = 30_000
const SOCKETS = 16
/** Between tries of a read. */
const PAUSES_MS = [100, 400, 1600]
/** One PUT takes this much; no object of ours comes near it. */
const LARGEST_PUT = 5 * 1024 ** 3

export class S3Store implements ObjectStore {
  readonly place: string
  readonly #settings: S3Settings
  readonly #client: Client

  constructor(settings: S3Settings) {
    this.#settings = settings
    const { endpoint, region, bucket, prefix, pathStyle, ca, credentials } = settings
    const url = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`)
    const isSecure = url.protocol === 'https:'
    this.place = `s3://${bucket}/${prefix}${endpoint === undefined ? '' : ` at ${url.host}`}`
    this.#client = new Client({
      endPoint: url.hostname,
      ...(url.port === '' ? {} : { port: Number(url.port) }),
      useSSL: isSecure,
      region,
      pathStyle,
      partSize: LARGEST_PUT,
      // Its own tries write to the terminal.
      retryOptions: { disableRetry: true },
      transportAgent: isSecure ? new TimedAgent({ keepAlive: true, maxSockets: SOCKETS, ...(ca === undefined ? {} : { ca }) }) : new TimedPlainAgent({ keepAlive: true, maxSockets: SOCKETS }),
      credentialsProvider: credentials === undefined ? new AmbientProvider(isSecure ? new Agent() : undefined) : new FileProvider(credentials.file, credentials.profile),
    })
  }

  async putIfAbsent(name: string, chunks: readonly Uint8Array[], signal?: AbortSignal): Promise<'created' | 'exists'> {
    const key = this.#key(name)
    signal?.throwIfAborted()
    const body = chunks.length === 1 ? asBuffer(chunks[0]!) : Buffer.concat(chunks)
    try {
      await this.#client.putObject(this.#settings.bucket, key, body, body.length, { 'If-None-Match': '*', 'Content-Type': 'application/octet-stream' })
      return 'created'
    } catch (error) {
      // 409: another put of the same name is under way (or a delete); the caller looks at what is there.
      if (codeOf(error) === 'PreconditionFailed') return 'exists'
      if (codeOf(error) === 'ConditionalRequestConflict' && (await this.size(name)) !== undefined) return 'exists'
      throw this.#error(error, name)
    }
  }

  /** Reading again is always right; a put is tried again by those who know what an `exists` means to them. */
  async get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.#retrying(() => this.#get(name, range))
  }

  async #retrying<T>(action: () => Promise<T>): Promise<T> {
    for (const pause of PAUSES_MS) {
      try {
        return await action()
      } catch (error) {
        if (!(error instanceof TidemarkError) || error.code !== 'STORE_UNREACHABLE') throw error
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
    return action()
  }

  async #get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const key = this.#key(name)
    const wanted = range === undefined ? undefined : range.end - range.start
    try {
      if (wanted !== undefined && wanted <= 0) throw new TidemarkError('OBJECT_CORRUPT', `an empty range of ${name} was asked for`)
      const { bucket } = this.#settings
      const stream = range === undefined ? await this.#client.getObject(bucket, key) : await this.#client.getPartialObject(bucket, key, range.start, wanted)
      const parts: Buffer[] = []
      for await (const part of stream) parts.push(part as Buffer)
      const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
      if (wanted !== undefined && bytes.length !== wanted) throw new TidemarkError('OBJECT_CORRUPT', `${name} ends at ${range!.start + bytes.length}, asked for ${range!.start}-${range!.end}`)
      return bytes
    } catch (error) {
      if (codeOf(error) === 'InvalidRange') throw new TidemarkError('OBJECT_CORRUPT', `${name} is shorter than ${range?.end ?? 0} bytes`, { cause: error })
      throw this.#error(error, name)
    }
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

  /** In a bucket with versions: what was overwritten or deleted since, the newest first. */
  async *versions(name: string): AsyncIterable<Buffer> {
    const { bucket } = this.#settings
    const key = this.#key(name)
    try {
      const versions: { readonly id: string; readonly at: number }[] = []
      for await (const item of this.#client.listObjects(bucket, key, true, { IncludeVersion: true })) {
        const { name: found, versionId, lastModified, isDeleteMarker } = item as { name?: string; versionId?: string; lastModified?: Date; isDeleteMarker?: boolean }
        if (found === key && versionId !== undefined && versionId !== 'null' && isDeleteMarker !== true) versions.push({ id: versionId, at: lastModified?.getTime() ?? 0 })
      }
      for (const { id } of versions.sort((a, b) => b.at - a.at)) {
        const parts: Buffer[] = []
        for await (const part of await this.#client.getObject(bucket, key, { versionId: id })) parts.push(part as Buffer)
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
    const { bucket } = this.#settings
    try {
      const versioning = await this.#client.getBucketVersioning(bucket)
      const { headers } = await this.#client.makeRequestAsync({ method: 'HEAD', bucketName: bucket }, '', [200], this.#settings.region)
      return { versioning: versioning.Status === 'Enabled', objectLock: await this.#hasObjectLock(), now: headers.date === undefined ? undefined : Date.parse(headers.date) }
    } catch (error) {
      throw this.#error(error, 'the bucket\'s settings')
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
    if (error instanceof TidemarkError) return error
    const code = codeOf(error)
    const options = { cause: error }
    if (['NoSuchKey', 'NotFound'].includes(code)) return new TidemarkError('STORE_NOT_FOUND', `no object ${name}`, options)
    if (code === 'NoSuchBucket') return new TidemarkError('STORE_REFUSED', `there is no bucket ${this.#settings.bucket}`, { ...options, next: 'make the bucket, or correct the URL of the store' })
    if (['XMinioStorageFull', 'QuotaExceeded', 'EntityTooLarge'].includes(code)) return new TidemarkError('STORE_FULL', `${this.place} answers ${code} for ${name}`, options)
    if (['AuthorizationHeaderMalformed', 'PermanentRedirect', 'IllegalLocationConstraintException'].includes(code)) return new TidemarkError('STORE_REFUSED', `the bucket is not in region ${this.#settings.region}`, { ...options, next: 'set region= in the URL of the store' })
    if (REFUSALS.has(code)) return new TidemarkError('STORE_REFUSED', `${this.place} answers ${code} for ${name}`, options)
    if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(code)) return new TidemarkError('STORE_REFUSED', `the certificate of ${this.place} is not trusted (${code})`, { ...options, next: 'set ca=FILE in the URL of the store to the authority that signed it' })
    // The service's own trouble, a cut connection, a silent socket: it may pass.
    return new TidemarkError('STORE_UNREACHABLE', `${this.place} answers ${code === '' ? 'nothing that is understood' : code} for ${name}`, options)
  }
}

const REFUSALS = new Set(['AccessDenied', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'InvalidTokenId', 'TokenRefreshRequired', 'RequestTimeTooSkewed', 'Forbidden', 'UnauthorizedAccess'])

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return error instanceof Error && error.name !== 'Error' ? error.name : ''
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function watched<S extends Pick<Socket, 'setTimeout' | 'destroy'>>(socket: S): S {
  socket.setTimeout(SILENCE_MS, () => socket.destroy(Object.assign(new Error('silent'), { code: 'ETIMEDOUT' })))
  return socket
}

class TimedAgent extends Agent {
  override createConnection(...args: Parameters<Agent['createConnection']>): ReturnType<Agent['createConnection']> {
    const socket = super.createConnection(...args)
    return socket === undefined || socket === null ? socket : watched(socket as Socket)
  }
}

class TimedPlainAgent extends PlainAgent {
  constructor(options: AgentOptions) {
    super(options)
  }
  override createConnection(...args: Parameters<PlainAgent['createConnection']>): ReturnType<PlainAgent['createConnection']> {
    const socket = super.createConnection(...args)
    return socket === undefined || socket === null ? socket : watched(socket as Socket)
  }
}

/** Keys in a file, read again after a while: renewing them needs no restart. */
class FileProvider extends CredentialProvider {
  readonly #file: string
  readonly #profile: string
  #held: { readonly credentials: Credentials; readonly at: number } | undefined

  constructor(file: string, profile: string) {
    super({ accessKey: '', secretKey: '' })
    this.#file = file
    this.#profile = profile
  }

  override async getCredentials(): Promise<Credentials> {
    if (this.#held !== undefined && performance.now() - this.#held.at < CREDENTIALS_MS) return this.#held.credentials
    const { accessKey, secretKey, sessionToken } = await keysOfFile(this.#file, this.#profile)
    const credentials = new Credentials({ accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }) })
    this.#held = { credentials, at: performance.now() }
    return credentials
  }
}

/** The environment's keys, else the machine's or the pod's role, which the client renews by itself. */
class AmbientProvider extends CredentialProvider {
  readonly #role: IamAwsProvider

  constructor(agent: Agent | undefined) {
    super({ accessKey: '', secretKey: '' })
    this.#role = new IamAwsProvider(agent === undefined ? {} : { transportAgent: agent })
  }

  override async getCredentials(): Promise<Credentials> {
    const { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey, AWS_SESSION_TOKEN: sessionToken } = process.env
    if (accessKey !== undefined && secretKey !== undefined) return new Credentials({ accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }) })
    try {
      return await this.#role.getCredentials()
    } catch (error) {
      throw new TidemarkError('STORE_REFUSED', 'no credentials for S3: neither a file (credentials=FILE), nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a role of this machine', { cause: error })
    }
  }
}

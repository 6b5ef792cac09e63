/**
 * ObjectStore in a container of Azure Blob Storage. Create-only is `If-None-Match: *` on one Put Blob ("Specifying conditional
 * headers for Blob service operations"); 409 BlobAlreadyExists is its other name.
 */
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import {
  type ContainerClient,
  type ContainerListBlobFlatSegmentResponse,
  RestError,
  StorageRetryPolicyType,
  StorageSharedKeyCredential,
  BlobServiceClient,
} from '@azure/storage-blob'
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
import { readProfile } from './store-credentials.ts'

export interface AzureSettings {
  /** The container. */
  readonly bucket: string
  readonly prefix: string
  /** Of the blob service; the account's own where it is not given. */
  readonly endpoint: string | undefined
  readonly account: string | undefined
  readonly ca: string | undefined
  /** A file with azure_storage_account, and azure_storage_key or azure_storage_sas; else the environment's variables of these names. */
  readonly credentials: string | undefined
  /** Of the objects that are many and large; the account's default where it is not given. */
  readonly tier: 'Hot' | 'Cool' | 'Cold' | undefined
  /** LIMITS.storeSilenceMs where it is not given. */
  readonly silenceMs?: number | undefined
}

const RETRIES = 3
const PAGE = 5000

export class AzureStore implements ObjectStore {
  readonly place: string
  readonly #settings: AzureSettings
  #container: Promise<ContainerClient> | undefined

  constructor(settings: AzureSettings) {
    this.#settings = settings
    this.place = `azblob://${settings.bucket}/${settings.prefix}${settings.endpoint === undefined ? '' : ` at ${new URL(settings.endpoint).host}`}`
  }

  async putIfAbsent(
    name: string,
    chunks: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<'created' | 'exists'> {
    const blob = (await this.#open()).getBlockBlobClient(this.#key(name))
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    try {
      const tier = this.#settings.tier !== undefined && isBulk(name) ? { tier: this.#settings.tier } : {}
      await this.#within(name, (progress) =>
        blob.upload(body, body.length, {
          conditions: { ifNoneMatch: '*' },
          ...tier,
          onProgress: progress.moved,
          abortSignal: signal === undefined ? progress.signal : AbortSignal.any([signal, progress.signal]),
        }),
      )
      return 'created'
    } catch (error) {
      if (codeOf(error) === 'BlobAlreadyExists' || codeOf(error) === 'ConditionNotMet') return 'exists'
      if (signal?.aborted === true) throw signal.reason
      throw this.#error(error, name)
    }
  }

  async get(name: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    if (range !== undefined && range.end <= range.start)
      throw new TidemarkError('OBJECT_CORRUPT', `an empty range of ${name} was asked for`)
    const blob = (await this.#open()).getBlockBlobClient(this.#key(name))
    try {
      const { bytes, length } = await this.#within(name, async ({ moved, signal: abortSignal }) => {
        const answer = await blob.download(
          range?.start,
          range === undefined ? undefined : range.end - range.start,
          {
            abortSignal,
          },
        )
        return {
          bytes: await collect(answer.readableStreamBody ?? Readable.from([]), moved),
          length: answer.contentLength,
        }
      })
      if (range !== undefined && bytes.length !== range.end - range.start)
        throw new TidemarkError(
          'OBJECT_CORRUPT',
          `${name} ends at ${range.start + bytes.length}, asked for ${range.start}-${range.end}`,
        )
      if (range === undefined && bytes.length !== length)
        throw new TidemarkError('STORE_UNREACHABLE', `${this.place} cut ${name} short`)
      return bytes
    } catch (error) {
      if (codeOf(error) === 'InvalidRange')
        throw new TidemarkError('OBJECT_CORRUPT', `${name} is shorter than ${range?.end ?? 0} bytes`, {
          cause: error,
        })
      throw this.#error(error, name)
    }
  }

  async digest(name: string): Promise<ObjectDigest> {
    const blob = (await this.#open()).getBlockBlobClient(this.#key(name))
    try {
      const { digest, length } = await this.#within(name, async ({ moved, signal: abortSignal }) => {
        const answer = await blob.download(undefined, undefined, { abortSignal })
        const body = answer.readableStreamBody
        return {
          digest: body === undefined ? { bytes: 0, sha256: '' } : await digestOf(moving(body, moved)),
          length: answer.contentLength,
        }
      })
      if (digest.bytes !== length)
        throw new TidemarkError('STORE_UNREACHABLE', `${this.place} cut ${name} short`)
      return digest
    } catch (error) {
      throw this.#error(error, name)
    }
  }

  async size(name: string): Promise<number | undefined> {
    try {
      const blob = (await this.#open()).getBlockBlobClient(this.#key(name))
      const properties = await this.#within(name, ({ signal: abortSignal }) =>
        blob.getProperties({ abortSignal }),
      )
      return properties.contentLength
    } catch (error) {
      const known = this.#error(error, name)
      if (known.code === 'STORE_NOT_FOUND') return undefined
      throw known
    }
  }

  async *list(prefix: string): AsyncIterable<string> {
    for await (const { name } of this.kept(prefix)) yield name
  }

  async remove(name: string): Promise<void> {
    try {
      const blob = (await this.#open()).getBlockBlobClient(this.#key(name))
      await this.#within(name, ({ signal: abortSignal }) => blob.deleteIfExists({ abortSignal }))
    } catch (error) {
      throw this.#error(error, name)
    }
  }

  /** Versions and soft deletion are the account's own settings, and its own to end. */
  async *kept(prefix: string): AsyncIterable<KeptObject> {
    const { prefix: own } = this.#settings
    try {
      const container = await this.#open()
      for (let from: string | undefined; ; ) {
        const at = from
        const { segment, continuationToken } = await this.#within(
          `${prefix}*`,
          async ({ signal: abortSignal }) => {
            const pages = container
              .listBlobsFlat({ prefix: own + prefix, abortSignal })
              .byPage({ maxPageSize: PAGE, ...(at === undefined ? {} : { continuationToken: at }) })
            return (await pages.next()).value as ContainerListBlobFlatSegmentResponse
          },
        )
        for (const { name, properties } of segment.blobItems)
          yield {
            name: name.slice(own.length),
            at: properties.lastModified.getTime(),
            bytes: properties.contentLength ?? 0,
            version: undefined,
          }
        if (continuationToken === undefined || continuationToken === '') return
        from = continuationToken
      }
    } catch (error) {
      throw this.#error(error, `${prefix}*`)
    }
  }

  async purge({ name }: KeptObject): Promise<'purged' | 'locked'> {
    try {
      await this.remove(name)
      return 'purged'
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'STORE_READ_ONLY') return 'locked'
      throw error
    }
  }

  async facts(): Promise<StoreFacts> {
    try {
      const container = await this.#open()
      const properties = await this.#within('the container', ({ signal: abortSignal }) =>
        container.getProperties({ abortSignal }),
      )
      return {
        versioning: false,
        objectLock: properties.hasImmutabilityPolicy === true || properties.hasLegalHold === true,
        now: properties.date?.getTime(),
      }
    } catch (error) {
      throw this.#error(error, "the container's settings")
    }
  }

  #within<T>(name: string, action: (progress: Progress) => Promise<T>): Promise<T> {
    return withinSilence(this.place, name, this.#settings.silenceMs, action)
  }

  #key(name: string): string {
    if (!isObjectName(name)) throw new TidemarkError('INTERNAL', 'a name that no object may have')
    return this.#settings.prefix + name
  }

  #open(): Promise<ContainerClient> {
    this.#container ??= this.#connect().catch((error: unknown) => {
      this.#container = undefined
      throw error
    })
    return this.#container
  }

  async #connect(): Promise<ContainerClient> {
    const values = await this.#values()
    const account = this.#settings.account ?? values.get('azure_storage_account')
    const key = values.get('azure_storage_key')
    const sas = values.get('azure_storage_sas')
    if (account === undefined || (key === undefined && sas === undefined))
      throw new TidemarkError(
        'STORE_REFUSED',
        'no credentials for Azure: give credentials=FILE, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS',
      )
    const base = this.#settings.endpoint ?? `https://${account}.blob.core.windows.net`
    const options = {
      retryOptions: {
        retryPolicyType: StorageRetryPolicyType.EXPONENTIAL,
        maxTries: RETRIES,
        // No tryTimeoutInMs: the service would cut what is slow, however well it moves.
        retryDelayInMs: 200,
        maxRetryDelayInMs: 2000,
      },
      ...(this.#settings.ca === undefined ? {} : { tlsOptions: { ca: this.#settings.ca } }),
    }
    const service =
      sas === undefined
        ? new BlobServiceClient(base, new StorageSharedKeyCredential(account, key!), options)
        : new BlobServiceClient(`${base}?${sas.replace(/^\?/, '')}`, undefined, options)
    return service.getContainerClient(this.#settings.bucket)
  }

  async #values(): Promise<ReadonlyMap<string, string>> {
    const { credentials } = this.#settings
    if (credentials === undefined)
      return new Map(
        Object.entries(process.env).flatMap(([name, value]) =>
          value === undefined ? [] : [[name.toLowerCase(), value]],
        ),
      )
    try {
      const text = await readFile(credentials, 'utf8')
      return readProfile(text, 'default')
    } catch (error) {
      throw new TidemarkError('STORE_REFUSED', `the credentials file ${credentials} cannot be read`, {
        cause: error,
      })
    }
  }

  #error(error: unknown, name: string): TidemarkError {
    if (error instanceof TidemarkError) return error
    if (isMistake(error)) return asTidemarkError(error)
    const code = codeOf(error)
    const options = { cause: error }
    if (code === 'BlobNotFound' || (code === '404' && name !== ''))
      return new TidemarkError('STORE_NOT_FOUND', `no object ${name}`, options)
    if (code === 'ContainerNotFound')
      return new TidemarkError('STORE_REFUSED', `there is no container ${this.#settings.bucket}`, {
        ...options,
        next: 'make the container, or correct the URL of the store',
      })
    if (
      [
        'AuthenticationFailed',
        'AuthorizationFailure',
        'AuthorizationPermissionMismatch',
        'InvalidAuthenticationInfo',
        '403',
        '401',
      ].includes(code)
    ) {
      // A renewed secret in the file counts from the next call on.
      this.#container = undefined
      return new TidemarkError('STORE_REFUSED', `${this.place} answers ${code} for ${name}`, options)
    }
    if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(code))
      return new TidemarkError('STORE_REFUSED', `the certificate of ${this.place} is not trusted (${code})`, {
        ...options,
        next: 'set ca=FILE in the URL of the store to the authority that signed it',
      })
    if (
      ['InsufficientAccountPermissions', 'BlobImmutableDueToPolicy', 'BlobImmutableDueToLegalHold'].includes(
        code,
      )
    )
      return new TidemarkError('STORE_READ_ONLY', `${this.place} answers ${code} for ${name}`, options)
    return new TidemarkError(
      'STORE_UNREACHABLE',
      `${this.place} answers ${code === '' ? 'nothing that is understood' : code} for ${name}`,
      options,
    )
  }
}

/** The service's code; its status where it gives none, as for HEAD. */
function codeOf(error: unknown): string {
  if (!(error instanceof RestError)) return error instanceof Error ? error.name : ''
  const details = error.details as { errorCode?: unknown } | undefined
  if (typeof details?.errorCode === 'string') return details.errorCode
  return error.code ?? (error.statusCode === undefined ? '' : String(error.statusCode))
}

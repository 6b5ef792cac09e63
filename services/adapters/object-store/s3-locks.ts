/** Locks of single objects in an S3 bucket ("Using S3 Object Lock", Amazon S3 user guide). */
import type { IncomingHttpHeaders } from 'node:http'
import { type Client, LEGAL_HOLD_STATUS, RETENTION_MODES } from 'minio/dist/esm/minio.mjs'
import type { TidemarkError } from '../../core/errors.ts'
import type { StoreLock } from '../../core/ports/object-store.ts'
import { isHeld, retainedUntil } from './s3-answers.ts'
import { codeOf } from './s3-errors.ts'
import { queryOf } from './s3-listing.ts'

/** For the client: whichever version is the newest. */
const NEWEST = ''

interface LockedBucket {
  readonly client: Client
  readonly bucket: string
  readonly key: (name: string) => string
  readonly retrying: <T>(action: () => Promise<T>) => Promise<T>
  readonly asCoded: (error: unknown, name: string) => TidemarkError
}

export class S3Locks implements StoreLock {
  readonly mode: 'governance' | 'compliance'
  readonly forMs: number
  readonly #bucket: LockedBucket

  constructor(lock: Pick<StoreLock, 'mode' | 'forMs'>, bucket: LockedBucket) {
    this.mode = lock.mode
    this.forMs = lock.forMs
    this.#bucket = bucket
  }

  async extend(name: string, until: number): Promise<void> {
    const { client, bucket, key } = this.#bucket
    await this.#locking(name, () =>
      client.putObjectRetention(bucket, key(name), {
        mode: this.mode === 'governance' ? RETENTION_MODES.GOVERNANCE : RETENTION_MODES.COMPLIANCE,
        retainUntilDate: new Date(until).toISOString(),
        versionId: NEWEST,
      }),
    )
  }

  async hold(name: string, on: boolean): Promise<void> {
    const { client, bucket, key } = this.#bucket
    await this.#locking(name, async () =>
      client.setObjectLegalHold(bucket, key(name), {
        status: on ? LEGAL_HOLD_STATUS.ENABLED : LEGAL_HOLD_STATUS.DISABLED,
      }),
    )
  }

  async #locking(name: string, action: () => Promise<void>): Promise<void> {
    const { retrying, asCoded } = this.#bucket
    await retrying(async () => {
      try {
        await action()
      } catch (error) {
        // Hidden by a deletion: 405.
        const known = asCoded(error, name)
        if (known.code !== 'STORE_NOT_FOUND' && codeOf(error) !== 'MethodNotAllowed') throw known
      }
    })
  }
}

/** Questions about one object, with this query. */
interface Asking {
  /** The headers of a HEAD. */
  readonly head: (query: string) => Promise<IncomingHttpHeaders>
  /** The answer to a GET. */
  readonly get: (query: string) => Promise<string>
}

/** Whether an object, or one version of it, is locked now: by its own headers, or where a service does not give them, by its settings. */
export async function isLocked(asking: Asking, version: string | undefined, now: number): Promise<boolean> {
  const which = version === undefined ? {} : { versionId: version }
  const headers = await asking.head(queryOf(which)).catch((): IncomingHttpHeaders => ({}))
  const kept = headers['x-amz-object-lock-retain-until-date']
  if (typeof kept === 'string' && Date.parse(kept) > now) return true
  if (headers['x-amz-object-lock-legal-hold'] === 'ON') return true
  const [retention, hold] = await Promise.allSettled([
    asking.get(queryOf({ retention: '', ...which })).then(retainedUntil),
    asking.get(queryOf({ 'legal-hold': '', ...which })).then(isHeld),
  ])
  const until = retention.status === 'fulfilled' ? retention.value : undefined
  return (until !== undefined && until > now) || (hold.status === 'fulfilled' && hold.value)
}

/**
 * Stores by URL, as people write them; settings stand behind the question mark, secrets never.
 *
 * | store | URL |
 * |---|---|
 * | folder | `/path`, `file:relative`, `file:///path` |
 * | S3 | `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&style=path\|virtual&ca=FILE&credentials=FILE&profile=NAME&class=NAME&lock=governance\|compliance&lockFor=30d` |
 * | Azure Blob | `azblob://CONTAINER/PREFIX?endpoint=URL&account=NAME&ca=FILE&credentials=FILE&tier=hot\|cool\|cold` |
 * | Google Cloud Storage | `gs://BUCKET/PREFIX?credentials=FILE&class=NAME&endpoint=URL` |
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import type { Clock, Randomness } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import type { ObjectStore } from '../../core/ports/object-store.ts'
import { FolderStore } from './folder-store.ts'

const endpoint = z.url({ protocol: /^https?$/ }).optional()
const file = z.string().min(1).optional()
/** Those that answer a read at once: the others would make a restore wait for hours, and a repair fail. */
const READABLE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'REDUCED_REDUNDANCY',
] as const
const s3Query = z.strictObject({
  endpoint,
  region: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .default('us-east-1'),
  style: z.enum(['path', 'virtual']).optional(),
  ca: file,
  credentials: file,
  profile: z.string().default('default'),
  class: z.enum(READABLE_CLASSES).optional(),
  lock: z.enum(['governance', 'compliance']).optional(),
  lockFor: z
    .string()
    .regex(/^\d{1,5}[hd]$/, 'days or hours, such as 30d')
    .optional(),
})
const azureQuery = z.strictObject({
  endpoint,
  account: z
    .string()
    .regex(/^[a-z0-9]{3,24}$/)
    .optional(),
  ca: file,
  credentials: file,
  tier: z.enum(['hot', 'cool', 'cold']).optional(),
})
const GCS_CLASSES = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE'] as const
const gcsQuery = z.strictObject({ endpoint, credentials: file, class: z.enum(GCS_CLASSES).optional() })
const bucketName = /^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/

/**
 * @param silenceMs instead of LIMITS.storeSilenceMs
 * @throws TidemarkError CONFIG_INVALID
 */
export async function openStoreUrl(
  url: string,
  randomness: Randomness,
  clock: Clock,
  silenceMs?: number,
): Promise<ObjectStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'file') {
    const path = url.startsWith('file://') ? folderOf(url) : url.replace(/^file:/, '')
    return new FolderStore(isAbsolute(path) ? path : resolve(path), randomness)
  }
  if (scheme === 's3') {
    const { place, query } = parts(url, s3Query)
    const { S3Store } = await import('./s3-store.ts')
    return new S3Store({
      ...place,
      endpoint: query.endpoint,
      region: query.region,
      // Servers of one's own have no names for buckets, as a rule.
      pathStyle: (query.style ?? (query.endpoint === undefined ? 'virtual' : 'path')) === 'path',
      ca: pem(query.ca, url),
      credentials:
        query.credentials === undefined
          ? undefined
          : { file: resolve(query.credentials), profile: query.profile },
      storageClass: query.class,
      lock: lockOf(query.lock, query.lockFor),
      clock,
      silenceMs,
    })
  }
  if (scheme === 'azblob') {
    const { place, query } = parts(url, azureQuery)
    const { AzureStore } = await import('./azure-store.ts')
    return new AzureStore({
      ...place,
      endpoint: query.endpoint,
      account: query.account,
      ca: pem(query.ca, url),
      credentials: query.credentials === undefined ? undefined : resolve(query.credentials),
      tier: query.tier === undefined ? undefined : TIERS[query.tier],
      silenceMs,
    })
  }
  if (scheme === 'gs') {
    const { place, query } = parts(url, gcsQuery)
    const { GcsStore } = await import('./gcs-store.ts')
    return new GcsStore({
      ...place,
      endpoint: query.endpoint,
      credentials: query.credentials === undefined ? undefined : resolve(query.credentials),
      storageClass: query.class,
      silenceMs,
    })
  }
  throw new TidemarkError(
    'CONFIG_INVALID',
    `stores of the kind ${scheme} are not known; there are file:, s3:, azblob: and gs:`,
  )
}

const TIERS = { hot: 'Hot', cool: 'Cool', cold: 'Cold' } as const

function lockOf(
  mode: 'governance' | 'compliance' | undefined,
  time: string | undefined,
): { readonly mode: 'governance' | 'compliance'; readonly forMs: number } | undefined {
  if (mode === undefined && time === undefined) return undefined
  if (mode === undefined || time === undefined)
    throw new TidemarkError('CONFIG_INVALID', 'the URL of the store: lock and lockFor belong together')
  return { mode, forMs: Number(time.slice(0, -1)) * (time.endsWith('d') ? 24 : 1) * 3_600_000 }
}

function parts<S extends z.ZodType>(
  url: string,
  schema: S,
): { readonly place: { readonly bucket: string; readonly prefix: string }; readonly query: z.output<S> } {
  const wrong = (what: string): TidemarkError =>
    new TidemarkError('CONFIG_INVALID', `the URL of the store: ${what}`)
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch (error) {
    throw new TidemarkError('CONFIG_INVALID', 'the URL of the store cannot be read', { cause: error })
  }
  if (parsed.username !== '' || parsed.password !== '')
    throw wrong("credentials do not belong into it; give credentials=FILE, or the environment's")
  if (!bucketName.test(parsed.hostname))
    throw wrong(`"${parsed.hostname}" is no name of a bucket or container`)
  const path = decodeURIComponent(parsed.pathname).replace(/^\/+|\/+$/g, '')
  if (path !== '' && !/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(path))
    throw wrong('a prefix has letters, digits and . _ - between its slashes')
  const query = schema.safeParse(Object.fromEntries(parsed.searchParams))
  if (!query.success)
    throw wrong(
      query.error.issues
        .map((issue) =>
          issue.code === 'unrecognized_keys'
            ? `unknown setting ${issue.keys.join(', ')}`
            : `${issue.path.join('.')}: ${issue.message}`,
        )
        .join('; '),
    )
  return { place: { bucket: parsed.hostname, prefix: path === '' ? '' : `${path}/` }, query: query.data }
}

function pem(path: string | undefined, url: string): string | undefined {
  if (path === undefined) return undefined
  try {
    return readFileSync(resolve(path), 'utf8')
  } catch (error) {
    throw new TidemarkError(
      'CONFIG_INVALID',
      `the certificate file of ${url.slice(0, url.indexOf('?'))} cannot be read: ${path}`,
      { cause: error },
    )
  }
}

/** @throws TidemarkError CONFIG_INVALID where the first part of the path is taken for a host */
function folderOf(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (error) {
    throw new TidemarkError(
      'CONFIG_INVALID',
      'the URL of the store: a folder is file:/// and its path, or the path alone',
      {
        cause: error,
      },
    )
  }
}

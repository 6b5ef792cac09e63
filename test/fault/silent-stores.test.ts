/** A store that goes silent without closing fails every kind of request within one deadline; one that is slow does not. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStoreUrl } from '../../services/adapters/object-store/store-url.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import type { ObjectStore } from '../../services/core/ports/object-store.ts'
import { type GcsBench, NO_GCS, startGcs } from '../support/parts/fake-gcs.ts'
import { Line } from '../support/silent-line.ts'
import { type AzureBench, NO_S3, type S3Bench, startAzure, startS3 } from '../support/store-bench.ts'

let folder: string
let s3: S3Bench | undefined
let azure: AzureBench
let gcs: GcsBench | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-silent-'))
  if (NO_S3 === undefined) s3 = await startS3()
  azure = await startAzure()
  if (NO_GCS === undefined) gcs = await startGcs(join(folder, 'gcs'))
}, 590_000)

afterAll(async () => {
  await s3?.[Symbol.asyncDispose]()
  await azure[Symbol.asyncDispose]()
  await gcs?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const STORES: Readonly<Record<string, () => Promise<string>>> = {
  ...(NO_S3 === undefined ? { s3: async () => (await s3!.bucket()).url } : {}),
  ...(NO_GCS === undefined ? { gcs: async () => (await gcs!.bucket()).url } : {}),
  azure: async () => (await azure.container()).url,
}

/** Long enough for a machine that is busy with other tests, and short against what the requests would wait by themselves. */
const SILENCE_MS = 4_000
const LATE_MS = 25_000

/** The same store, by a way of its own. */
async function behind(url: string, line: Line): Promise<string> {
  const parsed = new URL(url)
  parsed.searchParams.set(
    'endpoint',
    (await line.open(parsed.searchParams.get('endpoint')!)).replace(/\/$/, ''),
  )
  return parsed.toString()
}

async function withLine(kind: string, use: (store: ObjectStore, line: Line) => Promise<void>): Promise<void> {
  const url = await STORES[kind]!()
  const line = new Line(new URL(new URL(url).searchParams.get('endpoint')!))
  try {
    await use(await openStoreUrl(await behind(url, line), systemRandomness, systemClock, SILENCE_MS), line)
  } finally {
    line.close()
  }
}

async function firstOf(items: AsyncIterable<string>): Promise<void> {
  for await (const _ of items) return
}

const REQUESTS: Readonly<Record<string, (store: ObjectStore) => Promise<unknown>>> = {
  put: (store) => store.putIfAbsent('b', [Buffer.alloc(100_000)]),
  get: (store) => store.get('a'),
  'get a part': (store) => store.get('a', { start: 1, end: 5 }),
  digest: (store) => store.digest('a'),
  size: (store) => store.size('a'),
  list: (store) => firstOf(store.list('')),
  remove: (store) => store.remove('a'),
}

/** In so many milliseconds, with this code; a request that goes on for ever is one that has not ended. */
async function endOf(request: Promise<unknown>): Promise<string> {
  const ended = request.then(
    () => 'done',
    (error: unknown) => (error instanceof TidemarkError ? error.code : String(error)),
  )
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('goes on'), LATE_MS)
  })
  return Promise.race([ended, late]).finally(() => clearTimeout(timer))
}

describe.each(Object.keys(STORES))('%s', (kind) => {
  test.each(['a socket that was used before', 'a new socket'])('every request ends: %s', async (which) => {
    await withLine(kind, async (store, line) => {
      const names = Object.keys(REQUESTS)
      if (which !== 'a new socket') {
        await store.putIfAbsent('a', [Buffer.alloc(1000, 7)])
        await Promise.all(names.map(() => store.size('a')))
      }
      line.isSilent = true
      line.newAreSilent = true
      const ends = await Promise.all(names.map(async (name) => [name, await endOf(REQUESTS[name]!(store))]))
      expect(Object.fromEntries(ends)).toEqual(
        Object.fromEntries(names.map((name) => [name, 'STORE_UNREACHABLE'])),
      )
    })
  })

  test('silence in the middle of a body ends it, and a slow one comes to its end', async () => {
    await withLine(kind, async (store, line) => {
      const bytes = Buffer.alloc(3_000_000, 'x')
      await store.putIfAbsent('large', [bytes])
      line.pieceMs = 150
      const start = performance.now()
      expect((await store.get('large')).equals(bytes)).toBe(true)
      expect(performance.now() - start).toBeGreaterThan(SILENCE_MS)
      const interrupted = endOf(store.get('large'))
      setTimeout(() => {
        line.isSilent = true
        line.newAreSilent = true
      }, 1500)
      expect(await interrupted).toBe('STORE_UNREACHABLE')
    })
  })
})

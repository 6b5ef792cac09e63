/** A store in which two writers of one name both win destroys a backup: it is found out before anything rests on it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStore } from '../../services/app/wiring/open-backup.ts'
import { examineStore } from '../../services/app/operations/examine-store.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { Backup } from '../support/backup.ts'
import { HastyS3 } from '../support/hasty-s3.ts'
import { NO_S3, type S3Bench, startS3 } from '../support/store-bench.ts'

let folder: string
let credentials: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-races-'))
  credentials = join(folder, 'credentials')
  await writeFile(credentials, '[default]\naws_access_key_id = a\naws_secret_access_key = b\n')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const levels = async (...args: Parameters<typeof examineStore>): Promise<string[]> =>
  (await examineStore(...args)).map(({ level, code }) => `${level} ${code}`)

describe('a service that looks first and writes later', () => {
  test('is right as long as one create follows another, and is refused all the same', async () => {
    await using hasty = await HastyS3.open()
    const store = await openStore(hasty.url(credentials))
    expect(await store.putIfAbsent('a', [Buffer.from('1')])).toBe('created')
    expect(await store.putIfAbsent('a', [Buffer.from('2')])).toBe('exists')
    expect((await store.get('a')).toString()).toBe('1')
    for (const care of ['quick', 'thorough'] as const) {
      expect(await levels(store, 'primary', care)).toContain('refuse STORE_UNSAFE')
      expect(await levels(store, 'mirrored', care)).toContain('warn STORE_UNSAFE')
    }
    expect([...hasty.objects.keys()]).toEqual(['chat/a'])
  })

  test('init begins no backup there', async () => {
    await using hasty = await HastyS3.open()
    await using backup = await Backup.prepare({
      setup: 'CREATE TABLE m (id int PRIMARY KEY)',
      storeUrl: hasty.url(credentials),
    })
    await expect(backup.init()).rejects.toMatchObject({ code: 'STORE_UNSAFE' })
    expect(hasty.objects.size).toBe(0)
  })

  test.each([
    [409, 'ConditionalRequestConflict'],
    [429, 'TooManyRequests'],
    [503, 'SlowDown'],
  ])('rounds that nobody wins, %s, are no proof', async (status, code) => {
    await using hasty = await HastyS3.open()
    hasty.busy = { status, code }
    const store = await openStore(hasty.url(credentials))
    expect(await levels(store, 'primary')).toContain('refuse STORE_UNTRIED')
    expect(await levels(store, 'synchronous')).toContain('warn STORE_UNTRIED')
  })
})

test('a service that keeps versions and lists none: what takes room is told all the same, and doctor says so', async () => {
  await using hasty = await HastyS3.open()
  hasty.hidesVersions = true
  const store = await openStore(hasty.url(credentials))
  await store.putIfAbsent('segments/a', [Buffer.from('12345')])
  const kept: string[] = []
  for await (const { name, bytes } of store.kept('segments/')) kept.push(`${name} ${bytes}`)
  expect(kept).toEqual(['segments/a 5'])
  expect(await levels(store, 'mirrored')).toEqual(['warn STORE_UNSAFE', 'warn STORE_HIDES_VERSIONS'])
})

test('a listing of what takes room that lacks what is there', async () => {
  const store = new MemoryStore()
  const kept = store.kept.bind(store)
  store.kept = async function* (prefix) {
    let isFirst = true
    for await (const object of kept(prefix)) {
      if (!isFirst) yield object
      isFirst = false
    }
  }
  expect(await levels(store, 'primary')).toEqual(['warn STORE_LISTS_LESS'])
})

test("a store that keeps another writer's object than the one it told so", async () => {
  const store = new MemoryStore()
  const put = store.putIfAbsent.bind(store)
  store.putIfAbsent = async (name, chunks) => {
    const outcome = await put(name, chunks)
    if (outcome === 'exists' && name.startsWith('probe/')) store.objects.set(name, Buffer.concat(chunks))
    return outcome
  }
  expect(await levels(store, 'primary')).toEqual(['refuse STORE_UNSAFE'])
})

describe.skipIf(NO_S3 !== undefined)('MinIO', () => {
  let s3: S3Bench
  beforeAll(async () => {
    s3 = await startS3()
  }, 590_000)
  afterAll(async () => {
    await s3[Symbol.asyncDispose]()
  })

  test('is safe; with locks a look leaves four small objects at most, and without nothing', async () => {
    const plain = await s3.bucket()
    expect(await levels(await openStore(plain.url), 'primary', 'thorough')).toEqual([
      'warn STORE_UNPROTECTED',
    ])
    const locked = await s3.bucket({ objectLock: true })
    await s3.client.setObjectLockConfig(locked.name, {
      mode: 'COMPLIANCE',
      unit: 'Days',
      validity: 1,
    } as Parameters<typeof s3.client.setObjectLockConfig>[1])
    const store = await openStore(locked.url)
    expect(await levels(store, 'primary')).toEqual([])
    const left: string[] = []
    for await (const { name, bytes } of store.kept('probe/')) if (bytes > 0) left.push(name)
    expect(left.length).toBe(4)
    const seen: string[] = []
    for await (const name of store.list('')) seen.push(name)
    expect(seen).toEqual([])
    const empty = await openStore(plain.url)
    for await (const { name } of empty.kept('')) seen.push(name)
    expect(seen).toEqual([])
  })
})

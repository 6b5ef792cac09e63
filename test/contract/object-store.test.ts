/** The ObjectStore contract, run by every adapter. */
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FolderStore } from '../../services/adapters/object-store/folder-store.ts'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { openStoreUrl } from '../../services/adapters/object-store/store-url.ts'
import type { KeptObject, ObjectStore } from '../../services/core/ports/object-store.ts'
import { localCertificate } from '../support/certificate.ts'
import { type GcsBench, NO_GCS, startGcs } from '../support/parts/fake-gcs.ts'
import { type AzureBench, NO_S3, type S3Bench, startAzure, startS3 } from '../support/store-bench.ts'

let s3: S3Bench
let azure: AzureBench
let gcs: GcsBench | undefined

beforeAll(async () => {
  if (NO_S3 === undefined) s3 = await startS3()
  azure = await startAzure()
  if (NO_GCS === undefined) gcs = await startGcs(join(tmpdir(), `tidemark-gcs-${process.pid}`))
}, 590_000)

afterAll(async () => {
  if (NO_S3 === undefined) await s3[Symbol.asyncDispose]()
  await azure[Symbol.asyncDispose]()
  await gcs?.[Symbol.asyncDispose]()
})

const STORES: Readonly<Record<string, () => Promise<{ store: ObjectStore; done: () => Promise<void> }>>> = {
  memory: () => Promise.resolve({ store: new MemoryStore(), done: () => Promise.resolve() }),
  folder: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-store-'))
    return { store: new FolderStore(folder, systemRandomness), done: () => rm(folder, { recursive: true }) }
  },
  s3: async () => ({
    store: await openStoreUrl((await s3.bucket()).url, systemRandomness, systemClock),
    done: () => Promise.resolve(),
  }),
  ...(NO_GCS === undefined
    ? {
        gcs: async () => ({
          store: await openStoreUrl((await gcs!.bucket()).url, systemRandomness, systemClock),
          done: () => Promise.resolve(),
        }),
      }
    : {}),
  azure: async () => ({
    store: await openStoreUrl((await azure.container()).url, systemRandomness, systemClock),
    done: () => Promise.resolve(),
  }),
}

async function names(store: ObjectStore, prefix: string): Promise<string[]> {
  const out: string[] = []
  for await (const name of store.list(prefix)) out.push(name)
  return out
}

for (const kind of Object.keys(STORES))
  describe.skipIf(kind === 's3' && NO_S3 !== undefined)(kind, () => {
    test('creates once, never replaces, and one of many writers wins', async () => {
      const { store, done } = await STORES[kind]!()
      expect(await store.putIfAbsent('a/b', [Buffer.from('one'), Buffer.from('two')])).toBe('created')
      expect(await store.putIfAbsent('a/b', [Buffer.from('other')])).toBe('exists')
      expect((await store.get('a/b')).toString()).toBe('onetwo')
      const race = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.putIfAbsent('race', [Buffer.from(String(i))])),
      )
      expect(race.filter((outcome) => outcome === 'created').length).toBe(1)
      expect((await store.get('race')).toString()).toBe(String(race.indexOf('created')))
      await done()
    })

    test('reads whole objects and exact ranges, and says what is not there', async () => {
      const { store, done } = await STORES[kind]!()
      await store.putIfAbsent('x', [Buffer.from('0123456789')])
      expect((await store.get('x', { start: 2, end: 5 })).toString()).toBe('234')
      await expect(store.get('x', { start: 5, end: 50 })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
      await expect(store.get('nothing')).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
      expect(await store.size('x')).toBe(10)
      expect(await store.size('nothing')).toBeUndefined()
      const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
      expect(await store.digest('x')).toEqual({ bytes: 10, sha256: sha256('0123456789') })
      await expect(store.digest('nothing')).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
      await store.putIfAbsent('empty', [])
      expect(await store.digest('empty')).toEqual({ bytes: 0, sha256: sha256('') })
      expect((await store.get('empty')).length).toBe(0)
      await done()
    })

    test('lists by prefix in order, removes, and tolerates removing nothing', async () => {
      const { store, done } = await STORES[kind]!()
      for (const name of ['l/2', 'l/10', 'l/1', 'l-x/1', 'm', 'l/1-a/z'])
        await store.putIfAbsent(name, [Buffer.from('x')])
      expect(await names(store, 'l/')).toEqual(['l/1', 'l/1-a/z', 'l/10', 'l/2'].sort())
      expect((await names(store, '')).length).toBe(6)
      await store.remove('l/2')
      await store.remove('l/2')
      expect(await names(store, 'l/2')).toEqual([])
      await done()
    })

    test('tells what takes room, and takes it away for ever', async () => {
      const { store, done } = await STORES[kind]!()
      for (const name of ['k/1', 'k/2', 'other/3']) await store.putIfAbsent(name, [Buffer.from('12345')])
      const kept = async (prefix: string): Promise<KeptObject[]> => {
        const out: KeptObject[] = []
        for await (const object of store.kept(prefix)) out.push(object)
        return out
      }
      const found = await kept('k/')
      expect(found.map(({ name, bytes }) => [name, bytes])).toEqual([
        ['k/1', 5],
        ['k/2', 5],
      ])
      for (const { at } of found) expect(Math.abs(at - Date.now())).toBeLessThan(120_000)
      expect(await store.purge(found[0]!)).toBe('purged')
      expect(await store.purge(found[0]!)).toBe('purged')
      expect((await kept('k/')).map(({ name }) => name)).toEqual(['k/2'])
      expect(await store.size('k/1')).toBeUndefined()
      expect((await kept('')).length).toBe(2)
      await done()
    })

    test('no name leads out of it', async () => {
      const { store, done } = await STORES[kind]!()
      for (const name of ['../x', '/x', 'a/../../x', 'a//b', '', '.hidden', 'a\0b', 'a/.'])
        await expect(store.putIfAbsent(name, [])).rejects.toThrow()
      await done()
    })

    test('many chunks and large objects', async () => {
      const { store, done } = await STORES[kind]!()
      const chunks = Array.from({ length: 3000 }, (_, i) => Buffer.alloc(1000, i))
      await store.putIfAbsent('big', chunks)
      expect((await store.get('big')).equals(Buffer.concat(chunks))).toBe(true)
      const sha256 = createHash('sha256').update(Buffer.concat(chunks)).digest('hex')
      // Several at once: none of them reads into another one's buffer.
      expect(await Promise.all(Array.from({ length: 10 }, () => store.digest('big')))).toEqual(
        Array.from({ length: 10 }, () => ({ bytes: 3_000_000, sha256 })),
      )
      await done()
    })
  })

test('the folder store leaves no temporary file behind a lost race', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-store-'))
  const store = new FolderStore(folder, systemRandomness)
  await store.putIfAbsent('a', [Buffer.from('1')])
  await store.putIfAbsent('a', [Buffer.from('2')])
  expect(await readdir(join(folder, '.tmp'))).toEqual(['reserve'])
  await rm(folder, { recursive: true })
})

test('Azure over TLS with an own authority; without it the error says which file is missing', async () => {
  const certificate = await localCertificate()
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-store-'))
  const secure = await startAzure(certificate)
  try {
    const ca = join(folder, 'ca.pem')
    await writeFile(ca, certificate.cert)
    const { url } = await secure.container()
    const store = await openStoreUrl(`${url}&ca=${encodeURIComponent(ca)}`, systemRandomness, systemClock)
    expect(await store.putIfAbsent('a', [Buffer.from('1')])).toBe('created')
    expect((await store.get('a')).toString()).toBe('1')
    await expect((await openStoreUrl(url, systemRandomness, systemClock)).get('a')).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      next: expect.stringContaining('ca=FILE') as string,
    })
  } finally {
    await secure[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  }
})

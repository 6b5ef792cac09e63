/** The stores of the world, each by its package's name: races, long listings, locks, silence, kill -9 under traffic, restore. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStoreUrl } from '../../services/adapters/object-store/store-url.ts'
import { openStore } from '../../services/app/wiring/open-backup.ts'
import { examineStore } from '../../services/app/operations/examine-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import type { KeptObject, ObjectStore } from '../../services/core/ports/object-store.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { NO_GCS, startGcs } from '../support/parts/fake-gcs.ts'
import { S3_KINDS, S3Server } from '../support/parts/s3-servers.ts'
import { Line } from '../support/silent-line.ts'
import { startAzure } from '../support/store-bench.ts'

const KEYS = 1050
const AT_ONCE = 16
const SILENCE_MS = 4_000
const LATE_MS = 60_000
const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 300) g`

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = []
  for await (const item of items) out.push(item)
  return out
}

async function refusals(store: ObjectStore): Promise<string[]> {
  const findings = await examineStore(store, 'primary', 'thorough')
  return findings.filter(({ level }) => level === 'refuse').map(({ code }) => code)
}

async function putMany(store: ObjectStore, names: readonly string[]): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < names.length) await store.putIfAbsent(names[next++]!, [Buffer.from('12345')])
    }),
  )
}

/** Everything is there once, by its listing, and by that of what takes room; what lies behind the first page goes like the rest. */
async function listLong(store: ObjectStore): Promise<void> {
  const names = Array.from({ length: KEYS }, (_, i) => `segments/g1/l0/${String(i).padStart(6, '0')}.avro`)
  await putMany(store, names)
  expect(await all(store.list('segments/'))).toEqual(names)
  const kept = await all(store.kept('segments/'))
  expect(kept.map(({ name }) => name).sort()).toEqual(names)
  const last = kept.find(({ name }) => name === names.at(-1))!
  expect(await store.purge(last)).toBe('purged')
  expect((await all(store.kept(last.name))).length).toBe(0)
  expect((await all(store.list('segments/'))).length).toBe(KEYS - 1)
}

async function equalRestore(backup: Backup): Promise<void> {
  expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
}

for (const [name, kind] of Object.entries(S3_KINDS)) {
  const why = kind.whyNot()
  if (why !== undefined) console.log(`${name} is not tested here: ${why}`)
  describe.skipIf(why !== undefined)(name, () => {
    let folder: string
    let server: S3Server
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), `tidemark-${name}-`))
      server = await S3Server.create(kind, folder)
    }, 900_000)
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    test(`creates that are ${kind.creates}`, async () => {
      const found = await refusals(await openStore((await server.bucket()).url))
      console.log(`${name}: ${found.length === 0 ? 'accepted' : found.join(', ')}`)
      if (kind.creates === 'safe') expect(found).toEqual([])
      if (kind.creates === 'unsafe') expect(found).toContain('STORE_UNSAFE')
      if (kind.creates === 'unlikely') expect(['', 'STORE_UNSAFE']).toContain(found.join())
    })

    test.skipIf(kind.creates === 'unsafe')('lists beyond a thousand keys', async () => {
      await listLong(await openStore((await server.bucket()).url))
    })

    test.skipIf(!kind.versions)('lists versions beyond a thousand keys', async () => {
      const store = await openStore((await server.bucket({ versions: true })).url)
      await listLong(store)
      await store.remove('segments/g1/l0/000007.avro')
      expect((await all(store.kept('segments/g1/l0/000007.avro'))).length).toBe(2)
      expect((await all(store.versions!('segments/g1/l0/000007.avro'))).map(String)).toEqual(['12345'])
    })

    test.skipIf(!kind.locks)(
      'locks: a race that is lost, what may not go, and a bucket without',
      async () => {
        const locking = '&lock=governance&lockFor=1h'
        const store = await openStore((await server.bucket({ locks: true })).url + locking)
        expect(await refusals(store)).not.toContain('STORE_NO_LOCK')
        expect(await store.putIfAbsent('base/a', [Buffer.from('1')])).toBe('created')
        expect(await store.putIfAbsent('base/a', [Buffer.from('2')])).toBe('exists')
        expect((await store.get('base/a')).toString()).toBe('1')
        const [object] = await all(store.kept('base/a'))
        expect(await store.purge(object!)).toBe('locked')
        await store.lock!.extend('base/a', Date.now() + 7_200_000)
        await store.lock!.hold('base/a', true)
        expect(await store.purge(object!)).toBe('locked')
        await store.lock!.hold('base/a', false)
        // moto fails over what is not there.
        if (name !== 'moto') await store.lock!.extend('base/nothing', Date.now() + 7_200_000)
        const without = await openStore((await server.bucket()).url + locking)
        expect(await refusals(without)).toContain('STORE_NO_LOCK')
        await expect(without.putIfAbsent('base/a', [Buffer.from('1')])).rejects.toMatchObject({
          code: 'STORE_NO_LOCK',
        })
      },
    )

    test('silence: every request ends', async () => {
      const { url } = await server.bucket()
      const line = new Line(new URL(server.endpoint))
      try {
        const through = new URL(url)
        through.searchParams.set('endpoint', (await line.open(server.endpoint)).replace(/\/$/, ''))
        const store = await openStoreUrl(through.toString(), systemRandomness, systemClock, SILENCE_MS)
        await store.putIfAbsent('a', [Buffer.from('1')])
        line.isSilent = true
        line.newAreSilent = true
        const start = performance.now()
        const requests: Promise<unknown>[] = [
          store.get('a'),
          store.size('a'),
          store.putIfAbsent('b', [Buffer.from('1')]),
          all<string>(store.list('')),
          all<KeptObject>(store.kept('')),
        ]
        for (const request of await Promise.allSettled(requests))
          expect(request).toMatchObject({ status: 'rejected', reason: { code: 'STORE_UNREACHABLE' } })
        expect(performance.now() - start).toBeLessThan(LATE_MS)
      } finally {
        line.close()
      }
    })

    test.skipIf(kind.creates !== 'safe')('kill -9 of the server under traffic, and a restore', async () => {
      const { url } = await server.bucket({ versions: kind.versions })
      await using backup = await Backup.prepare({ setup: SETUP, storeUrl: url })
      await backup.init()
      await backup.up()
      for (let round = 1; round <= 3; round++) {
        for (let i = 0; i < 10; i++) {
          const from = round * 100_000 + i * 1000
          await backup.source.query(
            `INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(${from}, ${from + 200}) g`,
          )
          if (i === 5) await server.kill()
        }
        await server.start()
        await backup.durable(240_000)
      }
      await backup.stop()
      await equalRestore(backup)
    })
  })
}

/** Emulators of the other protocols, from the same suite. */
const OTHERS: Readonly<
  Record<string, { readonly whyNot?: string | undefined; readonly start: (folder: string) => Promise<Other> }>
> = {
  azurite: {
    start: async () => {
      const azure = await startAzure()
      return { url: async () => (await azure.container()).url, stop: () => azure[Symbol.asyncDispose]() }
    },
  },
  'fake-gcs-server': {
    whyNot: NO_GCS,
    start: async (folder) => {
      const gcs = await startGcs(folder)
      return { url: async () => (await gcs.bucket()).url, stop: () => gcs[Symbol.asyncDispose]() }
    },
  },
}

interface Other {
  readonly url: () => Promise<string>
  readonly stop: () => PromiseLike<void>
}

for (const [name, { whyNot, start }] of Object.entries(OTHERS))
  describe.skipIf(whyNot !== undefined)(name, () => {
    let folder: string
    let other: Other
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), `tidemark-${name}-`))
      other = await start(folder)
    }, 900_000)
    afterAll(async () => {
      await other?.stop()
      await rm(folder, { recursive: true, force: true })
    })

    test('creates that are safe', async () => {
      expect(await refusals(await openStore(await other.url()))).toEqual([])
    })

    test('lists beyond a thousand keys', async () => {
      await listLong(await openStore(await other.url()))
    })

    test('a restore', async () => {
      await using backup = await Backup.prepare({ setup: SETUP, storeUrl: await other.url() })
      await backup.init()
      await backup.up()
      for (let i = 1; i < 6; i++) {
        await backup.source.query(
          `INSERT INTO m SELECT g, md5(g::text) FROM generate_series(${i * 1000}, ${i * 1000 + 100}) g`,
        )
        await backup.durable()
      }
      await backup.stop()
      await equalRestore(backup)
    })
  })

/** Locks, versions, clocks, stores that keep less than the whole, and the daily share of scrubbing: on an S3 server and Azurite. */
import { TESTER } from '../support/actor.ts'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addHold, releaseHold } from '../../services/app/operations/holds.ts'
import { copyBackup } from '../../services/app/operations/copy-backup.ts'
import type { CopyPlace } from '../../services/app/config/config.ts'
import { openBackup, openStore } from '../../services/app/wiring/open-backup.ts'
import { scrubSet } from '../../services/app/operations/scrub-set.ts'
import { extendLocks, scrubShare } from '../../services/app/daemon/upkeep.ts'
import type { UpEvent } from '../../services/app/daemon/up-events.ts'
import { systemClock } from '../../services/core/clock.ts'
import { mirror } from '../../services/repository/mirror.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { HttpProxy } from '../support/http-proxy.ts'
import {
  ahead,
  all,
  history,
  HOUR,
  isWhole,
  names,
  pruned,
  refused,
  restores,
  SETUP,
  signal,
} from '../support/retained.ts'
import { type AzureBench, NO_S3, type S3Bench, startAzure, startS3 } from '../support/store-bench.ts'

describe.skipIf(NO_S3 !== undefined)('on S3 and Azure', () => {
  let s3: S3Bench
  let azure: AzureBench

  beforeAll(async () => {
    ;[s3, azure] = await Promise.all([startS3(), startAzure()])
  }, 590_000)
  afterAll(async () => {
    await s3[Symbol.asyncDispose]()
    await azure[Symbol.asyncDispose]()
  })

  test('locks: set with the put, extended while the backup needs it, kept by the store against whoever deletes', {
    timeout: 240_000,
  }, async () => {
    const bucket = await s3.bucket({ objectLock: true, query: '&lock=governance&lockFor=1h' })
    await using backup = await Backup.prepare({ setup: SETUP, storeUrl: bucket.url })
    const { old, middle } = await history(backup)
    await backup.stop()
    const store = await openStore(bucket.url)
    const [segment] = (await names(store)).filter((name) => name.startsWith('segments/'))
    const until = async (): Promise<number> =>
      Date.parse(
        (
          (await s3.client.getObjectRetention(bucket.name, `chat/${segment}`, {
            versionId: '',
          })) as unknown as { retainUntilDate: string }
        ).retainUntilDate,
      )
    const first = await until()
    expect(first - Date.now()).toBeGreaterThan(HOUR - 120_000)
    const version = (await all(store.kept(segment!))).at(-1)!
    expect(await store.purge(version)).toBe('locked')
    // Half their time later they are extended; before that they are not.
    const said: UpEvent[] = []
    const { repository } = await openBackup({ storeUrl: bucket.url, keys: backup.keys, role: 'writer' })
    await extendLocks({ repository, say: (event) => void said.push(event), clock: ahead(HOUR / 4) }, signal)
    expect(said).toEqual([])
    await extendLocks({ repository, say: (event) => void said.push(event), clock: ahead(HOUR * 0.6) }, signal)
    expect(said).toMatchObject([{ event: 'locks' }])
    expect(await until()).toBeGreaterThan(first + HOUR / 2)
    await extendLocks({ repository, say: (event) => void said.push(event), clock: systemClock }, signal)
    expect(said.length).toBe(1)
    // A legal hold stands on the objects; taken back, the lock still does.
    const place = { storeUrl: bucket.url, keys: backup.keys }
    const held = await addHold({
      actor: TESTER,
      place,
      reason: 'case 1',
      from: undefined,
      to: undefined,
      until: undefined,
      signal,
    })
    expect(held.objects[0]!.objects).toBeGreaterThan(10)
    const isHeld = async (): Promise<string> =>
      JSON.stringify(await s3.client.getObjectLegalHold(bucket.name, `chat/${segment}`, { versionId: '' }))
    expect(await isHeld()).toContain('ON')
    await releaseHold(place, TESTER, held.hold.id, signal)
    expect(await isHeld()).toContain('OFF')
    // Retired and removed: the store keeps what is locked, and says so.
    await pruned(backup, { graceMs: 0 })
    const removing = await pruned(backup)
    expect(removing.cleared[0]).toMatchObject({ objects: 0 })
    expect(removing.cleared[0]!.locked).toBeGreaterThan(3)
    await restores(backup, middle)
    await expect(backup.restore(old.at)).rejects.toMatchObject(refused)
  })

  test('a bucket with versions: removed means gone, every version of it', { timeout: 240_000 }, async () => {
    const bucket = await s3.bucket()
    await s3.client.setBucketVersioning(bucket.name, { Status: 'Enabled' })
    await using backup = await Backup.prepare({
      setup: SETUP,
      storeUrl: `${bucket.url}&class=REDUCED_REDUNDANCY`,
    })
    const { middle } = await history(backup)
    const store = await openStore(bucket.url)
    const [oldest] = (await names(store)).filter((name) => name.startsWith('segments/'))
    expect(
      (await s3.client.statObject(bucket.name, `chat/${oldest}`)).metaData['storage-class'] ??
        JSON.stringify((await s3.client.statObject(bucket.name, `chat/${oldest}`)).metaData),
    ).toContain('REDUCED_REDUNDANCY')
    // Somebody hid one of them.
    await store.remove(oldest!)
    await pruned(backup, { graceMs: 0 })
    await pruned(backup)
    expect(await all(store.kept(oldest!))).toEqual([])
    await restores(backup, middle)
    await isWhole(backup)
  })

  test('the clock of a store that disagrees stops prune', { timeout: 120_000 }, async () => {
    const bucket = await s3.bucket()
    await using backup = await Backup.prepare({ setup: SETUP, storeUrl: bucket.url })
    await history(backup)
    const before = await names(await openStore(bucket.url))
    for (const ms of [5 * 60_000, -5 * 60_000])
      await expect(pruned(backup, { clock: ahead(ms) })).rejects.toMatchObject({ code: 'PRUNE_CLOCK' })
    expect(await names(await openStore(bucket.url))).toEqual(expect.arrayContaining(before))
  })

  test('a local store keeps days, the archive everything: neither is damaged, and both together reach back', {
    timeout: 240_000,
  }, async () => {
    const [container, early] = [await azure.container(), await s3.bucket()]
    const archive: CopyPlace = { url: container.url, role: 'archive', mode: 'mirrored', bandwidth: undefined }
    await using backup = await Backup.prepare({ setup: SETUP })
    const { old, middle, last } = await history(backup)
    await backup.stop()
    const keep = { copies: [archive], storeKeepMs: [0, undefined], keepMs: 1000 * HOUR }
    // The archive has nothing yet: nothing is taken away here.
    const refusedTrim = await pruned(backup, keep)
    expect(refusedTrim.trims).toMatchObject([{ from: null, because: 'no other store has all of it yet' }])
    const before = (await names(await openStore(backup.storeUrl))).length
    await copyBackup({
      actor: TESTER,
      from: { storeUrl: backup.storeUrl, keys: backup.keys },
      to: container.url,
      bandwidth: undefined,
      signal,
    })
    const trimmed = await pruned(backup, keep)
    expect(trimmed.trims[0]!.from).not.toBeNull()
    expect(trimmed.cleared[0]!.objects).toBeGreaterThan(3)
    const left = (await names(await openStore(backup.storeUrl))).length
    expect(left).toBeLessThan(before)
    // Alone it begins later, and is whole from there on.
    for (const point of [middle, last]) await restores(backup, point)
    await expect(backup.restore(old.at)).rejects.toMatchObject(refused)
    await isWhole(backup)
    // Together they reach back; nothing is put back, nothing is said to be wrong.
    expect(await restores(backup, old, { copies: [archive] })).toEqual(
      expect.not.arrayContaining([expect.stringMatching(/put back/)]),
    )
    const opened = await openBackup({
      storeUrl: backup.storeUrl,
      copies: [archive],
      keys: backup.keys,
      role: 'writer',
    })
    await copyBackup({
      actor: TESTER,
      from: { storeUrl: backup.storeUrl, copies: [archive], keys: backup.keys },
      to: container.url,
      bandwidth: undefined,
      signal,
    })
    expect((await scrubSet(opened, { part: 0, parts: 1 }, signal)).faults).toEqual([])
    expect((await names(await openStore(backup.storeUrl))).length).toBe(left)
    // A third store that is filled now gets everything, from the archive.
    await copyBackup({
      actor: TESTER,
      from: { storeUrl: backup.storeUrl, copies: [archive], keys: backup.keys },
      to: early.url,
      bandwidth: undefined,
      signal,
    })
    await restores(backup, old, { storeUrl: early.url })
    expect((await readdir(`${backup.storeUrl}/trims`)).length).toBe(1)
  })

  test('a copy that answers faster than the primary is read, and neither written to nor trimmed in its place', {
    timeout: 240_000,
  }, async () => {
    await using line = await HttpProxy.open(s3.certificate)
    line.to(s3.minio.port)
    const { url } = await s3.bucket({ through: line.port })
    await using backup = await Backup.prepare({ setup: SETUP, storeUrl: url })
    const { old, middle, last } = await history(backup)
    await backup.stop()
    const near = await mkdtemp(join(tmpdir(), 'tidemark-near-'))
    // To the last entry, as `up` does; the command for it leaves a trace behind what it copied.
    const fill = async (): Promise<void> => {
      const { repository } = await openBackup({ storeUrl: url, keys: backup.keys, role: 'writer' })
      const { ledger, catalog } = repository
      await mirror({
        ledger,
        stream: catalog.stream,
        to: await openStore(near),
        floor: undefined,
        bandwidth: undefined,
        clock: systemClock,
        signal,
      })
    }
    try {
      await fill()
      const copies: CopyPlace[] = [{ url: near, role: 'local', mode: 'mirrored', bandwidth: undefined }]
      const read: string[] = []
      line.fate = (method, path) => {
        if (method === 'GET' && /\/(segments|base)\//.test(path)) read.push(path)
        return { kind: 'slow', ms: 40 }
      }
      // A restore reads the near one, and what it leaves in the ledger is in the primary's.
      const restored = await backup.restore('latest', { copies })
      expect(shown(await digests(restored.url))).toEqual(last.rows)
      expect({ audit: restored.audit, read }).toEqual({ audit: 'ledger', read: [] })
      const place = { storeUrl: url, copies, keys: backup.keys }
      const { repository } = await openBackup({ storeUrl: url, keys: backup.keys, role: 'restore' })
      expect([...repository.catalog.holds.values()].map(({ body }) => body.purpose)).toEqual([])
      // What changes the ledger changes the primary's, and the copy follows when it is filled.
      const { hold } = await addHold({
        actor: TESTER,
        place,
        reason: 'a dispute',
        from: middle.at,
        to: middle.at,
        until: undefined,
        signal,
      })
      await releaseHold(place, TESTER, hold.id, signal)
      await fill()
      const before = await names(await openStore(near))
      const { trims, cleared } = await pruned(backup, {
        copies,
        storeKeepMs: [0, undefined],
        keepMs: 1000 * HOUR,
      })
      const primary = (await openStore(url)).place
      expect(trims).toMatchObject([{ place: primary, from: expect.any(String) as string }])
      expect(cleared.map((one) => one.place)).toEqual([primary])
      expect(await names(await openStore(near))).toEqual(before)
      expect((await names(await openStore(url))).length).toBeLessThan(before.length)
      await restores(backup, old, { copies })
    } finally {
      await rm(near, { recursive: true, force: true })
    }
  })

  test('a share of every store each day, whatever restarts', { timeout: 120_000 }, async () => {
    const container = await azure.container()
    const archive: CopyPlace = { url: container.url, role: 'archive', mode: 'mirrored', bandwidth: undefined }
    await using backup = await Backup.prepare({ setup: SETUP })
    await history(backup)
    await backup.stop()
    await copyBackup({
      actor: TESTER,
      from: { storeUrl: backup.storeUrl, keys: backup.keys },
      to: container.url,
      bandwidth: undefined,
      signal,
    })
    const copy = await openStore(container.url)
    const damaged = (await names(copy)).slice(0, 4)
    for (const name of damaged) {
      await copy.remove(name)
      await copy.putIfAbsent(name, [Buffer.from('damaged')])
    }
    const said: Extract<UpEvent, { event: 'scrubbed' }>[] = []
    const day = async (days: number): Promise<void> => {
      const { repository, copies } = await openBackup({
        storeUrl: backup.storeUrl,
        copies: [archive],
        keys: backup.keys,
        role: 'writer',
      })
      await scrubShare(
        {
          repository,
          copies,
          scrubDays: 3,
          say: (event) => event.event === 'scrubbed' && said.push(event),
          clock: ahead(days * 24 * HOUR),
          isOurs: () => true,
        },
        signal,
      )
    }
    await day(0)
    await day(0)
    expect(said.length).toBe(1)
    // The ledger's times are this machine's: the days after come from them.
    await day(1)
    await day(2)
    expect(said.map((event) => event.part)).toEqual([0, 1, 2])
    expect(said.reduce((sum, event) => sum + event.mended, 0)).toBe(damaged.length)
    expect((await copy.get(damaged[0]!)).toString()).not.toBe('damaged')
  })
})

/** The end of the life cycle: what is retired, removed, trimmed, held and locked, on real stores, and what can be restored meanwhile. */
import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addHold, listHolds, releaseHold, RestoreHold } from '../../services/app/holds.ts'
import { copyBackup } from '../../services/app/copy-backup.ts'
import type { CopyPlace } from '../../services/app/config.ts'
import { openBackup, openStore } from '../../services/app/compose.ts'
import { prune, type PruneReport, undoPrune } from '../../services/app/prune.ts'
import { scrubSet } from '../../services/app/scrub-set.ts'
import { takeBase } from '../../services/app/take-base.ts'
import { extendLocks, scrubShare } from '../../services/app/upkeep.ts'
import { verifyStore } from '../../services/app/verify.ts'
import { type Clock, systemClock } from '../../services/core/clock.ts'
import type { KeptObject, ObjectStore } from '../../services/core/ports/object-store.ts'
import type { UpEvent } from '../../services/app/up-events.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { type AzureBench, NO_S3, type S3Bench, startAzure, startS3 } from '../support/store-bench.ts'

const signal = new AbortController().signal
const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 300) g`
const HOUR = 3_600_000

interface Point {
  readonly at: string
  readonly rows: readonly string[]
}

/** Two bases, schema changes before, between and behind, and points that are known. */
async function history(backup: Backup): Promise<{ readonly old: Point; readonly middle: Point; readonly last: Point }> {
  await backup.init()
  await backup.up()
  const { source } = backup
  const point = async (): Promise<Point> => {
    await backup.durable()
    const { rows } = await source.query<{ at: string }>('SELECT (pg_current_wal_lsn() - 1)::text AS at')
    await source.query(`INSERT INTO m (id, body) VALUES ((SELECT max(id) + 1 FROM m), 'next')`)
    await source.query(`DELETE FROM m WHERE body = 'next'`)
    const seen = shown(await digests(backup.sourceUrl))
    await backup.durable()
    return { at: rows[0]!.at, rows: seen }
  }
  await source.query(`ALTER TABLE m ADD COLUMN early int DEFAULT 7; UPDATE m SET body = body || 'a' WHERE id % 3 = 0`)
  const old = await point()
  await source.query(`CREATE TABLE n (id int PRIMARY KEY, v text); INSERT INTO n SELECT g, 'n' || g FROM generate_series(1, 50) g; ALTER TABLE m ADD COLUMN between_bases text DEFAULT 'x'`)
  await backup.durable()
  await takeBase(backup.config, signal, () => undefined)
  await source.query(`UPDATE m SET between_bases = 'y' WHERE id % 2 = 0; DELETE FROM m WHERE id % 5 = 0`)
  const middle = await point()
  await source.query(`ALTER TABLE n ADD COLUMN late int DEFAULT 3; INSERT INTO n VALUES (99, 'z', 4); UPDATE m SET body = 'end' WHERE id = 2`)
  const last = await point()
  return { old, middle, last }
}

interface Wanted {
  readonly confirmed?: boolean
  readonly graceMs?: number
  readonly keepMs?: number
  readonly clock?: Clock
  readonly copies?: readonly CopyPlace[]
  readonly storeKeepMs?: readonly (number | undefined)[]
  readonly unnamed?: boolean
}

function pruned(backup: Backup, { confirmed = true, graceMs = HOUR, keepMs = 0, clock = systemClock, copies = [], storeKeepMs = [], unnamed = false }: Wanted = {}): Promise<PruneReport> {
  return prune({ place: { storeUrl: backup.storeUrl, copies, keys: backup.keys }, policy: { keepMs, bases: 1, graceMs }, storeKeepMs, confirmed, unnamed, clock, signal })
}

async function all(objects: AsyncIterable<KeptObject>): Promise<KeptObject[]> {
  const out: KeptObject[] = []
  for await (const object of objects) out.push(object)
  return out
}

async function names(store: ObjectStore): Promise<string[]> {
  return [...new Set((await all(store.kept(''))).map((object) => object.name))].filter((name) => /^(segments|base|schema)\//.test(name))
}

const ahead = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms })
/** Before the bases of the test were taken: what is younger than that stays. */
const refused = { code: 'POINT_BEFORE_WINDOW' }

async function restores(backup: Backup, { at, rows }: Point, options: Parameters<Backup['restore']>[1] = {}): Promise<readonly string[]> {
  const restored = await backup.restore(at, options)
  expect(shown(await digests(restored.url))).toEqual(rows)
  return restored.stores
}

async function isWhole(backup: Backup, storeUrl = backup.storeUrl): Promise<void> {
  const { repository } = await openBackup({ storeUrl, keys: backup.keys, role: 'restore' })
  const report = await verifyStore(repository, true, () => undefined, signal)
  expect(report.damaged).toEqual([])
  expect(report.objects).toBeGreaterThan(5)
}

test('retired, brought back, retired again, removed: what stays restores as before, schema changes included', { timeout: 240_000 }, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const { old, middle, last } = await history(backup)
  const store = await openStore(backup.storeUrl)
  const before = await names(store)
  const dry = await pruned(backup, { confirmed: false })
  expect(dry.retire).toMatchObject({ id: null })
  expect(Number(dry.retire!.bytes)).toBeGreaterThan(1000)
  expect((await pruned(backup, { confirmed: false, keepMs: 24 * HOUR })).retire).toBeNull()
  await restores(backup, old)
  const first = await pruned(backup)
  expect(first.retire!.id).not.toBeNull()
  // Retired: no longer offered, and all of it still there.
  await expect(backup.restore(old.at)).rejects.toMatchObject(refused)
  expect(await names(store)).toEqual(expect.arrayContaining(before))
  await restores(backup, middle)
  await undoPrune({ storeUrl: backup.storeUrl, keys: backup.keys }, first.retire!.id!)
  await restores(backup, old)
  await pruned(backup, { graceMs: 0 })
  const removing = await pruned(backup)
  expect(removing.waiting).toMatchObject([{ isDue: true }])
  expect(removing.cleared[0]!.objects).toBeGreaterThan(3)
  const left = await names(store)
  expect(left.length).toBeLessThan(before.length)
  await expect(backup.restore(old.at)).rejects.toMatchObject(refused)
  await expect(undoPrune({ storeUrl: backup.storeUrl, keys: backup.keys }, removing.waiting[0]!.id)).rejects.toMatchObject({ code: 'USAGE' })
  for (const point of [middle, last]) await restores(backup, point)
  await isWhole(backup)
  // The running job knows of it, and a ledger that begins at its checkpoint says the same.
  await backup.source.query(`INSERT INTO m (id, body) VALUES (100000, 'after'); ALTER TABLE n ADD COLUMN more int`)
  await backup.durable()
  await backup.repository.checkpoint(1)
  expect((await backup.openRepository()).catalog.generation!.bases.length).toBe(1)
  for (const point of [middle, last]) await restores(backup, point)
  expect(shown(await digests((await backup.restore('latest')).url))).toEqual(shown(await digests(backup.sourceUrl)))
  await backup.stop()
  await isWhole(backup)
  // A copy that is made now gets what is left.
  const copy = `${backup.folder}/copy`
  await copyBackup({ from: { storeUrl: backup.storeUrl, keys: backup.keys }, to: copy, bandwidth: undefined, signal })
  await restores(backup, middle, { storeUrl: copy })
  await isWhole(backup, copy)
})

test('what nobody names goes after two days, and nothing that may still be wanted', { timeout: 120_000 }, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const { old } = await history(backup)
  await backup.stop()
  const store = await openStore(backup.storeUrl)
  const before = await names(store)
  const given = 'segments/g1/l0/0000000000000001-0000000000000002-0000-deadbeef.avro'
  const running = 'base/g1/0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa/16400-00000-deadbeef.avro'
  for (const name of [given, running]) await store.putIfAbsent(name, [Buffer.from('x')])
  await pruned(backup, { keepMs: 1000 * HOUR, unnamed: true })
  expect(await names(store)).toEqual(expect.arrayContaining([...before, given, running]))
  await pruned(backup, { keepMs: 1000 * HOUR, unnamed: true, clock: ahead(49 * HOUR) })
  expect((await names(store)).sort()).toEqual([...before, running].sort())
  await restores(backup, old)
})

test('holds keep what they need: those of people, and of a restore that is running', { timeout: 240_000 }, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const { old, middle } = await history(backup)
  const place = { storeUrl: backup.storeUrl, keys: backup.keys }
  const { hold } = await addHold({ place, reason: 'case 4711', from: old.at, to: old.at, until: undefined, signal })
  const held = await pruned(backup)
  expect(held.retire).toBeNull()
  expect(held.because).toContain('case 4711')
  expect(await listHolds(place)).toMatchObject([{ id: hold.id, purpose: 'legal' }])
  await releaseHold(place, hold.id, signal)
  // One that ends by itself.
  await addHold({ place, reason: 'until yesterday', from: old.at, to: old.at, until: new Date(Date.now() - HOUR).toISOString(), signal })
  expect((await pruned(backup, { confirmed: false })).retire).not.toBeNull()
  // A restore holds its point while it runs, and no longer.
  const { repository } = await openBackup({ ...place, role: 'restore' })
  const running = await RestoreHold.take(repository, 1, BigInt(`0x${old.at.split('/').map((half) => half.padStart(8, '0')).join('')}`) as never)
  expect(running.isHeld).toBe(true)
  expect((await pruned(backup, { confirmed: false })).because).toContain('a restore to')
  // One that begins while it is being retired: retired it may be, removed it is not.
  const { ledger, signer } = repository
  await running.release()
  await pruned(backup, { graceMs: 0 })
  const late = { kind: 'hold' as const, purpose: 'restore' as const, reason: 'it began before', generation: 1, from: old.at, to: old.at }
  const id = '5f0f7f9e-54c3-4b6e-8d8e-0d6a4a3c9f10'
  await ledger.append({ ...late, id, until: new Date(Date.now() + HOUR).toISOString() }, signer)
  const kept = await pruned(backup)
  expect(kept.waiting).toMatchObject([{ isDue: false }])
  await undoPrune(place, kept.waiting[0]!.id)
  await ledger.append({ kind: 'hold-released', id }, signer)
  expect((await pruned(backup, { confirmed: false })).retire).not.toBeNull()
  await restores(backup, old)
  expect((await listHolds(place)).filter((one) => one.purpose === 'restore')).toEqual([])
  await pruned(backup)
  await restores(backup, middle)
})

test('a writer may not retire anything, whatever it writes', { timeout: 120_000 }, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await history(backup)
  await backup.stop()
  const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })
  const { signer } = repository
  await expect(repository.ledger.append({ kind: 'removed', id: '0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa' }, signer)).rejects.toMatchObject({ code: 'SIGNER_REFUSED' })
  // Written past the check: no reader takes it.
  const { encodeEntry } = await import('../../services/formats/ledger-entry.ts')
  const { ledgerName } = await import('../../services/formats/object-name.ts')
  const number = repository.ledger.headNumber + 1n
  const store = await openStore(backup.storeUrl)
  await store.putIfAbsent(ledgerName(1, number), [encodeEntry(number, repository.ledger.headHash, new Date().toISOString(), { kind: 'hold-released', id: '0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa' }, signer)])
  await expect(openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' })).rejects.toMatchObject({ code: 'LEDGER_BROKEN', message: expect.stringContaining('is a writer') as string })
})

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

  test('locks: set with the put, extended while the backup needs it, kept by the store against whoever deletes', { timeout: 240_000 }, async () => {
    const bucket = await s3.bucket({ objectLock: true, query: '&lock=governance&lockFor=1h' })
    await using backup = await Backup.prepare({ setup: SETUP, storeUrl: bucket.url })
    const { old, middle } = await history(backup)
    await backup.stop()
    const store = await openStore(bucket.url)
    const [segment] = (await names(store)).filter((name) => name.startsWith('segments/'))
    const until = async (): Promise<number> => Date.parse(((await s3.client.getObjectRetention(bucket.name, `chat/${segment}`, { versionId: '' })) as unknown as { retainUntilDate: string }).retainUntilDate)
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
    const held = await addHold({ place, reason: 'case 1', from: undefined, to: undefined, until: undefined, signal })
    expect(held.objects[0]!.objects).toBeGreaterThan(10)
    const isHeld = async (): Promise<string> => JSON.stringify(await s3.client.getObjectLegalHold(bucket.name, `chat/${segment}`, { versionId: '' }))
    expect(await isHeld()).toContain('ON')
    await releaseHold(place, held.hold.id, signal)
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
    await using backup = await Backup.prepare({ setup: SETUP, storeUrl: `${bucket.url}&class=REDUCED_REDUNDANCY` })
    const { middle } = await history(backup)
    const store = await openStore(bucket.url)
    const [oldest] = (await names(store)).filter((name) => name.startsWith('segments/'))
    expect((await s3.client.statObject(bucket.name, `chat/${oldest}`)).metaData['storage-class'] ?? JSON.stringify((await s3.client.statObject(bucket.name, `chat/${oldest}`)).metaData)).toContain('REDUCED_REDUNDANCY')
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
    for (const ms of [5 * 60_000, -5 * 60_000]) await expect(pruned(backup, { clock: ahead(ms) })).rejects.toMatchObject({ code: 'PRUNE_CLOCK' })
    expect(await names(await openStore(bucket.url))).toEqual(expect.arrayContaining(before))
  })

  test('a local store keeps days, the archive everything: neither is damaged, and both together reach back', { timeout: 240_000 }, async () => {
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
    await copyBackup({ from: { storeUrl: backup.storeUrl, keys: backup.keys }, to: container.url, bandwidth: undefined, signal })
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
    expect(await restores(backup, old, { copies: [archive] })).toEqual(expect.not.arrayContaining([expect.stringMatching(/put back/)]))
    const opened = await openBackup({ storeUrl: backup.storeUrl, copies: [archive], keys: backup.keys, role: 'writer' })
    await copyBackup({ from: { storeUrl: backup.storeUrl, copies: [archive], keys: backup.keys }, to: container.url, bandwidth: undefined, signal })
    expect((await scrubSet(opened, { part: 0, parts: 1 }, signal)).faults).toEqual([])
    expect((await names(await openStore(backup.storeUrl))).length).toBe(left)
    // A third store that is filled now gets everything, from the archive.
    await copyBackup({ from: { storeUrl: backup.storeUrl, copies: [archive], keys: backup.keys }, to: early.url, bandwidth: undefined, signal })
    await restores(backup, old, { storeUrl: early.url })
    expect((await readdir(`${backup.storeUrl}/trims`)).length).toBe(1)
  })

  test('a share of every store each day, whatever restarts', { timeout: 120_000 }, async () => {
    const container = await azure.container()
    const archive: CopyPlace = { url: container.url, role: 'archive', mode: 'mirrored', bandwidth: undefined }
    await using backup = await Backup.prepare({ setup: SETUP })
    await history(backup)
    await backup.stop()
    await copyBackup({ from: { storeUrl: backup.storeUrl, keys: backup.keys }, to: container.url, bandwidth: undefined, signal })
    const copy = await openStore(container.url)
    const damaged = (await names(copy)).slice(0, 4)
    for (const name of damaged) {
      await copy.remove(name)
      await copy.putIfAbsent(name, [Buffer.from('damaged')])
    }
    const said: Extract<UpEvent, { event: 'scrubbed' }>[] = []
    const day = async (days: number): Promise<void> => {
      const { repository, copies } = await openBackup({ storeUrl: backup.storeUrl, copies: [archive], keys: backup.keys, role: 'writer' })
      await scrubShare({ repository, copies, scrubDays: 3, say: (event) => event.event === 'scrubbed' && said.push(event), clock: ahead(days * 24 * HOUR), isOurs: () => true }, signal)
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

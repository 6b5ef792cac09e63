/** The end of the life cycle: what is retired, brought back, removed and held, and what can be restored meanwhile. */
import { randomUUID } from 'node:crypto'
import { TESTER } from '../support/actor.ts'
import { expect, test } from 'vitest'
import { addHold, listHolds, releaseHold, RestoreHold } from '../../services/app/operations/holds.ts'
import { copyBackup } from '../../services/app/operations/copy-backup.ts'
import { openBackup, openStore } from '../../services/app/wiring/open-backup.ts'
import { undoPrune } from '../../services/app/operations/prune.ts'
import { encodeRoot } from '../../services/formats/checkpoint.ts'
import { encodeEntry, hashBytes } from '../../services/formats/ledger-entry.ts'
import { checkpointName, ledgerName, proofName, rootName } from '../../services/formats/object-name.ts'
import { floorAt } from '../../services/lifecycle/retention.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import {
  ahead,
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

test('retired, brought back, retired again, removed: what stays restores as before, schema changes included', {
  timeout: 240_000,
}, async () => {
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
  await undoPrune({ storeUrl: backup.storeUrl, keys: backup.keys }, TESTER, first.retire!.id!)
  await restores(backup, old)
  await pruned(backup, { graceMs: 0 })
  const removing = await pruned(backup)
  expect(removing.waiting).toMatchObject([{ isDue: true }])
  expect(removing.cleared[0]!.objects).toBeGreaterThan(3)
  const left = await names(store)
  expect(left.length).toBeLessThan(before.length)
  await expect(backup.restore(old.at)).rejects.toMatchObject(refused)
  await expect(
    undoPrune({ storeUrl: backup.storeUrl, keys: backup.keys }, TESTER, removing.waiting[0]!.id),
  ).rejects.toMatchObject({ code: 'USAGE' })
  for (const point of [middle, last]) await restores(backup, point)
  await isWhole(backup)
  // The running job knows of it, and a ledger that begins at its checkpoint says the same.
  await backup.source.query(
    `INSERT INTO m (id, body) VALUES (100000, 'after'); ALTER TABLE n ADD COLUMN more int`,
  )
  await backup.durable()
  await backup.repository.checkpoint(1)
  expect((await backup.openRepository()).catalog.generation!.bases.length).toBe(1)
  for (const point of [middle, last]) await restores(backup, point)
  expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
  await backup.stop()
  await isWhole(backup)
  // A copy that is made now gets what is left.
  const copy = `${backup.folder}/copy`
  await copyBackup({
    actor: TESTER,
    from: { storeUrl: backup.storeUrl, keys: backup.keys },
    to: copy,
    bandwidth: undefined,
    signal,
  })
  await restores(backup, middle, { storeUrl: copy })
  await isWhole(backup, copy)
})

test('what nobody names goes after two days, and nothing that may still be wanted', {
  timeout: 120_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const { old } = await history(backup)
  await backup.stop()
  const store = await openStore(backup.storeUrl)
  const before = await names(store)
  const given = 'segments/g1/l0/0000000000000001-0000000000000002-0000-deadbeef.avro'
  const running = 'base/g1/0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa/16400-00000-deadbeef.avro'
  // Of a transaction whose entry has not been written yet: a store may be full for days.
  const pending = 'segments/g1/l0/0000ffffffffffff-0000ffffffffffff-0000-deadbeef.avro'
  for (const name of [given, running, pending]) await store.putIfAbsent(name, [Buffer.from('x')])
  await pruned(backup, { keepMs: 1000 * HOUR, unnamed: true })
  expect(await names(store)).toEqual(expect.arrayContaining([...before, given, running, pending]))
  await pruned(backup, { keepMs: 1000 * HOUR, unnamed: true, clock: ahead(49 * HOUR) })
  expect((await names(store)).sort()).toEqual([...before, running, pending].sort())
  await restores(backup, old)
})

test('holds keep what they need: those of people, and of a restore that is running', {
  timeout: 240_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const { old, middle } = await history(backup)
  const place = { storeUrl: backup.storeUrl, keys: backup.keys }
  const { hold } = await addHold({
    actor: TESTER,
    place,
    reason: 'case 4711',
    from: old.at,
    to: old.at,
    until: undefined,
    signal,
  })
  const held = await pruned(backup)
  expect(held.retire).toBeNull()
  expect(held.because).toContain('case 4711')
  expect(await listHolds(place)).toMatchObject([{ id: hold.id, purpose: 'legal' }])
  await releaseHold(place, TESTER, hold.id, signal)
  // One that ends by itself.
  await addHold({
    actor: TESTER,
    place,
    reason: 'until yesterday',
    from: old.at,
    to: old.at,
    until: new Date(Date.now() - HOUR).toISOString(),
    signal,
  })
  expect((await pruned(backup, { confirmed: false })).retire).not.toBeNull()
  // A restore holds its point while it runs, and no longer.
  const { repository } = await openBackup({ ...place, role: 'restore' })
  const running = await RestoreHold.take(
    repository,
    1,
    BigInt(
      `0x${old.at
        .split('/')
        .map((half) => half.padStart(8, '0'))
        .join('')}`,
    ) as never,
    randomUUID(),
  )
  expect(running.isHeld).toBe(true)
  expect((await pruned(backup, { confirmed: false })).because).toContain('a restore to')
  // One that begins while it is being retired: retired it may be, removed it is not.
  const { ledger, signer } = repository
  await running.release()
  await pruned(backup, { graceMs: 0 })
  const late = {
    kind: 'hold' as const,
    purpose: 'restore' as const,
    reason: 'it began before',
    generation: 1,
    from: old.at,
    to: old.at,
  }
  const id = '5f0f7f9e-54c3-4b6e-8d8e-0d6a4a3c9f10'
  await ledger.append({ ...late, id, until: new Date(Date.now() + HOUR).toISOString() }, signer)
  const kept = await pruned(backup)
  expect(kept.waiting).toMatchObject([{ isDue: false }])
  await undoPrune(place, TESTER, kept.waiting[0]!.id)
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
  await expect(
    repository.ledger.append({ kind: 'removed', id: '0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa' }, signer),
  ).rejects.toMatchObject({ code: 'SIGNER_REFUSED' })
  // Written past the check: no reader takes it.
  const { encodeEntry } = await import('../../services/formats/ledger-entry.ts')
  const { ledgerName } = await import('../../services/formats/object-name.ts')
  const number = repository.ledger.headNumber + 1n
  const store = await openStore(backup.storeUrl)
  await store.putIfAbsent(ledgerName(1, number), [
    encodeEntry(
      number,
      repository.ledger.headHash,
      new Date().toISOString(),
      { kind: 'hold-released', id: '0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa' },
      signer,
    ),
  ])
  await expect(
    openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'restore' }),
  ).rejects.toMatchObject({
    code: 'LEDGER_BROKEN',
    message: expect.stringContaining('is a writer') as string,
  })
})

test("a stolen writer's key makes prune take nothing away: neither by a checkpoint that says what no keeper said, nor by a base dated back", {
  timeout: 240_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  const { old, middle } = await history(backup)
  await backup.stop()
  const place = { storeUrl: backup.storeUrl, keys: backup.keys }
  const store = await openStore(backup.storeUrl)
  const before = await names(store)
  const { repository } = await openBackup({ ...place, role: 'writer' })
  const { catalog, ledger, signer } = repository
  const newest = catalog.generation!.base!
  // A root that holds the keeper's word for a removal that no keeper wrote, under the writer's own signature.
  const floor = await floorAt(repository, { generation: catalog.generation!, base: newest }, () =>
    Promise.resolve(null),
  )
  const id = '5f0f7f9e-54c3-4b6e-8d8e-0d6a4a3c9f10'
  const writtenAt = new Date().toISOString()
  const retire = { kind: 'retire' as const, id, floor, objects: '0', bytes: '0', removeAfter: writtenAt }
  const root = catalog.root(ledger.headNumber, ledger.headHash, [])
  const number = ledger.headNumber.toString()
  const bytes = encodeRoot({
    ...root,
    entries: [
      ...root.entries,
      { number, writtenAt, body: retire },
      { number, writtenAt, body: { kind: 'removed', id } },
    ],
  })
  const name = rootName(1, ledger.headNumber, 'deadbeef')
  await store.putIfAbsent(name, [bytes])
  const { number: at } = await ledger.append(
    {
      kind: 'checkpoint',
      root: { name, bytes: String(bytes.length), sha256: hashBytes(bytes) },
      pages: [],
    },
    signer,
  )
  for (const hint of [checkpointName(1, at), proofName(1, at)])
    await store.putIfAbsent(hint, [Buffer.from('{}')])
  const report = await pruned(backup, { keepMs: 1000 * HOUR, unnamed: true })
  expect(report.cleared.reduce((sum, one) => sum + one.objects, 0)).toBe(0)
  expect(await names(store)).toEqual(expect.arrayContaining(before))
  await restores(backup, old)
  // The newest base once more, as if it had been taken long ago: what is before it would be old enough.
  const { ledger: now } = await backup.openRepository()
  await store.putIfAbsent(ledgerName(1, now.headNumber + 1n), [
    encodeEntry(
      now.headNumber + 1n,
      now.headHash,
      new Date(Date.now() - 1000 * HOUR).toISOString(),
      { ...newest.entry, base: '0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa' },
      signer,
    ),
  ])
  expect((await pruned(backup, { keepMs: 24 * HOUR })).retire).toBeNull()
  // The proof that the first run left is where the next one begins.
  const again = await openBackup({ ...place, role: 'restore', trusting: 'keepers' })
  expect(again.repository.readFrom).toBeGreaterThan(at)
  await restores(backup, middle)
})

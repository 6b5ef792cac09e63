/** Who may sign, and from when to when: retired signers, stolen keys, forged entries and objects. */
import { TESTER } from '../support/actor.ts'
import { generateKeyPairSync, createPrivateKey } from 'node:crypto'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openKeys } from '../../services/adapters/keys/key-folder.ts'
import { openBackup, openStore, placeOf } from '../../services/app/wiring/open-backup.ts'
import { listSigners, rotateSigner } from '../../services/app/operations/keys.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { aesKeyring, openWith, sealWith } from '../../services/formats/envelope.ts'
import { encodeEntry, type EntryBody } from '../../services/formats/ledger-entry.ts'
import type { Signer } from '../../services/formats/signed-line.ts'
import { ledgerName } from '../../services/formats/object-name.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { Running } from '../support/cli.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, md5(g::text) FROM generate_series(1, 100) g`
const signal = new AbortController().signal

async function round(backup: Backup, id: number): Promise<void> {
  await backup.up()
  await backup.source.query(
    `INSERT INTO m SELECT g, md5(g::text) FROM generate_series(${id * 1000}, ${id * 1000 + 50}) g`,
  )
  await backup.durable()
  await backup.repository.checkpoint(1)
  await backup.stop()
}

async function signerIn(folder: string, id: string): Promise<Signer> {
  return { id, privateKey: createPrivateKey(await readFile(join(folder, 'signer.pem'))) }
}

/** Puts an entry behind the newest one, past every check of a writer. */
async function forge(backup: Backup, body: EntryBody, signer: Signer): Promise<string> {
  const { repository } = await openBackup({ ...placeOf(backup.config), role: 'writer' })
  const number = repository.ledger.headNumber + 1n
  const store = await openStore(backup.storeUrl)
  await store.putIfAbsent(ledgerName(1, number), [
    encodeEntry(number, repository.ledger.headHash, new Date().toISOString(), body, signer),
  ])
  return ledgerName(1, number)
}

async function equal(backup: Backup, keys = backup.keys): Promise<void> {
  expect(shown(await digests((await backup.restore('latest', { keys })).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
}

test('signers rotated three times: what each signed in its time counts, what it signs later is refused', {
  timeout: 120_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await round(backup, 1)
  const place = placeOf(backup.config)
  const [writerBefore, restoreBefore] = [
    join(backup.folder, 'writer-before'),
    join(backup.folder, 'restore-before'),
  ]
  await cp(join(backup.keys, 'writer'), writerBefore, { recursive: true })
  await cp(join(backup.keys, 'restore'), restoreBefore, { recursive: true })
  const first = (await listSigners(place)).find((one) => one.role === 'writer')!
  for (let i = 2; i < 5; i++) {
    const report = await rotateSigner(place, TESTER, 'writer')
    expect(report.retired.length).toBe(1)
    await round(backup, i)
  }
  const keeper = await rotateSigner(place, TESTER, 'keeper')
  await round(backup, 5)
  await equal(backup)
  const signers = await listSigners(place)
  expect(signers.filter((one) => one.to === null).length).toBe(2)
  expect(signers.length).toBe(6)
  expect(signers.find((one) => one.id === keeper.signer)).toMatchObject({ role: 'keeper', to: null })
  // Restore keys that lay in a safe all the while learn of the new signers from the ledger.
  await equal(backup, restoreBefore)
  const { repository } = await openBackup({ ...place, role: 'restore' })
  expect((await verifyStore(repository, true, () => undefined, signal)).damaged).toEqual([])
  // The first writer's key signs once more: as a writer it does not get that far, and no reader takes what it put.
  const old = await signerIn(writerBefore, first.id)
  await expect(
    repository.ledger.append({ kind: 'audit', command: 'x', operator: '', what: '' }, old),
  ).rejects.toMatchObject({ code: 'SIGNER_REFUSED' })
  const name = await forge(backup, { kind: 'audit', command: 'x', operator: '', what: '' }, old)
  for (const role of ['writer', 'restore'] as const)
    await expect(openBackup({ ...place, role })).rejects.toMatchObject({
      code: 'LEDGER_BROKEN',
      message: expect.stringContaining('was retired') as string,
    })
  await (await openStore(backup.storeUrl)).remove(name)
  await equal(backup)
})

test('a running writer takes the new key from its folder; one that has none ends and says so; a rotation that was cut off is finished by the next', {
  timeout: 120_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  const up = (config: string): Running =>
    new Running(['up', '--json', '--config', config], { cwd: backup.folder })
  const running = up(backup.configPath)
  await running.said('"streaming"')
  const place = placeOf(backup.config)
  for (const id of [5000, 5001]) {
    const { signer } = await rotateSigner(place, TESTER, 'writer')
    await backup.source.query(`INSERT INTO m VALUES (${id}, 'x')`)
    await running.said(`{"event":"signer","signer":"${signer}"}`)
  }
  running.child.kill('SIGTERM')
  expect((await running.ended()).last).toMatchObject({ ok: true })
  await round(backup, 1)
  await equal(backup)
  // Another host's folder is not where the keys are rotated.
  const elsewhere = join(backup.folder, 'elsewhere')
  await cp(backup.keys, elsewhere, { recursive: true })
  const config = join(backup.folder, 'elsewhere.yaml')
  await writeFile(config, (await readFile(backup.configPath, 'utf8')).replace(backup.keys, elsewhere))
  const other = up(config)
  await other.said('"streaming"')
  await rotateSigner(place, TESTER, 'writer')
  await backup.source.query(`INSERT INTO m VALUES (5002, 'x')`)
  const ended = await other.ended()
  expect(ended.last).toMatchObject({ ok: false, error: { code: 'SIGNER_REFUSED' } })
  expect(ended.last.error?.next).toContain('copy keys/writer')
  // As a crash leaves it: the new key is there and in the ledger, the folders still have the old one.
  const before = join(backup.folder, 'before')
  await cp(backup.keys, before, { recursive: true })
  const { signer } = await rotateSigner(place, TESTER, 'writer')
  await rm(join(before, 'writer', `next-signer-${signer}.key`), { force: true })
  await cp(join(backup.keys, 'writer', 'signer.pem'), join(before, 'writer', `next-signer-${signer}.key`))
  const again = await rotateSigner({ ...place, keys: before }, TESTER, 'writer')
  expect(again.signer).toBe(signer)
  expect((await readdir(join(before, 'writer'))).filter((file) => file.startsWith('next-'))).toEqual([])
  expect(
    (await listSigners({ ...place, keys: before }))
      .filter((one) => one.role === 'writer' && one.to === null)
      .map((one) => one.id),
  ).toEqual([signer])
  await round(backup, 2)
  await equal(backup)
})

test("whoever stole a recipient key can read, and cannot make anything that is taken for the backup's", {
  timeout: 120_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await round(backup, 1)
  const { repository } = await openBackup({ ...placeOf(backup.config), role: 'restore' })
  const { stream } = repository.catalog
  const [segments] = await (async () => {
    const out = []
    for await (const entry of repository.catalog.generation!.segments.segments(() => true)) out.push(entry)
    return out
  })()
  const object = segments!.body.objects[0]!
  // The thief opens the epoch key and a segment, and seals another one under the very same key and context.
  const { provider } = await openKeys(backup.keys, 'restore')
  const key = repository.catalog.keys.get(object.key)!.body
  const store = await openStore(backup.storeUrl)
  const secret = await provider.open(await store.get(key.object.name), {
    stream,
    kind: 'key',
    object: key.object.name,
  })
  const context = { stream, kind: 'segment', generation: '1', lane: '0', object: object.name }
  const plain = await openWith(aesKeyring(object.key, secret), await store.get(object.name), context)
  const forged = await sealWith(aesKeyring(object.key, secret), plain, context)
  await openWith(aesKeyring(object.key, secret), forged, context)
  const right = await store.get(object.name)
  await store.remove(object.name)
  await store.putIfAbsent(object.name, [forged])
  await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
  await store.remove(object.name)
  await store.putIfAbsent(object.name, [right])
  // And signs an entry for it with a key of his own, under his own name and under the writer's.
  const { privateKey } = generateKeyPairSync('ed25519')
  for (const id of [
    'thief',
    (await listSigners(placeOf(backup.config))).find((one) => one.role === 'writer')!.id,
  ]) {
    const name = await forge(
      backup,
      { kind: 'audit', command: 'x', operator: '', what: '' },
      { id, privateKey },
    )
    await expect(backup.restore('latest')).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
    await store.remove(name)
  }
  // A writer's own key signs no other signer in.
  const writer = await signerIn(
    join(backup.keys, 'writer'),
    (await listSigners(placeOf(backup.config))).find((one) => one.role === 'writer')!.id,
  )
  const thief = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const name = await forge(
    backup,
    { kind: 'signers', add: [{ id: 'thief', role: 'keeper', publicKey: thief }], retire: [] },
    writer,
  )
  await expect(backup.restore('latest')).rejects.toMatchObject({
    code: 'LEDGER_BROKEN',
    message: expect.stringContaining('is a writer') as string,
  })
  await store.remove(name)
  await equal(backup)
})

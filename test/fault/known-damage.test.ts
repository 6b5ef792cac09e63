/** What somebody found damaged is known to everybody who is asked, until it is right again or a newer base makes up for it. */
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { lookAgain } from '../../services/app/daemon/upkeep.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { Backup } from '../support/backup.ts'
import { Running, tidemark } from '../support/cli.ts'

afterEach(() => Running.killAll())

const signal = new AbortController().signal

async function file(store: string, folder: string, ending: string): Promise<string> {
  const all = (await readdir(join(store, folder), { recursive: true })).filter((name) =>
    name.endsWith(ending),
  )
  return join(store, folder, all.sort()[0]!)
}

test('lost and found: verify, doctor, status, /protected and the metric, a newer base, and put back', {
  timeout: 300_000,
}, async () => {
  await using backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  await backup.init()
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  await up.said('"streaming"')
  const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
    address: string
  }
  const ask = async (path: string): Promise<{ status: number; text: string }> => {
    const answer = await fetch(`${address}${path}`)
    return { status: answer.status, text: await answer.text() }
  }
  const run = (...args: string[]) => tidemark([...args, '--json'], backup.folder)
  const status = async (): Promise<{ objects: number; ofNewest: number }> =>
    ((await run('status')).last as { damage: { objects: number; ofNewest: number } }).damage
  const finding = async (): Promise<{ level: string; what: string } | undefined> =>
    (
      JSON.parse((await run('doctor')).stdout.split('\n').find((line) => line.includes('"findings"'))!) as {
        findings: { level: string; code: string; what: string }[]
      }
    ).findings.find(({ code }) => code === 'OBJECT_CORRUPT')
  await backup.until(async () => (await ask('/protected')).status === 200)
  expect(await status()).toMatchObject({ objects: 0, ofNewest: 0 })
  expect((await ask('/metrics')).text).toContain('tidemark_damaged_objects 0')

  const lost = await file(backup.storeUrl, 'base', '.avro')
  await rename(lost, `${backup.folder}/away`)
  expect((await run('verify', '--chain')).code).toBe(6)
  expect(await status()).toMatchObject({ objects: 1, ofNewest: 1 })
  expect(await finding()).toMatchObject({ level: 'refuse' })
  expect((await run('doctor')).code).toBe(6)
  // It reads the ledger whenever it writes something there.
  await backup.source.query('INSERT INTO t VALUES (2)')
  await backup.until(async () => (await ask('/protected')).status === 503)
  expect((await ask('/protected')).text).toContain('1 objects are damaged in every store')
  expect((await ask('/metrics')).text).toMatch(/tidemark_damaged_objects 1\n[^]*/)
  // Looking again changes nothing, and adds nothing to the ledger.
  expect((await run('scrub', '--known')).code).toBe(6)
  expect(await status()).toMatchObject({ objects: 1, ofNewest: 1 })

  // Known behind a checkpoint too, and verification finds no fault in that.
  const opened = await openBackup({ ...placeOf(backup.config), role: 'writer' })
  await opened.repository.checkpoint(1)
  const again = await openBackup({ ...placeOf(backup.config), role: 'writer' })
  expect(again.repository.readFrom).toBeGreaterThan(0n)
  expect(again.repository.catalog.damage.above(undefined).length).toBe(1)
  const { damaged } = await verifyStore(again.repository, false, () => undefined, signal)
  expect(damaged.map(({ code }) => code)).toEqual(['OBJECT_MISSING'])

  expect((await run('backup', 'base')).code).toBe(0)
  await backup.source.query('INSERT INTO t VALUES (4)')
  await backup.until(async () => (await ask('/protected')).status === 200)
  expect(await status()).toMatchObject({ objects: 1, ofNewest: 0 })
  expect(await finding()).toMatchObject({
    level: 'warn',
    what: expect.stringContaining('points before the newest base') as string,
  })

  await rename(`${backup.folder}/away`, lost)
  const upkeep = await openBackup({ ...placeOf(backup.config), role: 'writer' })
  await lookAgain({ ...upkeep, say: () => undefined }, signal)
  expect(await status()).toMatchObject({ objects: 0 })
  expect(await finding()).toBeUndefined()
  await backup.source.query('INSERT INTO t VALUES (3)')
  await backup.until(async () => (await ask('/metrics')).text.includes('tidemark_damaged_objects 0'))
  up.child.kill('SIGKILL')
  await up.finished
})

test('points that need what is damaged are not offered without a word, and a restore of one leaves the target as it was', {
  timeout: 300_000,
}, async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  for (let id = 10; id < 13; id++) {
    await backup.source.query(`INSERT INTO t VALUES (${id})`)
    await backup.durable()
  }
  const before = backup.repository.catalog.generation!.segments.unpaged.length
  await backup.source.query('INSERT INTO t SELECT generate_series(100, 3000)')
  await backup.durable()
  for (let id = 20; id < 22; id++) {
    await backup.source.query(`INSERT INTO t VALUES (${id})`)
    await backup.durable()
  }
  const run = (...args: string[]) => tidemark([...args, '--json'], backup.folder)
  expect((await run('backup', 'base')).code).toBe(0)
  await backup.source.query('INSERT INTO t VALUES (30)')
  await backup.durable()
  await backup.stop()
  const large = backup.repository.catalog
    .generation!.segments.unpaged.slice(before)
    .flatMap(({ body }) => ('objects' in body ? body.objects : []))
    .reduce((a, b) => (BigInt(b.bytes) > BigInt(a.bytes) ? b : a))
  const segment = join(backup.storeUrl, large.name)
  const bytes = await readFile(segment)
  const bent = Buffer.from(bytes)
  bent[bytes.length >> 1]! ^= 0xff
  await writeFile(segment, bent)

  // Nobody knows yet: what is found on the way leaves half a target, and says so.
  const found = async () =>
    (await run('find', '--limit', '100')).last as unknown as {
      transactions: { xid: number; rows: number; damaged: boolean; before: { damaged: boolean } }[]
    }
  const bad = (await found()).transactions.find(({ rows }) => rows > 1000)!
  expect(bad).toMatchObject({ damaged: false, before: { damaged: false } })
  const half = await backup.emptyDatabase()
  const failed = (await run('restore', '--at', `xid:${bad.xid}`, '--into', half)).last.error
  expect(failed).toMatchObject({
    code: 'OBJECT_CORRUPT',
    means: expect.stringContaining('marked as unfinished') as string,
    next: expect.stringContaining('drop and create the target database') as string,
  })

  expect((await run('verify')).code).toBe(6)
  const { transactions } = await found()
  let damaged = 0
  for (const { xid, ...offer } of transactions)
    for (const [at, isDamaged] of [
      [`xid:${xid}`, offer.damaged],
      [`before:xid:${xid}`, offer.before.damaged],
    ] as const) {
      const { code } = await run('restore', '--at', at, '--dry-run')
      expect({ at, code }).toEqual({ at, code: isDamaged ? 6 : 0 })
      if (isDamaged) damaged++
    }
  expect(damaged).toBeGreaterThan(3)
  const said = (await run('windows')).last as unknown as { damaged: object[]; bases: { damaged: boolean }[] }
  expect(said.damaged).toMatchObject([{ generation: 1, objects: [large.name] }])
  expect(said.bases.map((base) => base.damaged)).toEqual([false, false])
  expect((await tidemark(['windows'], backup.folder)).stdout).toContain(`these points need ${large.name}`)
  expect((await tidemark(['find'], backup.folder)).stdout).toContain('needs what is DAMAGED in every store')

  const target = await backup.emptyDatabase()
  expect((await run('restore', '--at', `xid:${bad.xid}`, '--into', target)).last.error).toMatchObject({
    code: 'OBJECT_CORRUPT',
    means: expect.stringContaining('Nothing was made in the target') as string,
  })
  expect((await run('restore', '--at', `before:xid:${bad.xid}`, '--into', target)).code).toBe(0)

  // Put back, the half of before is brought to its end.
  await writeFile(segment, bytes)
  expect((await run('restore', '--at', `xid:${bad.xid}`, '--into', half)).code).toBe(0)
  expect((await run('scrub', '--known')).code).toBe(0)
  expect(((await run('windows')).last as unknown as { damaged: object[] }).damaged).toEqual([])
})

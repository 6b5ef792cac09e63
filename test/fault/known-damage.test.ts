/** What somebody found damaged is known to everybody who is asked, until it is right again or a newer base makes up for it. */
import { readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openBackup, placeOf } from '../../services/app/open-backup.ts'
import { lookAgain } from '../../services/app/upkeep.ts'
import { verifyStore } from '../../services/app/verify.ts'
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

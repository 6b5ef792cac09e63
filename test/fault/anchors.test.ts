/** Heads anchored outside the store: an older store, a shorter one and another one are noticed by every command. */
import { cp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { main } from '../../services/cli/main.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { doctor } from '../../services/app/operations/doctor.ts'
import { Backup, digests, shown } from '../support/backup.ts'

let backup: Backup
let anchor: string
let older: string

/** The command's last line. */
async function run(
  ...args: string[]
): Promise<{ ok: boolean; error?: { code: string; message: string }; anchors?: string[] }> {
  const lines: string[] = []
  const write = process.stdout.write.bind(process.stdout)
  process.stdout.write = ((text: string, onWritten?: () => void) => {
    lines.push(text)
    onWritten?.()
    return true
  }) as typeof process.stdout.write
  try {
    await main([...args, '--json'])
  } finally {
    process.stdout.write = write
  }
  return JSON.parse(lines.join('').trim().split('\n').at(-1)!) as { ok: boolean }
}

beforeAll(async () => {
  backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
    anchors: true,
  })
  anchor = join(backup.folder, 'anchor')
  older = join(backup.folder, 'older')
  await backup.init()
  await backup.up()
  await backup.source.query('INSERT INTO t VALUES (2)')
  await backup.durable()
  await backup.stop()
  await cp(backup.storeUrl, older, { recursive: true })
  await backup.up()
  await backup.source.query('INSERT INTO t VALUES (3)')
  await backup.durable()
  await backup.stop()
})
afterAll(() => backup[Symbol.asyncDispose]())

const place = (store: string): string[] => ['--store', store, '--keys', backup.keys, '--anchor', anchor]

test('the store as it is: every command says that it holds what was anchored', async () => {
  const status = await run('status', ...place(backup.storeUrl))
  expect(status.anchors).toEqual([expect.stringMatching(/^the store holds entry \d+, as anchored in /)])
  expect((await run('verify', '--chain', ...place(backup.storeUrl))).ok).toBe(true)
  const kept = await readdir(join(anchor, 'anchors'), { recursive: true })
  expect(kept.filter((name) => name.endsWith('.json')).length).toBeLessThanOrEqual(8)
})

test("yesterday's store is refused by every command that reads it, unless the loss is accepted", async () => {
  for (const command of [
    ['status'],
    ['windows'],
    ['verify'],
    ['verify', '--chain'],
    ['find'],
    ['read', '--table', 't', '--from', 'latest', '--to', 'latest'],
    ['restore', '--at', 'latest', '--dry-run'],
  ]) {
    const report = await run(...command, ...place(older))
    expect(report.error, command.join(' ')).toMatchObject({
      code: 'STORE_ROLLED_BACK',
      message: expect.stringMatching(/ends at entry \d+; entry \d+ was anchored in .* at 20/) as string,
    })
  }
  expect(await run('restore', '--at', 'latest', '--dry-run', '--accept-loss', ...place(older))).toMatchObject(
    { ok: true, anchors: ['not compared with any anchor, as asked (--accept-loss)'] },
  )
  expect(
    await run('restore', '--at', 'latest', '--dry-run', '--store', older, '--keys', backup.keys),
  ).toMatchObject({ ok: true, anchors: [expect.stringMatching(/^no anchor given/)] })
})

test('a store whose newest entry is another one, a forged anchor and one that cannot be read', async () => {
  const forked = join(backup.folder, 'forked')
  await cp(older, forked, { recursive: true })
  const { repository } = await openBackup({ storeUrl: forked, keys: backup.keys, role: 'writer' })
  const { repository: real } = await openBackup({
    storeUrl: backup.storeUrl,
    keys: backup.keys,
    role: 'writer',
  })
  while (repository.ledger.headNumber <= real.ledger.headNumber)
    await repository.audit('test', 'somewhere else', 'x')
  expect((await run('status', ...place(forked))).error).toMatchObject({
    code: 'STORE_ROLLED_BACK',
    message: expect.stringContaining('is another one') as string,
  })
  const forged = join(backup.folder, 'forged')
  await cp(anchor, forged, { recursive: true })
  const [stream = ''] = await readdir(join(forged, 'anchors'))
  const newest = (await readdir(join(forged, 'anchors', stream))).sort()[0]!
  await writeFile(
    join(forged, 'anchors', stream, newest),
    '{"version":1}\n{"signature":"AAAA","signer":"x"}\n',
  )
  expect(
    (await run('status', '--store', backup.storeUrl, '--keys', backup.keys, '--anchor', forged)).error,
  ).toMatchObject({ code: 'LEDGER_BROKEN' })
  await writeFile(join(backup.folder, 'file'), '')
  const away = await run(
    'status',
    '--store',
    backup.storeUrl,
    '--keys',
    backup.keys,
    '--anchor',
    join(backup.folder, 'file'),
  )
  expect(away.anchors).toEqual([expect.stringMatching(/could not be asked/)])
})

test('up refuses the older store; with the loss accepted it records the gap, begins anew, and the anchor follows', async () => {
  await rm(backup.storeUrl, { recursive: true })
  await cp(older, backup.storeUrl, { recursive: true })
  expect((await run('up', '--config', backup.configPath)).error).toMatchObject({ code: 'STORE_ROLLED_BACK' })
  await backup.source.query('INSERT INTO t VALUES (4)')
  await backup.up({ acceptLoss: true })
  await backup.source.query('INSERT INTO t VALUES (5)')
  await backup.durable()
  expect(backup.repository.catalog.gaps).toMatchObject([
    { reason: expect.stringMatching(/^the loss was accepted: /) as string, scope: { kind: 'stream' } },
  ])
  await backup.stop()
  expect(await run('status', ...place(backup.storeUrl))).toMatchObject({
    ok: true,
    anchors: [expect.stringMatching(/^the store holds entry/)],
  })
  expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
})

test('doctor names a backup without an anchor, and an anchor inside the store', async () => {
  const codes = async (anchors: string[]): Promise<string[]> =>
    (await doctor({ ...backup.config, anchors })).findings.map((finding) => finding.code)
  expect(await codes([])).toContain('NO_ANCHOR')
  expect(await codes([backup.storeUrl])).toContain('ANCHOR_INSIDE')
  expect(await codes([join(backup.folder, 'file')])).toContain('ANCHOR_UNREACHABLE')
  expect((await codes([anchor])).filter((code) => code.includes('ANCHOR'))).toEqual([])
  expect(await readdir(join(anchor, 'probe')).catch(() => [])).toEqual([])
  // It answers, and takes nothing: as where its disk is mounted read-only.
  await rm(join(anchor, 'probe'), { recursive: true, force: true })
  await writeFile(join(anchor, 'probe'), '')
  expect(await codes([anchor])).toContain('ANCHOR_UNWRITABLE')
})

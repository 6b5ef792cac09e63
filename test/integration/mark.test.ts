/** What `mark` says of a marker, with an `up` and without one; and that a program reads what is tried again once. */
import { readFile, writeFile } from 'node:fs/promises'
import { afterEach, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Backup } from '../support/backup.ts'
import { type Answer, Running, tidemark } from '../support/cli.ts'
import { dropSlot } from '../support/slot.ts'

afterEach(() => Running.killAll())

const SETUP = 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)'

const told = (answer: Answer): unknown =>
  JSON.parse(answer.stdout.split('\n').find((line) => line.includes('"event":"marker"')) ?? '{}')

test('a marker without an up is told from one that is durable, and becomes part of the backup when up runs', {
  timeout: 240_000,
}, async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  const run = (...args: string[]): Promise<Answer> =>
    tidemark([...args, '--json', '--config', backup.configPath], backup.folder)
  const up = async (): Promise<Running> => {
    const running = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
    await running.said('"streaming"')
    return running
  }
  const early = await run('mark', 'early')
  expect([early.code, early.last]).toMatchObject([
    12,
    {
      ok: false,
      error: { code: 'MARKER_NOT_DURABLE', next: expect.stringContaining('mark early') as string },
    },
  ])
  expect(told(early)).toMatchObject({ name: 'early', state: 'unread', position: null, inWindow: false })
  const first = await up()
  const durable = await run('mark', 'durable')
  expect([durable.code, durable.last]).toMatchObject([0, { ok: true, state: 'durable', inWindow: true }])
  const twice = await run('mark', 'durable')
  expect([twice.code, twice.last.error?.code]).toEqual([2, 'MARKER_EXISTS'])
  expect((await backup.source.query(`SELECT FROM tidemark.marker WHERE name = 'durable'`)).rowCount).toBe(1)
  // One that no restore reaches has taken no name.
  expect((await run('mark', 'early')).last).toMatchObject({ ok: true, state: 'durable' })
  first.child.kill('SIGTERM')
  await first.finished
  const late = await run('mark', 'late')
  expect([late.code, late.last]).toMatchObject([
    12,
    {
      ok: false,
      error: { code: 'MARKER_NOT_DURABLE', message: expect.stringContaining('no `up`') as string },
    },
  ])
  expect(told(late)).toMatchObject({ name: 'late', state: 'unread', durable: false, inWindow: true })
  expect((await run('restore', '--dry-run', '--at', 'marker:late')).code).toBe(7)
  const second = await up()
  await backup.until(async () =>
    (await backup.openRepository()).catalog.generation!.markers.some((marker) => marker.body.name === 'late'),
  )
  expect((await run('restore', '--dry-run', '--at', 'marker:late')).last).toMatchObject({ dryRun: true })
  second.child.kill('SIGTERM')
  await second.finished
})

test('no marker is written where no slot would bring it into the backup', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  await dropSlot(backup)
  const answer = await tidemark(['mark', 'lost', '--json', '--config', backup.configPath], backup.folder)
  expect(answer.last.error?.code).toBe('SLOT_MISSING')
  expect((await backup.source.query('SELECT FROM tidemark.marker')).rowCount).toBe(0)
})

test('with --json a retry is said once', async () => {
  await using backup = await Backup.prepare({ setup: SETUP })
  await backup.init()
  const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: { url: string } }
  const closed = new URL(backup.sourceUrl)
  closed.port = '1'
  await writeFile(
    backup.configPath,
    stringify({ ...settings, source: { ...settings.source, url: closed.toString() } }),
  )
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  await up.said('"event":"retry"')
  up.child.kill('SIGTERM')
  const ended = await up.finished
  expect(ended.stdout).toContain('SOURCE_UNREACHABLE')
  expect(ended.stderr).not.toContain('SOURCE_UNREACHABLE')
})

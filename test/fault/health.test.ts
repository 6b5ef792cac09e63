/** Health is answered from what the process knows: a source that says nothing holds nobody up, and nobody asks it per request. */
import { afterEach, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { notProtected } from '../../services/app/operations/check-status.ts'
import { doctor } from '../../services/app/operations/doctor.ts'
import { readStatus } from '../../services/app/operations/status.ts'
import { LIMITS } from '../../services/core/limits.ts'
import { Backup, oneVersion } from '../support/backup.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { Running, tidemark } from '../support/cli.ts'
import { Line } from '../support/silent-line.ts'

/** Less than a silent source is given before anybody asks; the answers take milliseconds. */
const PROMPT_MS = LIMITS.silence.silenceMs - 1_000

afterEach(() => Running.killAll())

async function ask(address: string, path: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${address}${path}`, { signal: AbortSignal.timeout(PROMPT_MS) })
  return { status: answer.status, text: await answer.text() }
}

test.each(oneVersion())(
  'a frozen source: ready and metrics answer at once, and open no connection (%s)',
  async (version) => {
    await using backup = await Backup.prepare({
      version,
      setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
    })
    await backup.init()
    const line = new Line(new URL(backup.sourceUrl))
    const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: object }
    await writeFile(
      backup.configPath,
      stringify({ ...settings, source: { ...settings.source, url: await line.open(backup.sourceUrl) } }),
    )
    const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
    try {
      await up.said('"streaming"')
      const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
        address: string
      }
      const figures = /tidemark_lag_bytes \d+[^]*tidemark_wal_budget_seconds (\d+|\+Inf)/
      await backup.until(async () => figures.test((await ask(address, '/metrics')).text))
      line.newAreSilent = true
      line.isSilent = true
      const before = line.made
      for (let i = 0; i < 3; i++) {
        expect(await ask(address, '/readyz')).toEqual({
          status: 200,
          text: JSON.stringify({ ok: true, streaming: true }),
        })
        expect((await ask(address, '/metrics')).text).toContain('tidemark_streaming 1')
      }
      expect(line.made).toBe(before)
    } finally {
      up.child.kill('SIGKILL')
      await up.finished
      line.close()
    }
  },
)

test('a source that is silent from the beginning: alive, ready and not yet streaming, and metrics say nothing of it', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const line = new Line(new URL(backup.sourceUrl))
  line.newAreSilent = true
  line.isSilent = true
  const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: object }
  const url = await line.open(backup.sourceUrl)
  await writeFile(backup.configPath, stringify({ ...settings, source: { ...settings.source, url } }))
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  try {
    await up.said('"listening"')
    const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
      address: string
    }
    // It waits for the source already.
    await backup.until(() => line.made > 0)
    expect((await ask(address, '/healthz')).status).toBe(200)
    expect(await ask(address, '/readyz')).toEqual({
      status: 200,
      text: JSON.stringify({ ok: true, streaming: false }),
    })
    const { text } = await ask(address, '/metrics')
    expect(text).toMatch(/tidemark_streaming 0\n/)
    expect(text).toMatch(/tidemark_lag_bytes NaN\n/)
  } finally {
    up.child.kill('SIGKILL')
    await up.finished
    line.close()
  }
})

test('a source that writes nothing: what it has is durable soon after the start, and said', async () => {
  await using backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  await backup.init()
  // Of the server before: other databases may write while it streams.
  const head = await backup.head()
  await backup.up()
  const from = performance.now()
  await backup.until(() => backup.events.some(({ event }) => event === 'caught-up'))
  // The keepalives that nobody asks for come every half of wal_sender_timeout, and a heartbeat once a minute.
  expect(performance.now() - from).toBeLessThan(LIMITS.heartbeatMs / 2)
  expect(backup.repository.catalog.generation!.end).toBeGreaterThanOrEqual(head)
  await backup.stop()
})

test('a store that is gone: ready all the same, not protected, and the reason is said; back again, protected', {
  timeout: 300_000,
}, async () => {
  await using backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  await backup.init()
  const settings = parse(await readFile(backup.configPath, 'utf8')) as object
  await writeFile(backup.configPath, stringify({ ...settings, roll: { age: '1s', size: '1MiB' } }))
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  try {
    await up.said('"streaming"')
    const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
      address: string
    }
    await backup.until(async () => (await ask(address, '/protected')).status === 200)
    const store = backup.storeUrl.replace(/^file:\/\//, '')
    await rename(store, `${store}.away`)
    await backup.source.query('INSERT INTO t VALUES (2)')
    await backup.until(async () => (await ask(address, '/protected')).status === 503, 200_000)
    const { reason } = JSON.parse((await ask(address, '/protected')).text) as { reason: string }
    expect(reason).toMatch(/^changes that came \d+ s ago are not durable; STORE_UNREACHABLE: /)
    expect((await ask(address, '/readyz')).status).toBe(200)
    const { text } = await ask(address, '/metrics')
    expect(text).toMatch(/tidemark_protected 0\n/)
    expect(text).toMatch(/tidemark_retries_total\{code="STORE_UNREACHABLE"\} [1-9]/)
    expect(text).toMatch(/tidemark_store_errors_total\{code="STORE_UNREACHABLE"\} [1-9]/)
    expect(text).toMatch(/tidemark_base_age_seconds \d/)
    await rename(`${store}.away`, store)
    await backup.until(async () => (await ask(address, '/protected')).status === 200, 200_000)
    expect((await ask(address, '/metrics')).text).toMatch(/tidemark_protected 1\n/)
  } finally {
    up.child.kill('SIGKILL')
    await up.finished
  }
})

test('copies and anchors: which are behind, and since when', async () => {
  await using backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
    anchors: true,
  })
  await backup.init()
  const copy = join(backup.folder, 'copy')
  const settings = parse(await readFile(backup.configPath, 'utf8')) as object
  await writeFile(backup.configPath, stringify({ ...settings, copies: [{ url: copy, mode: 'mirrored' }] }))
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  try {
    await up.said('"streaming"')
    const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
      address: string
    }
    const figures = /tidemark_copy_up\{place="[^"]+"\} 1[^]*tidemark_anchor_age_seconds \d/
    await backup.until(async () => figures.test((await ask(address, '/metrics')).text))
    await rename(copy, `${copy}.away`)
    await backup.source.query('INSERT INTO t VALUES (2)')
    const behind =
      /tidemark_copy_up\{place="[^"]+"\} 0[^]*tidemark_copy_behind_entries\{place="[^"]+"\} [1-9]/
    await backup.until(async () => behind.test((await ask(address, '/metrics')).text))
    expect((await ask(address, '/protected')).status).toBe(200)
  } finally {
    up.child.kill('SIGKILL')
    await up.finished
  }
})

test('a source that is gone: nothing streams, status --check says so, and each try is told with its pause', {
  timeout: 300_000,
}, async () => {
  await using backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  await backup.init()
  const line = new Line(new URL(backup.sourceUrl))
  const settings = parse(await readFile(backup.configPath, 'utf8')) as { source: object }
  const url = await line.open(backup.sourceUrl)
  await writeFile(backup.configPath, stringify({ ...settings, source: { ...settings.source, url } }))
  const check = () => tidemark(['status', '--check', '--json'], backup.folder)
  expect((await check()).last.error?.message).toContain('there is no finished base')
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  try {
    await up.said('"streaming"')
    const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
      address: string
    }
    await backup.until(async () => (await check()).code === 0)
    expect((await ask(address, '/metrics')).text).toContain('tidemark_streaming 1')
    line.close()
    await backup.until(async () => (await ask(address, '/metrics')).text.includes('tidemark_streaming 0'))
    await backup.until(() => /"event":"retry","code":"SOURCE_UNREACHABLE".*"inMs":\d/.test(up.output))
    const answer = await check()
    expect(answer.code).toBe(13)
    expect(answer.last.error).toMatchObject({
      code: 'NOT_PROTECTED',
      message: expect.stringContaining('SOURCE_UNREACHABLE') as string,
    })
  } finally {
    up.child.kill('SIGKILL')
    await up.finished
  }
})

test('a store that only reads for a while is an outage: up stays, and goes on by itself', async () => {
  let refusals = 0
  let isReadOnly = false
  await using backup = await Backup.start({
    setup: 'CREATE TABLE t (id int PRIMARY KEY)',
    onPoint: (point) => {
      if (!isReadOnly || point !== 'segment-sealed' || ++refusals > 2) return
      throw new TidemarkError('STORE_READ_ONLY', 'not permitted')
    },
  })
  isReadOnly = true
  await backup.source.query('INSERT INTO t VALUES (1)')
  await backup.durable()
  expect(refusals).toBeGreaterThan(2)
  const retries = backup.events.filter((event) => event.event === 'retry')
  expect(retries[0]).toMatchObject({ code: 'STORE_READ_ONLY' })
})

test('a store too full for a segment, with room for less: doctor says that nothing becomes durable, as status --check does', async () => {
  let isFull = false
  await using backup = await Backup.start({
    setup: 'CREATE TABLE t (id int PRIMARY KEY)',
    onPoint: (point) => {
      if (isFull && point === 'segment-sealed') throw new TidemarkError('STORE_FULL', 'no space left')
    },
  })
  // Any age is too old for this limit, so that nobody has to wait for the real one.
  const none = { ...backup.config.roll, ageMs: -(LIMITS.protectedMs + LIMITS.heartbeatMs) }
  const config = { ...backup.config, roll: none }
  const progress = async (of: typeof config) =>
    (await doctor(of)).findings.filter(({ code }) => code === 'NOT_PROTECTED')
  const checked = async (rollMs: number) =>
    notProtected(
      await readStatus(backup.repository, { url: backup.sourceUrl, trustsLog: false }),
      rollMs,
    ).join()
  isFull = true
  await backup.source.query('INSERT INTO t VALUES (1)')
  await backup.until(() => backup.events.some((event) => event.event === 'retry'))
  expect(await progress(config)).toMatchObject([
    { level: 'refuse', what: expect.stringContaining('nothing becomes durable: nothing behind ') as string },
  ])
  expect(await checked(none.ageMs)).toMatch(/nothing behind .* is known: that was \d+ s ago$/)
  isFull = false
  await backup.durable()
  expect(await progress(backup.config)).toEqual([])
  expect(await checked(backup.config.roll.ageMs)).toBe('')
  await backup.stop()
  expect(await progress(backup.config)).toMatchObject([
    { level: 'warn', what: expect.stringMatching(/^nobody reads the slot/) as string },
  ])
  expect(await checked(backup.config.roll.ageMs)).toMatch(/^nobody reads the slot/)
})

test('what the next start would refuse is told while up runs: by itself, by /protected and by status', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  try {
    await up.said('"streaming"')
    const { address } = JSON.parse(up.output.split('\n').find((text) => text.includes('"listening"'))!) as {
      address: string
    }
    await backup.until(async () => (await ask(address, '/protected')).status === 200)
    await backup.source.query('DROP EVENT TRIGGER tidemark_ddl')
    const checked = await tidemark(
      ['status', '--check', '--json', '--config', backup.configPath],
      backup.folder,
    )
    expect([checked.code, checked.stdout.includes('EVENT_TRIGGERS')]).toEqual([13, true])
    await up.said('"source-fitness"')
    const told = await ask(address, '/protected')
    expect([told.status, told.text.includes('EVENT_TRIGGERS')]).toEqual([503, true])
  } finally {
    up.child.kill('SIGKILL')
    await up.finished
  }
})

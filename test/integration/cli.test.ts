/** The whole by its command line, as README has it: init, doctor, up, status, mark, find, read, verify, restore, SIGTERM. */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Backup, digests, shown } from '../support/backup.ts'
import { Running, tidemark } from '../support/cli.ts'

test('README from beginning to end', async () => {
  await using backup = await Backup.prepare({
    setup:
      "CREATE TABLE chat (id bigint PRIMARY KEY, body text); INSERT INTO chat SELECT i, 'message ' || i FROM generate_series(1, 1000) i; CREATE TABLE nokey (v int)",
  })
  const { folder } = backup
  const run = async (...args: string[]) => {
    const answer = await tidemark([...args, '--json'], folder)
    expect(
      answer.last.ok,
      `${args.join(' ')}: ${answer.stdout.slice(-800)} ${answer.stderr.slice(-400)}`,
    ).toBe(true)
    expect(answer.code).toBe(0)
    // Of Node and of libraries: what they warn of, users are told.
    expect(answer.stderr).not.toMatch(/Warning/)
    return answer
  }
  await run(
    'init',
    '--source',
    backup.sourceUrl,
    '--store',
    join(folder, 'store'),
    '--name',
    backup.slot,
    '--yes',
  )
  const config = join(folder, 'tidemark.yaml')
  await writeFile(config, (await readFile(config, 'utf8')).replace('age: 5s', 'age: 300ms'))
  expect((await run('doctor')).stdout).toContain('RESTORE_KEYS_HERE')
  const up = new Running(['up', '--json'], { cwd: folder })
  await up.said('"streaming"')
  const listening = JSON.parse(up.output.split('\n').find((line) => line.includes('"listening"'))!) as {
    address: string
  }
  expect((await fetch(`${listening.address}/healthz`)).status).toBe(200)
  expect((await fetch(`${listening.address}/readyz`)).status).toBe(200)
  const metrics = await (await fetch(`${listening.address}/metrics`)).text()
  for (const name of [
    'tidemark_durable_age_seconds',
    'tidemark_lag_bytes',
    'tidemark_open_gaps 0',
    'tidemark_wal_budget_seconds',
    'tidemark_streaming 1',
  ])
    expect(metrics).toContain(name)
  await backup.source.query("INSERT INTO chat VALUES (5000, 'before')")
  expect((await run('mark', 'before-release')).last).toMatchObject({ durable: true })
  const wanted = shown(await digests(backup.sourceUrl))
  await backup.source.query('DELETE FROM chat')
  const other = new Running(['up', '--json'], { cwd: folder })
  await other.said('SLOT_TAKEN')
  other.child.kill('SIGKILL')
  await other.finished
  const verified = (await run('verify', '--against-source')).last as { position: string }
  expect(verified).toMatchObject({ equal: true })
  const proven = (await run('restore', '--at', verified.position, '--into', await backup.emptyDatabase()))
    .last
  expect(proven).toMatchObject({
    proof: { compared: true, equal: true },
    plan: { point: { at: { xid: expect.any(Number) } } },
  })
  await run('backup', 'base')
  const status = (await run('status')).last as {
    window: { from: string; to: string }
    lag: { bytes: number; seconds: number }
    gaps: unknown[]
    budget: unknown
  }
  expect(status.window.from).toMatch(/\//)
  expect(status.window.to).toMatch(/\//)
  expect(status.lag.bytes).toBeGreaterThanOrEqual(0)
  expect(status.gaps).toEqual([])
  const found = (await run('find', '--operation', 'delete')).last as {
    transactions: { xid: number; tables: { deletes: number }[] }[]
  }
  expect(found.transactions[0]!.tables[0]!.deletes).toBe(1001)
  const history = await run(
    'read',
    '--table',
    'public.chat',
    '--from',
    status.window.from,
    '--to',
    'marker:before-release',
  )
  expect(history.stdout).toContain('"body":"before"')
  const ends = ['--from', status.window.from, '--to', 'marker:before-release']
  for (const wrong of [
    ['--table', 'public.chatt', ...ends],
    ['--table', 'public.chat', '--from', 'marker:before-release', '--to', status.window.from],
    ['--table', 'public.chat', ...ends, '--key', 'no-number'],
    ['--table', 'public.chat', ...ends, '--key', '1', '2'],
  ])
    expect((await tidemark(['read', ...wrong, '--json'], folder)).last.error?.code).toBe('USAGE')
  const dry = await run('restore', '--dry-run', '--at', 'marker:before-release')
  expect(dry.last).toMatchObject({ dryRun: true })
  const into = await backup.emptyDatabase()
  const restored = (await run('restore', '--at', `before:xid:${found.transactions[0]!.xid}`, '--into', into))
    .last as { reached: { position: string; committedAt: string } }
  expect(restored.reached.position).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/)
  expect(restored.reached.committedAt).toMatch(/Z$/)
  expect(shown(await digests(into))).toEqual(wanted)
  await run('verify')
  await run('windows')
  up.child.kill('SIGTERM')
  const ended = await up.finished
  expect(ended.code).toBe(0)
  expect(ended.last.ok).toBe(true)
  expect(ended.stderr).not.toMatch(/Warning/)
  await run('uninstall', '--yes')
  // Some twenty processes, one after the other: a busy machine takes seconds to start each.
}, 300_000)

test('usage errors are one JSON object with exit code 2', async () => {
  for (const args of [
    ['bogus'],
    ['restore'],
    ['restore', '--at', 'latest'],
    ['find', '--operation', 'explode'],
  ]) {
    const answer = await tidemark([...args, '--json'], '/')
    expect(answer.code, args.join(' ')).toBe(2)
    expect(answer.last.ok).toBe(false)
  }
})

test('init says what to correct where there are no settings yet, and up what only a person can mend', async () => {
  await using backup = await Backup.prepare({})
  const init = async (source: string): Promise<string> => {
    const args = ['init', '--source', source, '--store', join(backup.folder, 'store'), '--name', backup.slot]
    const { last } = await tidemark([...args, '--yes', '--json'], backup.folder)
    return last.error?.next ?? 'done'
  }
  const away = new URL(backup.sourceUrl)
  away.port = '1'
  for (const source of ['not a url', 'mysql://127.0.0.1/x', away.toString(), `${backup.sourceUrl}_gone`]) {
    const next = await init(source)
    expect(next, source).toContain('the same tidemark init again')
    expect(next, source).not.toMatch(/tidemark\.yaml|doctor/)
  }
  expect(await init(backup.sourceUrl)).toBe('done')
  await backup.source.query(
    'CREATE OR REPLACE FUNCTION tidemark.version() RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$',
  )
  const up = await tidemark(['up'], backup.folder)
  expect([up.code, up.stdout]).toEqual([3, expect.not.stringContaining('trying again')])
  expect(up.stderr).toMatch(/INSTALLATION_OLD[^]*tidemark init --upgrade/)
})

test('a mistake of ours names a file with where it arose, which only its owner can read and which holds no values', async () => {
  await using backup = await Backup.prepare({})
  const scratch = join(backup.folder, 'scratch')
  await mkdir(scratch)
  // Whatever a mistake is: here dates cannot be printed.
  const broken = `Date.prototype.toISOString = () => { throw new TypeError('hunt' + 'er2') }`
  const args = ['init', '--source', backup.sourceUrl, '--store', join(backup.folder, 'store'), '--yes']
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(broken)}`, TMPDIR: scratch }
  const answer = await tidemark([...args, '--json'], backup.folder, env)
  expect(answer.code, answer.stdout + answer.stderr).toBe(1)
  const { code, next, file = '', stack = '' } = answer.last.error ?? {}
  expect(code).toBe('INTERNAL')
  expect(next).toContain(file)
  expect(await readdir(scratch)).toEqual([file.slice(scratch.length + 1)])
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const text = await readFile(file, 'utf8')
  expect(text).toContain(stack)
  expect(text).toMatch(/^tidemark init\n[^]*caused by TypeError\n\s+at [^]*services/)
  expect(answer.stdout + answer.stderr + text).not.toContain('hunter2')
  // Nowhere to write is no second failure.
  const plain = await tidemark(args, backup.folder, { ...env, TMPDIR: join(backup.folder, 'nowhere') })
  expect(plain.code).toBe(1)
  expect(plain.stderr).toMatch(/error INTERNAL[^]*next: +report this\n[^]*caused by TypeError\n\s+at /)
})

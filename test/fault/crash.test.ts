/** kill -9 of Tidemark at every named point of the write path, and of PostgreSQL: restart, compare. A phantom may exist, a hole never. */
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { Running } from '../support/cli.ts'
import { SERVER_SETTINGS } from '../support/servers.ts'

/** In the order in which a run passes them: those of the base, and those of the stream. */
const BASE_POINTS = [
  'base-snapshot',
  'base-part-stored',
  'table-entry:2',
  'before-base-entry',
  'after-base-entry',
]
const STREAM_POINTS = [
  'segment-sealed',
  'segment-stored',
  'index-stored',
  'before-entry',
  'after-entry',
  'acknowledged',
  'segment-stored:4',
  'after-entry:3',
]

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); CREATE TABLE nokey (v int);
INSERT INTO m SELECT i, repeat(md5(i::text), 1 + i % 200) FROM generate_series(1, 2000) i; INSERT INTO nokey SELECT i % 10 FROM generate_series(1, 200) i; CREATE TABLE third (id int PRIMARY KEY); INSERT INTO third VALUES (1)`

async function write(backup: Backup, round: number): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const id = 10_000 + round * 1000 + i * 10
    await backup.source.query(
      `BEGIN; INSERT INTO m SELECT g, repeat(md5(g::text), 20) FROM generate_series(${id}, ${id + 5}) g; UPDATE m SET body = 'edited' WHERE id = ${id}; DELETE FROM m WHERE id = ${id + 1}; INSERT INTO nokey VALUES (${round}), (${round}); DELETE FROM nokey WHERE ctid = (SELECT min(ctid) FROM nokey); COMMIT`,
    )
    await new Promise((resolve) => setTimeout(resolve, 60))
  }
}

describe('kill -9 of Tidemark', () => {
  test.each([
    ...byTurns('points of the base', BASE_POINTS, 2),
    ...byTurns('points of the stream', STREAM_POINTS, 3),
  ])('at %s', async (point) => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    const text = (await readFile(backup.configPath, 'utf8')).replace('age: 5s', 'age: 200ms')
    await writeFile(backup.configPath, text)
    // The writer's side alone is enough for running and restarting.
    await rename(join(backup.keys, 'restore'), join(backup.folder, 'restore-keys'))
    const args = ['up', '--json', '--config', backup.configPath]
    const first = new Running(args, { cwd: backup.folder, env: { TIDEMARK_CRASH_AT: point } })
    let killed: Awaited<typeof first.finished> | undefined
    void first.finished.then((answer) => (killed = answer))
    // Traffic until the point is passed: some are passed during the base, some only in the stream.
    let round = 1
    for (
      const limit = performance.now() + 120_000;
      killed === undefined && performance.now() < limit;
      round++
    )
      await write(backup, round)
    if (killed === undefined) first.child.kill('SIGKILL')
    expect(killed?.signal, `the point ${point} was never passed`).toBe('SIGKILL')
    await write(backup, round + 1)
    const second = new Running(args, { cwd: backup.folder })
    await second.said('"streaming"')
    await write(backup, round + 2)
    const expected = shown(await digests(backup.sourceUrl))
    await new Promise((resolve) => setTimeout(resolve, 700))
    second.child.kill('SIGTERM')
    const ended = await second.finished
    expect(ended.last.ok, ended.stderr).toBe(true)
    expect(ended.code).toBe(0)
    const restored = await backup.restore('latest', { keys: join(backup.folder, 'restore-keys') })
    expect(shown(await digests(restored.url))).toEqual(expected)
  })
})

test('kill -9 of PostgreSQL in the middle, twice: what it acknowledged comes once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-crash-'))
  const server = await EmbeddedPostgres.create({
    folder,
    settings: { ...SERVER_SETTINGS, fsync: 'on', synchronous_commit: 'on' },
  })
  try {
    await server.start()
    await using backup = await Backup.prepare({ url: server.url(), setup: SETUP })
    await backup.init()
    await backup.up()
    for (let round = 1; round <= 2; round++) {
      await write(backup, round)
      await backup.durable()
      await write(backup, round + 10)
      await server.kill()
      await backup.until(() => backup.events.some((event) => event.event === 'retry'))
      // Children of a killed postmaster take a moment to leave the data folder.
      for (let left = 100; ; left--) {
        const started = await server.start().then(
          () => true,
          (error: unknown) =>
            left > 0 ? false : Promise.reject(error instanceof Error ? error : new Error(String(error))),
        )
        if (started) break
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      const pg = (await import('pg')).default
      const fresh = new pg.Client(backup.sourceUrl)
      fresh.on('error', () => undefined)
      await fresh.connect()
      await fresh.query('INSERT INTO m VALUES ($1, $2)', [900_000 + round, 'after the crash'])
      Object.defineProperty(backup, 'source', { value: fresh })
      await backup.durable()
    }
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    await backup.source.end()
  } finally {
    await server.destroy()
    await rm(folder, { recursive: true, force: true })
  }
})

test('SIGTERM waits for the store, a second one leaves at once; what was not durable comes again', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  await writeFile(
    backup.configPath,
    (await readFile(backup.configPath, 'utf8')).replace('age: 5s', 'age: 200ms'),
  )
  const args = ['up', '--json', '--config', backup.configPath]
  const first = new Running(args, { cwd: backup.folder })
  await first.said('"streaming"')
  // The store goes away: a file stands where its folder was.
  await rename(backup.storeUrl, `${backup.storeUrl}.away`)
  await writeFile(backup.storeUrl, '')
  await backup.source.query('INSERT INTO t SELECT generate_series(1, 100)')
  await first.said('"retry"')
  first.child.kill('SIGTERM')
  await new Promise((resolve) => setTimeout(resolve, 1500))
  expect(first.child.exitCode).toBeNull()
  first.child.kill('SIGTERM')
  const ended = await first.finished
  expect(ended.stdout).toContain('"drained":false')
  await rm(backup.storeUrl)
  await rename(`${backup.storeUrl}.away`, backup.storeUrl)
  const second = new Running(args, { cwd: backup.folder })
  await second.said('"durable"')
  second.child.kill('SIGTERM')
  expect((await second.finished).last.ok).toBe(true)
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

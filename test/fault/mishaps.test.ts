/** What befalls a running backup: a second Tidemark, a slot or a plugin that is gone, a crash between two entries, a full disk. */
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { doctor } from '../../services/app/operations/doctor.ts'
import { comparePositions, parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { Running } from '../support/cli.ts'
import { dropSlot } from '../support/slot.ts'

const SETUP =
  'CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT i, md5(i::text) FROM generate_series(1, 500) i'

test('two Tidemarks on one store: the first is fenced, nothing is doubled', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })
  // The slot keeps a second stream out; a zombie that lost its claim without knowing is what the claim is for.
  await repository.claim(0)
  await backup.source.query("INSERT INTO m VALUES (90000, 'fenced')")
  await expect(backup.running).rejects.toMatchObject({ code: 'WRITER_FENCED' })
  await backup.crash()
  await backup.up()
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test('a slot that was dropped is a gap and a new generation once it is asked for; made again, it is refused', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  await backup.stop()
  await dropSlot(backup)
  await backup.source.query("INSERT INTO m VALUES (70000, 'in the gap')")
  // A clone has no slot either: nothing begins by itself, and nothing is made in the source.
  await expect(backup.up()).rejects.toMatchObject({ code: 'SLOT_MISSING' })
  await backup.crash()
  expect(backup.repository.catalog.generations).toHaveLength(1)
  await backup.up({ newGeneration: 'asked for' })
  await backup.durable()
  expect(backup.events.some((event) => event.event === 'generation')).toBe(true)
  const gap = backup.repository.catalog.gaps.find((g) => g.scope.kind === 'stream')!
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  await expect(backup.restore(positionText(positionOf(gap.from + 8n)))).rejects.toMatchObject({ code: 'GAP' })
  await backup.stop()
  await dropSlot(backup)
  await backup.source.query("INSERT INTO m VALUES (70001, 'in the next gap')")
  await backup.source.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [backup.slot])
  await expect(backup.up()).rejects.toMatchObject({ code: 'SLOT_AHEAD' })
  await backup.crash()
})

test('an output plugin that cannot be loaded does not cost the slot', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  await backup.stop()
  const { source, database } = backup
  // Our own functions are called before the stream begins: their language is there.
  const only = join(backup.folder, 'libraries')
  await mkdir(only, { mode: 0o755 })
  await chmod(backup.folder, 0o755)
  const { rows } = await source.query<{ at: string }>(
    `SELECT setting AS at FROM pg_config WHERE name = 'PKGLIBDIR'`,
  )
  await symlink(join(rows[0]!.at, 'plpgsql.so'), join(only, 'plpgsql.so'))
  await source.query(`ALTER DATABASE ${database} SET dynamic_library_path = '${only}'`)
  await expect(backup.up({ waitFor: 'generation' })).rejects.toMatchObject({
    code: 'SOURCE_UNSUITABLE',
    message: expect.stringContaining('pgoutput') as string,
  })
  await backup.crash()
  await source.query(`ALTER DATABASE ${database} RESET dynamic_library_path`)
  await source.query("INSERT INTO m VALUES (80000, 'meanwhile')")
  await backup.up()
  await backup.durable()
  expect(backup.repository.catalog.generations).toHaveLength(1)
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test('a crash between the entry of a hole and the generation behind it: the old one does not go on', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  await backup.stop()
  const repository = await backup.openRepository()
  const old = repository.catalog.generation!
  await repository.append({
    kind: 'gap',
    generation: old.facts.generation,
    id: randomUUID(),
    from: positionText(old.end),
    to: null,
    reason: 'asked for',
    scope: { kind: 'stream' },
  })
  await backup.source.query("INSERT INTO m VALUES (90000, 'behind the hole')")
  await backup.up({ waitFor: 'base' })
  await backup.durable()
  expect(backup.repository.catalog.generations).toHaveLength(2)
  expect(backup.repository.catalog.gaps.filter((gap) => gap.scope.kind === 'stream')).toHaveLength(1)
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test('disk full while writing: nothing is acknowledged, and it goes on by itself', async (context) => {
  const mount = join('/tmp', `tidemark-full-${process.pid}`)
  await mkdir(mount, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', mount], { stdio: 'ignore' })
  } catch {
    await rm(mount, { recursive: true })
    context.skip('a small tmpfs cannot be mounted here (needs root)')
  }
  try {
    await using backup = await Backup.prepare({ setup: 'CREATE TABLE m (id bigint PRIMARY KEY, body text)' })
    Object.defineProperty(backup, 'storeUrl', { value: join(mount, 'store') })
    await backup.init()
    await backup.up()
    for (let i = 0; i < 5; i++)
      await backup.source.query(
        `INSERT INTO m SELECT g, (SELECT string_agg(md5((g * 100 + k)::text), '') FROM generate_series(1, 40) k) FROM generate_series(${i * 1000}, ${i * 1000 + 999}) g`,
      )
    await backup.until(() =>
      backup.events.some((event) => event.event === 'retry' && event.code === 'STORE_FULL'),
    )
    execFileSync('mount', ['-o', 'remount,size=40m', mount])
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  } finally {
    execFileSync('umount', ['-l', mount])
    await rm(mount, { recursive: true, force: true })
  }
})

test('the folder of the store goes away, as an unmounted disk does, and comes back', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  const away = `${backup.storeUrl}-away`
  await rename(backup.storeUrl, away)
  await backup.source.query("INSERT INTO m VALUES (80000, 'written meanwhile')")
  await backup.until(() =>
    backup.events.some((event) => event.event === 'retry' && event.code === 'STORE_UNREACHABLE'),
  )
  expect(existsSync(backup.storeUrl)).toBe(false)
  await rename(away, backup.storeUrl)
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test('an empty folder stands where the store was, as under an unmounted disk: nothing is written or acknowledged', async () => {
  await using backup = await Backup.start({ setup: SETUP })
  await backup.durable()
  const away = `${backup.storeUrl}-away`
  await rename(backup.storeUrl, away)
  // A folder that is not there is made by nobody, whoever looks.
  const { findings } = await doctor(backup.config)
  expect(findings.map(({ code }) => code)).toContain('STORE_NOT_FOUND')
  expect(existsSync(backup.storeUrl)).toBe(false)
  await mkdir(backup.storeUrl)
  const slot = async (): Promise<string> =>
    (
      await backup.source.query<{ lsn: string }>(
        'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1',
        [backup.slot],
      )
    ).rows[0]!.lsn
  const written = (
    await backup.source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
  ).rows[0]!.lsn
  await backup.source.query("INSERT INTO m VALUES (80000, 'written meanwhile')")
  await backup.until(
    () =>
      backup.events.filter((event) => event.event === 'retry' && event.code === 'STORE_UNREACHABLE').length >=
      3,
  )
  expect(comparePositions(parsePosition(await slot()), parsePosition(written))).toBeLessThanOrEqual(0)
  expect(await readdir(backup.storeUrl)).toEqual([])
  await rm(backup.storeUrl, { recursive: true })
  await rename(away, backup.storeUrl)
  await backup.durable()
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

test('a prepared transaction that a copy waits for is named: it has no process that anybody could look for', async () => {
  await using backup = await Backup.prepare({
    setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)',
  })
  await backup.init()
  const gid = `left ${backup.database}`
  await backup.source.query(`BEGIN; INSERT INTO u VALUES (1); PREPARE TRANSACTION '${gid}'`)
  const up = new Running(['up', '--json', '--config', backup.configPath], { cwd: backup.folder })
  try {
    await up.said('"base-waiting"')
    const told = up.output.split('\n').find((line) => line.includes('"base-waiting"'))!
    expect((JSON.parse(told) as { prepared: string[] }).prepared).toContain(gid)
    await backup.source.query(`COMMIT PREPARED '${gid}'`)
    await up.said('"streaming"')
  } finally {
    await backup.source.query(`ROLLBACK PREPARED '${gid}'`).catch(() => undefined)
    up.child.kill('SIGKILL')
    await up.finished
  }
})

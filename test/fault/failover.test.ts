/** Timelines: a promoted server goes on in the same generation, one that lost transactions begins another. */
import { TESTER } from '../support/actor.ts'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, stat, writeFile, chown } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { expect, test } from 'vitest'
import { parsePosition, type Position, positionOf, positionText } from '../../services/core/position.ts'
import { EmbeddedPostgres } from '../../services/demo/embedded-postgres.ts'
import { doctor } from '../../services/app/operations/doctor.ts'
import { readStatus } from '../../services/app/operations/status.ts'
import { find } from '../../services/app/operations/find.ts'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { resolvePoint } from '../../services/history/point.ts'
import { parsePoint } from '../../services/history/point-text.ts'
import { pointText } from '../../services/repository/restorable.ts'
import { Backup, digests, shown, withDatabase } from '../support/backup.ts'
import { SERVER_SETTINGS } from '../support/servers.ts'

/** Starts the server as a standby and promotes it: its next timeline begins. */
async function promote(server: EmbeddedPostgres): Promise<void> {
  const { uid, gid } = await stat(join(server.data, 'PG_VERSION'))
  await writeFile(join(server.data, 'standby.signal'), '')
  await chown(join(server.data, 'standby.signal'), uid, gid)
  await server.start()
  const client = new pg.Client(server.url())
  await client.connect()
  await client.query('SELECT pg_promote(true, 30)')
  await client.end()
}

async function withServers(
  use: (make: (name: string) => Promise<EmbeddedPostgres>) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-failover-'))
  const servers: EmbeddedPostgres[] = []
  try {
    await use(async (name) => {
      const server = await EmbeddedPostgres.create({
        folder: join(folder, name),
        settings: { ...SERVER_SETTINGS, fsync: 'on', hot_standby: 'on' },
      })
      servers.push(server)
      return server
    })
  } finally {
    for (const server of servers) await server.destroy()
    await rm(folder, { recursive: true, force: true })
  }
}

const SETUP =
  'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, $$a$$ FROM generate_series(1, 100) g'

test('a promotion that lost nothing: the same generation goes on over the new timeline', async () => {
  await withServers(async (make) => {
    const server = await make('one')
    await server.start()
    await using backup = await Backup.start({ url: server.url(), setup: SETUP })
    await backup.source.query(`UPDATE t SET v = 'before' WHERE id < 50`)
    await backup.durable()
    await backup.stop()
    await server.stop()
    await promote(server)
    const client = new pg.Client(withDatabase(server.url(), backup.database))
    client.on('error', () => undefined)
    await client.connect()
    await backup.up()
    const position = async (): Promise<Position> =>
      parsePosition((await client.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l)
    // Heartbeats alone lie on the new timeline as well.
    await backup.reached(await position())
    await backup.stop()
    await backup.up()
    expect(backup.repository.catalog.generations.length).toBe(1)
    await client.query(`UPDATE t SET v = 'after' WHERE id < 20; ALTER TABLE t ADD COLUMN w int DEFAULT 3`)
    const head = (await client.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l
    await backup.until(() => positionText(backup.repository.catalog.generation!.end) >= head)
    expect(backup.repository.catalog.generations.length).toBe(1)
    expect(backup.repository.catalog.generation!.segments.last!.body.timeline).toBe(2)
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(
      shown(await digests(withDatabase(server.url(), backup.database))),
    )
    await client.end()
  })
})

test('a promotion that lost transactions which are stored: a gap and a new generation, never a mixture', async () => {
  await withServers(async (make) => {
    const primary = await make('primary')
    await primary.start()
    await using backup = await Backup.start({ url: primary.url(), setup: SETUP })
    await backup.durable()
    await backup.stop()
    await primary.stop()
    const standby = await make('standby')
    await rm(standby.data, { recursive: true })
    execFileSync('cp', ['-a', primary.data, standby.data])
    await primary.start()
    await backup.up()
    const lost = new pg.Client(withDatabase(primary.url(), backup.database))
    await lost.connect()
    await lost.query(
      `UPDATE t SET v = 'lost with the primary'; INSERT INTO t SELECT g, 'lost' FROM generate_series(1000, 1100) g`,
    )
    const kept = shown(await digests(withDatabase(primary.url(), backup.database)))
    const stored = (await lost.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l
    await backup.until(() => {
      const durable = positionText(backup.repository.catalog.generation!.end)
      return durable.length > stored.length || durable >= stored
    })
    await lost.end()
    await backup.stop()
    await primary.kill()
    await promote(standby)
    const url = withDatabase(standby.url(), backup.database)
    const client = new pg.Client(url)
    client.on('error', () => undefined)
    await client.connect()
    await client.query(`INSERT INTO t VALUES (2000, 'written after the failover')`)
    await backup.up({ sourceUrl: url, waitFor: 'base' })
    await backup.until(
      () =>
        backup.repository.catalog.generation!.base !== undefined &&
        backup.repository.catalog.generation!.end >= backup.repository.catalog.generation!.base.closing,
    )
    expect(backup.repository.catalog.generations.map((g) => g.facts.timeline)).toEqual([1, 2])
    await backup.stop()
    const target = async (name: string): Promise<string> => {
      await client.query(`CREATE DATABASE ${name}`)
      return withDatabase(standby.url(), name)
    }
    const restored = await backup.restore('latest', { into: await target('newest') })
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(url)))
    // What the old primary had, and the failover lost, is still there to be looked at.
    const end = positionText(backup.repository.catalog.generations[0]!.to)
    await expect(backup.restore(end, { into: await target('unclear') })).rejects.toMatchObject({
      code: 'POINT_AFTER_HEAD',
      next: expect.stringContaining(`${end}@1`) as string,
    })
    const old = await backup.restore(`${end}@1`, { into: await target('older') })
    expect(shown(await digests(old.url))).toEqual(kept)
    const gap = backup.repository.catalog.gaps.find((g) => g.scope.kind === 'stream')!
    await expect(
      backup.restore(`${positionText(positionOf(gap.from + 8n))}@1`, { into: await target('between') }),
    ).rejects.toMatchObject({ code: 'GAP' })
    await client.end()
  })
})

/** The data folder as it is; `slots: false` as pg_basebackup and the snapshots of most tools leave it. */
function copyServer(from: EmbeddedPostgres, to: EmbeddedPostgres, slots: boolean): void {
  execFileSync('rm', ['-rf', to.data])
  execFileSync('cp', ['-a', from.data, to.data])
  if (!slots) execFileSync('sh', ['-c', 'rm -rf "$0"/pg_replslot/*', to.data])
}

test('a source that was set back to an older snapshot of its disk is refused, whatever it has written since', async () => {
  await withServers(async (make) => {
    const server = await make('one')
    await server.start()
    await using backup = await Backup.start({ url: server.url(), setup: SETUP })
    await backup.durable()
    await backup.stop()
    await server.stop()
    const snapshot = await make('snapshot')
    copyServer(server, snapshot, true)
    await server.start()
    const client = new pg.Client(withDatabase(server.url(), backup.database))
    client.on('error', () => undefined)
    await client.connect()
    await backup.up()
    for (let i = 0; i < 10; i++)
      await client.query(
        `INSERT INTO t SELECT g, 'abandoned' FROM generate_series(${1000 + 100 * i}, ${1099 + 100 * i}) g`,
      )
    await backup.reached(
      parsePosition((await client.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l),
    )
    await client.end()
    await backup.stop()
    const stored = backup.repository.catalog.generation!.end
    await server.kill()
    await snapshot.start()
    const url = withDatabase(snapshot.url(), backup.database)
    // Its end lies below what is stored.
    await expect(backup.up({ sourceUrl: url, waitFor: 'base' })).rejects.toMatchObject({
      code: 'SOURCE_DIVERGED',
    })
    await backup.crash()
    const other = new pg.Client(url)
    other.on('error', () => undefined)
    await other.connect()
    // And beyond, with rows of its own: by its end alone it looks right.
    await other.query(`INSERT INTO t VALUES (5000, 'real'); CREATE TABLE filler (id int PRIMARY KEY, v text)`)
    for (let left = 200; left > 0; left--) {
      await other.query(
        `INSERT INTO filler SELECT g, repeat('x', 1000) FROM generate_series(${left * 1000}, ${left * 1000 + 99}) g`,
      )
      const at = (await other.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l
      if (parsePosition(at) > stored + 100_000n) break
    }
    // Whoever only asks hears of it too, and does not move the slot.
    const asked = { url, trustsLog: false }
    const { findings } = await doctor({ ...backup.config, source: { ...backup.config.source, url } })
    expect(findings.find(({ level }) => level === 'refuse')).toMatchObject({ code: 'SOURCE_DIVERGED' })
    const status = await readStatus(await backup.openRepository(), asked)
    expect(status.sourceError).toMatchObject({ code: 'SOURCE_DIVERGED' })
    // Twice: the first refusal must not have moved the slot past the proof.
    for (let i = 0; i < 2; i++) {
      await expect(backup.up({ sourceUrl: url, waitFor: 'base' })).rejects.toMatchObject({
        code: 'SOURCE_DIVERGED',
      })
      await backup.crash()
    }
    expect(backup.repository.catalog.generations).toHaveLength(1)
    expect(backup.repository.catalog.generation!.end).toBe(stored)
    await other.end()
  })
})

test('numbers that come again in a source that was set back: each point says its generation, or is refused', async () => {
  await withServers(async (make) => {
    const server = await make('one')
    await server.start()
    await using backup = await Backup.start({ url: server.url(), setup: SETUP })
    await backup.durable()
    await backup.stop()
    await server.stop()
    const older = await make('older')
    copyServer(server, older, true)
    await server.start()
    const source = withDatabase(server.url(), backup.database)
    const run = async (address: string, sql: string): Promise<string | undefined> => {
      const client = new pg.Client(address)
      client.on('error', () => undefined)
      await client.connect()
      try {
        const { rows } = (await client.query(sql)) as pg.QueryResult<{ x: string }>
        return rows[0]?.x
      } finally {
        await client.end()
      }
    }
    const end = async (address: string): Promise<Position> =>
      parsePosition((await run(address, 'SELECT pg_current_wal_lsn()::text AS x'))!)
    const marker = `INSERT INTO tidemark.marker (name) VALUES ('twice')`
    await backup.up()
    await run(source, marker)
    const xid = 'RETURNING pg_current_xact_id()::text AS x'
    const lost = new Map<number, number>()
    for (let id = 1; id <= 10; id++)
      lost.set(Number(await run(source, `DELETE FROM t WHERE id = ${id} ${xid}`)), id)
    await backup.reached(await end(source))
    await backup.stop()
    await server.kill()
    await older.start()
    const url = withDatabase(older.url(), backup.database)
    const unwatched = (await run(
      url,
      `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS x`,
    ))!
    await backup.up({ sourceUrl: url, newGeneration: 'the source was set back' })
    await run(url, marker)
    const written: number[] = []
    while ((written.at(-1) ?? 0) < Math.max(...lost.keys()))
      written.push(Number(await run(url, `INSERT INTO t SELECT max(id) + 1, 'second' FROM t ${xid}`)))
    // Tidemark writes too: not every number is the application's in both.
    const again = written.find((one) => lost.has(one))
    expect(again).toBeDefined()
    await backup.reached(await end(url))
    const { repository } = await openBackup({ ...placeOf(backup.config), role: 'restore' })
    const found = await find({
      actor: TESTER,
      ...placeOf(backup.config),
      around: undefined,
      withinMinutes: 60,
      minRows: 1,
      limit: 1000,
    })
    const same = found.transactions.filter(({ xid }) => xid === again)
    expect(same.map(({ before }) => before.point).sort()).toEqual([
      `before:xid:${again}@1`,
      `before:xid:${again}@2`,
    ])
    // As it is printed, it means what was found.
    for (const t of found.transactions) {
      if (!t.restorable) continue
      const point = await resolvePoint(repository, parsePoint(t.point))
      expect(pointText(repository.catalog, point.generation, point.position)).toBe(t.position)
      const same = await resolvePoint(repository, parsePoint(t.position))
      expect([same.generation, same.position]).toEqual([point.generation, point.position])
    }
    await run(older.url(), 'CREATE DATABASE undone')
    const undone = await backup.restore(`before:xid:${again}@1`, {
      into: withDatabase(older.url(), 'undone'),
    })
    expect(
      await run(undone.url, `SELECT count(*) FILTER (WHERE v = 'a') || ' of ' || count(*) AS x FROM t`),
    ).toBe(`${101 - lost.get(again!)!} of ${101 - lost.get(again!)!}`)
    // What lies on both sides of a time between them is in one generation each, however its place counts.
    const refused = await resolvePoint(repository, parsePoint(unwatched)).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'GAP' })
    const beside = []
    for (const [, at] of (refused as { next: string }).next.matchAll(/--at (\S+)/g))
      beside.push((await resolvePoint(repository, parsePoint(at!))).generation.facts.generation)
    expect(beside).toEqual([1, 2])
    for (const [plain, ...points] of [
      [`xid:${again}`, `xid:${again}@1`, `xid:${again}@2`],
      [`before:xid:${again}`, `before:xid:${again}@1`, `before:xid:${again}@2`],
      ['marker:twice', 'marker:twice@1', 'marker:twice@2'],
    ]) {
      await expect(resolvePoint(repository, parsePoint(plain!))).rejects.toMatchObject({
        code: 'POINT_AMBIGUOUS',
        next: points.map((point) => `--at ${point}`).join('  or  '),
      })
      const generations = []
      for (const point of points)
        generations.push((await resolvePoint(repository, parsePoint(point))).generation.facts.generation)
      expect(generations).toEqual([1, 2])
    }
  })
})

test('a copy of the source without its slot is refused, promoted or not, until somebody says that it is the source', async () => {
  await withServers(async (make) => {
    const server = await make('one')
    await server.start()
    await using backup = await Backup.start({ url: server.url(), setup: SETUP })
    await backup.durable()
    await backup.stop()
    await server.stop()
    const clone = await make('clone')
    copyServer(server, clone, false)
    await clone.start()
    const url = withDatabase(clone.url(), backup.database)
    await expect(backup.up({ sourceUrl: url, waitFor: 'base' })).rejects.toMatchObject({
      code: 'SLOT_MISSING',
    })
    await backup.crash()
    // On the same timeline even where the address always means the primary.
    await expect(backup.up({ sourceUrl: url, waitFor: 'base', failover: 'automatic' })).rejects.toMatchObject(
      { code: 'SLOT_MISSING' },
    )
    await backup.crash()
    await clone.stop()
    await promote(clone)
    await expect(backup.up({ sourceUrl: url, waitFor: 'base' })).rejects.toMatchObject({
      code: 'SLOT_MISSING',
    })
    await backup.crash()
    expect(backup.repository.catalog.generations).toHaveLength(1)
    const client = new pg.Client(url)
    client.on('error', () => undefined)
    await client.connect()
    expect((await client.query('SELECT FROM pg_replication_slots')).rowCount).toBe(0)
    // A failover of a cluster that does not carry slots over.
    await backup.up({ sourceUrl: url, waitFor: 'base', failover: 'automatic' })
    expect(backup.repository.catalog.generations.map((g) => g.facts.timeline)).toEqual([1, 2])
    await client.end()
  })
})

/** Rebuilds that do not fit into memory, stop half way, or run out of scratch room. */
import { TESTER } from '../support/actor.ts'
import { execFileSync } from 'node:child_process'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { expect, test } from 'vitest'
import { restore, type RestoreReport } from '../../services/app/operations/restore.ts'
import { columnType } from '../../services/engines/postgres/dialect/column-type.ts'
import { ByteSink } from '../../services/core/byte-sink.ts'
import { KeyedFold } from '../../services/rebuild/keyed-fold.ts'
import type { RebuildEvents } from '../../services/rebuild/rebuild.ts'
import { RowLayout } from '../../services/history/row-layout.ts'
import { Backup, digests, shown } from '../support/backup.ts'

const BODY = `(SELECT string_agg(md5(g::text || k::text), '') FROM generate_series(1, 40) k)`

async function sameAsSource(backup: Backup, url: string): Promise<void> {
  expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
}

/** The same restore into one target, run to its end or cut at a stage. */
function resumable(backup: Backup, into: string) {
  const run = (at: string, signal: AbortSignal, events: RebuildEvents): Promise<RestoreReport> =>
    restore({
      actor: TESTER,
      ...{ storeUrl: backup.storeUrl, keys: backup.keys, at, into, exceptTables: [], dryRun: false },
      signal,
      events,
    })
  return {
    whole: (at: string) => run(at, new AbortController().signal, {}),
    async cut(at: string, stage: 'schema' | 'load'): Promise<void> {
      const stop = new AbortController()
      const onProgress: RebuildEvents['onProgress'] = (p) =>
        p.stage === stage && p.done >= 1 && stop.abort(new DOMException('killed', 'AbortError'))
      await expect(run(at, stop.signal, { onProgress })).rejects.toThrow()
    },
  }
}

test('changes that do not fit into memory are folded on disk: moves, swaps, unchanged bodies, schema changes, TRUNCATE', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE m (id bigint PRIMARY KEY, body text, n int DEFAULT 0); ALTER TABLE m ALTER body SET STORAGE EXTERNAL;
      CREATE TABLE bare (a int, b text); CREATE TABLE gone (id int PRIMARY KEY);
      INSERT INTO m SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, 300) g; INSERT INTO bare SELECT g % 50, g::text FROM generate_series(1, 500) g; INSERT INTO gone SELECT generate_series(1, 100)`,
  })
  const { source } = backup
  // Every key moves, so that the unchanged 10 kB bodies lie under keys that are somebody else's now.
  await source.query('UPDATE m SET id = id + 1000')
  await source.query('UPDATE m SET id = id - 1001, n = n + 1')
  await source.query(
    'BEGIN; UPDATE m SET id = -7 WHERE id = 3; UPDATE m SET id = 3 WHERE id = 4; UPDATE m SET id = 4 WHERE id = -7; COMMIT',
  )
  await source.query(
    `DELETE FROM m WHERE id % 7 = 0; INSERT INTO m SELECT g * 7, 'again', 5 FROM generate_series(0, 20) g`,
  )
  await source.query(`ALTER TABLE m ADD COLUMN extra text DEFAULT 'x'`)
  await source.query('UPDATE m SET n = n + 1 WHERE id % 3 = 0; UPDATE m SET id = id + 5000 WHERE id % 5 = 0')
  await source.query('ALTER TABLE m DROP COLUMN n; UPDATE m SET extra = id::text WHERE id > 5000')
  await source.query(
    'UPDATE bare SET b = b || a WHERE a < 20; DELETE FROM bare WHERE a = 30; ALTER TABLE bare ADD COLUMN c int; UPDATE bare SET c = 1 WHERE a = 10; INSERT INTO bare SELECT 1, $$1$$, 1 FROM generate_series(1, 30)',
  )
  await source.query('TRUNCATE gone; INSERT INTO gone SELECT generate_series(50, 60)')
  await backup.durable()
  const restored = await backup.restore('latest', { memoryBytes: 1000 })
  expect(restored.result!.spilledBytes).toBeGreaterThan(20_000)
  await sameAsSource(backup, restored.url)
  await sameAsSource(backup, (await backup.restore('latest')).url)
})

test('a row that is changed for ever costs the memory of one row', () => {
  const layout = new RowLayout(
    {
      oid: 1,
      schema: 's',
      name: 't',
      identity: 'default',
      columns: [
        { name: 'id', ...columnType(20, -1), key: true },
        { name: 'body', ...columnType(25, -1), key: false },
      ],
    },
    'utf8',
  )
  const fold = new KeyedFold(layout, 't')
  const row = (text: string): Buffer => {
    const sink = new ByteSink(64)
    sink.byte(2)
    sink.long(1)
    sink.byte(2)
    sink.string(text)
    return sink.take()
  }
  const first = row('x')
  fold.insert(first, { start: 0, end: first.length })
  for (let i = 0; i < 5000; i++) {
    const image = row(`${i}${'y'.repeat(20_000)}`)
    fold.update(image, undefined, { start: 0, end: image.length })
  }
  expect(fold.bytes).toBeLessThan(20_000_000)
  const out: string[] = []
  for (const _ of fold.finish((buffer, start, end) => out.push(buffer.toString('utf8', start, end))))
    expect(out.length).toBeLessThan(2)
  expect(out.length).toBe(1)
  expect(out[0]).toContain('4999yyy')
})

test('a restore that stops half way keeps the tables it has loaded, and finishes the rest when run again', async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE first (id int PRIMARY KEY, v text); CREATE TABLE second (id int PRIMARY KEY, v text); CREATE TABLE third (id int PRIMARY KEY); INSERT INTO first SELECT g, ${BODY} FROM generate_series(1, 2000) g; INSERT INTO second SELECT g, ${BODY} FROM generate_series(1, 900) g`,
  })
  await backup.source.query(
    `UPDATE first SET v = 'new' WHERE id % 2 = 0; UPDATE second SET v = 'new' WHERE id % 3 = 0; INSERT INTO third SELECT generate_series(1, 10)`,
  )
  await backup.durable()
  const wanted = shown(await digests(backup.sourceUrl))
  const into = await backup.emptyDatabase()
  const restoring = resumable(backup, into)
  await restoring.cut('latest', 'load')
  const target = new pg.Client(into)
  await target.connect()
  try {
    const loaded = (
      await target.query<{ step: string }>('SELECT step FROM tidemark_restore.done WHERE rows IS NOT NULL')
    ).rows.map((row) => (JSON.parse(row.step) as string[])[1]!)
    expect(loaded.length).toBeGreaterThanOrEqual(1)
    const writtenBy = async (table: string): Promise<string> =>
      (await target.query<{ x: string }>(`SELECT min(xmin::text) AS x FROM ${table}`)).rows[0]!.x
    const before = await inTurn(loaded, writtenBy)
    // `latest` moves on between the two tries, and means what it meant at the first one.
    await backup.source.query('INSERT INTO third SELECT generate_series(11, 20)')
    await backup.durable()
    const refused = async (change: string, told: RegExp): Promise<void> => {
      await target.query(`BEGIN; CREATE TABLE kept AS TABLE tidemark_restore.state; COMMIT`)
      await target.query(`UPDATE tidemark_restore.state SET ${change}`)
      await expect(restoring.whole('latest')).rejects.toMatchObject({
        code: 'TARGET_NOT_EMPTY',
        message: expect.stringMatching(told),
      })
      await target.query(
        'BEGIN; TRUNCATE tidemark_restore.state; INSERT INTO tidemark_restore.state TABLE kept; DROP TABLE kept; COMMIT',
      )
    }
    await refused("stream = 'another one'", /another backup/)
    await refused("position = '0/1@1'", /does not have any more/)
    await refused("asked = 'marker:x'", /of another point: --at marker:x, which is [0-9A-F]+\/[0-9A-F]+@1/)
    const report = await restoring.whole('latest')
    expect(report.plan.resumes).toBe(true)
    expect(report.result!.tables.map((t) => [t.name, t.rows])).toEqual([
      ['first', 2000],
      ['second', 900],
      ['third', 10],
    ])
    expect(await inTurn(loaded, writtenBy)).toEqual(before)
  } finally {
    await target.end()
  }
  expect(shown(await digests(into))).toEqual(wanted)
})

test('half of a restore by a version that did not note its point: resumed by its position, and noted then', async () => {
  await using backup = await Backup.start({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.source.query('INSERT INTO t VALUES (1)')
  await backup.durable()
  const wanted = shown(await digests(backup.sourceUrl))
  const into = await backup.emptyDatabase()
  const restoring = resumable(backup, into)
  await restoring.cut('latest', 'schema')
  const target = new pg.Client(into)
  await target.connect()
  try {
    const noted = async (): Promise<unknown> =>
      (await target.query('SELECT asked, position FROM tidemark_restore.state')).rows
    const [{ position }] = (await noted()) as [{ position: string }]
    await target.query(
      'ALTER TABLE tidemark_restore.state DROP COLUMN asked, DROP COLUMN position, DROP COLUMN stream',
    )
    await backup.source.query('INSERT INTO t VALUES (2)')
    await backup.durable()
    await expect(restoring.whole('latest')).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
    await restoring.cut(position, 'schema')
    expect(await noted()).toEqual([{ asked: position, position }])
    await restoring.whole(position)
  } finally {
    await target.end()
  }
  expect(shown(await digests(into))).toEqual(wanted)
})

test('no room for the scratch file: a coded error, nothing left behind, and the same restore works with room', async (context) => {
  const mount = join('/tmp', `tidemark-scratch-${process.pid}`)
  await mkdir(mount, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount], { stdio: 'ignore' })
  } catch {
    await rm(mount, { recursive: true })
    context.skip('a small tmpfs cannot be mounted here (needs root)')
  }
  const before = process.env['TMPDIR']
  try {
    await using backup = await Backup.start({ setup: 'CREATE TABLE m (id bigint PRIMARY KEY, body text)' })
    await backup.source.query(`INSERT INTO m SELECT g, ${BODY} FROM generate_series(1, 3000) g`)
    await backup.durable()
    const into = await backup.emptyDatabase()
    process.env['TMPDIR'] = mount
    await expect(backup.restore('latest', { into, memoryBytes: 100_000 })).rejects.toMatchObject({
      code: 'SPILL_FAILED',
    })
    expect(await readdir(mount)).toEqual([])
    process.env['TMPDIR'] = before ?? '/tmp'
    await backup.restore('latest', { into, memoryBytes: 100_000 })
    await sameAsSource(backup, into)
  } finally {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
    execFileSync('umount', ['-l', mount])
    await rm(mount, { recursive: true, force: true })
  }
})

async function inTurn<T, R>(list: readonly T[], action: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = []
  for (const item of list) out.push(await action(item))
  return out
}

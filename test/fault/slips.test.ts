/** What people mistype, or start twice: said where it is, with what to write instead. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { parsePoint } from '../../services/history/point-text.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup } from '../support/backup.ts'
import { Running, tidemark } from '../support/cli.ts'

afterEach(() => Running.killAll())

test('a table that find has never heard of is refused, under every name that there was it is found', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE messages (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)',
  })
  await backup.source.query('INSERT INTO gone VALUES (1); INSERT INTO messages VALUES (1)')
  await backup.source.query('DROP TABLE gone; ALTER TABLE messages RENAME TO texts')
  await backup.source.query('CREATE VIEW seen AS SELECT * FROM texts')
  await backup.durable()
  await backup.stop()
  const find = (table: string) => tidemark(['find', '--table', table, '--json'], backup.folder)
  for (const known of ['public.messages', 'messages', 'texts', 'public.gone', 'seen'])
    expect([known, (await find(known)).code]).toEqual([known, 0])
  const { code, last } = await find('public.mesages')
  expect([code, last.error?.code]).toEqual([2, 'USAGE'])
  expect(last.error?.message).toBe(
    '--table public.mesages: the backup has never known such a table; there are public.gone, public.messages, public.seen, public.texts',
  )

  const restore = async (...args: string[]) =>
    (await tidemark(['restore', '--json', ...args], backup.folder)).last.error
  expect(await restore('--at', 'latest', '--into', 'foo')).toMatchObject({
    code: 'USAGE',
    next: expect.stringContaining('--into postgresql://') as string,
  })
  const later = await restore('--dry-run', '--at', '2999-01-01T00:00:00Z')
  expect(later?.message).toMatch(/^2999-01-01T00:00:00Z: what the source committed is known until /)
  expect((await restore('--dry-run', '--at', '2999-01-01 02:00:00+02'))?.message).toMatch(
    /^2999-01-01 02:00:00\+02 is 2999-01-01T00:00:00(\.0+)?Z in UTC: /,
  )
})

test('a partitioned table means its partitions, those too that were some only for a while', {
  timeout: 120_000,
}, async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE messages (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE other (id int PRIMARY KEY);
      CREATE TABLE early PARTITION OF messages FOR VALUES FROM (0) TO (10);
      CREATE TABLE late PARTITION OF messages FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
      CREATE TABLE "late ""all""" PARTITION OF late DEFAULT`,
  })
  await backup.source.query('INSERT INTO messages VALUES (1); INSERT INTO other VALUES (1)')
  await backup.source.query('INSERT INTO messages VALUES (11)')
  await backup.source.query('CREATE TABLE brief PARTITION OF messages FOR VALUES FROM (20) TO (30)')
  await backup.source.query('INSERT INTO messages VALUES (21)')
  await backup.source.query('DROP TABLE brief; ALTER TABLE messages DETACH PARTITION early')
  await backup.source.query('INSERT INTO other VALUES (2)')
  await backup.durable()
  for (const table of ['public.messages', 'messages']) {
    const { last } = await tidemark(
      ['find', '--table', table, '--operation', 'insert', '--json'],
      backup.folder,
    )
    const { partitions, transactions } = last as unknown as {
      partitions: string[]
      transactions: { tables: { table: string }[] }[]
    }
    const late = 'public.late "all"'
    expect(partitions).toEqual(['public.brief', 'public.early', 'public.late', late])
    expect(transactions.flatMap((t) => t.tables.map((one) => one.table)).sort()).toEqual([
      'public.brief',
      'public.early',
      late,
      'public.other',
    ])
  }
  const people = await tidemark(['find', '--table', 'messages'], backup.folder)
  expect(people.stdout).toContain('Its rows are in its partitions: public.brief, public.early, ')
  const ends = [
    '--from',
    positionText(backup.repository.catalog.generation!.bases[0]!.closing),
    '--to',
    'latest',
  ]
  const read = await tidemark(['read', '--table', 'messages', ...ends, '--json'], backup.folder)
  expect([read.code, read.last.error?.code, read.last.error?.message]).toEqual([
    2,
    'USAGE',
    'public.messages has no rows of its own, its partitions have them: public.brief, public.early, public.late, public.late "all"',
  ])
})

test('zones as psql prints them', () => {
  const micros = (text: string): bigint => {
    const point = parsePoint(text)
    return point.kind === 'time' ? point.micros : 0n
  }
  for (const [short, long] of [
    ['2026-11-27T15:28:05+00', '2026-11-27T15:28:05Z'],
    ['2026-11-27 15:28:05.25-07', '2026-11-27T15:28:05.25-07:00'],
    ['2026-11-27T15:28+0530', '2026-11-27T15:28:00+05:30'],
  ] as const)
    expect([short, micros(short)]).toEqual([short, micros(long)])
  expect(() => parsePoint('2026-11-27T15:28:05')).toThrow('no time zone')
})

test('a second up says what to stop', async () => {
  await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const yaml = await readFile(backup.configPath, 'utf8')
  await writeFile(backup.configPath, yaml.replace('age: 5s', 'age: 100ms'))
  const first = new Running(['up', '--json'], { cwd: backup.folder })
  await first.said('"streaming"')
  const second = new Running(['up'], { cwd: backup.folder })
  await second.said('trying again')
  expect(second.output).toMatch(/SLOT_TAKEN: .*; stop that reader, if it is another Tidemark/)
  // What the first one stores is no progress of the second: its pauses grow.
  const third = new Running(['up', '--json'], { cwd: backup.folder })
  const pauses = (): number[] =>
    [...third.output.matchAll(/"code":"SLOT_TAKEN".*?"inMs":([\d.]+)/g)].map(([, ms]) => Number(ms))
  for (let id = 0; pauses().length < 5; id++) {
    await backup.source.query('INSERT INTO t VALUES ($1)', [id])
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect(pauses()[4]).toBeGreaterThan(2000)
})

test('what is to be run next says where the backup is, and the settings of a store count however it is named', async () => {
  await using backup = await Backup.start({
    anchors: true,
    setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)',
  })
  await backup.durable()
  await backup.source.query('DELETE FROM t')
  await backup.durable()
  await backup.stop()
  const { folder, storeUrl, keys } = backup
  const copy = join(folder, 'a copy')
  expect((await tidemark(['copy', '--json', '--to', copy], folder)).last.ok).toBe(true)
  for (const store of [`file://${storeUrl}`, copy]) {
    const given = ['--store', store, '--keys', keys]
    const found = await tidemark(['find', ...given], folder)
    const [, offered = ''] =
      /^To the moment before the first: (tidemark restore .*)$/m.exec(found.stdout) ?? []
    expect(offered, found.stdout).toContain(` --store ${store === copy ? `'${copy}'` : store} --keys ${keys}`)
    const verified = await tidemark(['verify', '--chain', ...given], folder)
    expect(verified.code, verified.stderr).toBe(0)
    // The anchor knows the store, and not its copy.
    if (store === copy) expect(verified.stdout).toContain('no anchor given')
    else expect(verified.stdout).not.toContain('no anchor given')
  }
})

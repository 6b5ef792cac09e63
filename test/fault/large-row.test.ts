/** Rows that are larger than what is taken: the stream passes over them, their table has a gap, and nothing else suffers. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'

const LIMIT = 1024 * 1024
/** Does not compress much, so that it is about as large everywhere. */
const LARGE = `(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 100000))`
const SETUP = `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE bare (v text, n int);
  INSERT INTO a SELECT g, 'first' FROM generate_series(1, 50) g; INSERT INTO b SELECT g, 'first' FROM generate_series(1, 50) g; INSERT INTO bare VALUES ('x', 1)`

function gapsOf(backup: Backup, table: string): string[] {
  return backup.events.flatMap((event) =>
    event.event === 'gap' && event.table === table ? [event.reason] : [],
  )
}

/** The newest point: everything but these tables, which are refused by name. */
async function restoredWithout(backup: Backup, ...tables: string[]): Promise<void> {
  await expect(backup.restore('latest')).rejects.toMatchObject({
    code: 'GAP',
    message: expect.stringContaining('ROW_TOO_LARGE: a row of') as string,
  })
  const { url } = await backup.restore('latest', { exceptTables: tables })
  const others = (list: readonly string[]): string[] =>
    list.filter((line) => !tables.some((table) => line.startsWith(`${table}:`)))
  expect(others(shown(await digests(url)))).toEqual(others(shown(await digests(backup.sourceUrl))))
}

async function sameAsSource(backup: Backup): Promise<void> {
  const { url } = await backup.restore('latest')
  expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
}

async function closed(backup: Backup): Promise<void> {
  await backup.until(() => backup.repository.catalog.openGaps.length === 0)
  await backup.durable()
}

test.each(oneVersion())(
  'PostgreSQL %s: a row above the limit is a gap of its table until it is gone',
  async (version) => {
    await using backup = await Backup.start({ version, largestRow: LIMIT, setup: SETUP })
    const { source } = backup
    await source.query(
      `BEGIN; INSERT INTO b VALUES (100, 'before'); INSERT INTO a VALUES (100, ${LARGE}); INSERT INTO b VALUES (101, 'behind'); COMMIT`,
    )
    await source.query(`INSERT INTO a VALUES (102, 'later'); UPDATE b SET v = 'later' WHERE id < 10`)
    await backup.durable()
    expect(gapsOf(backup, 'public.a')).toEqual([
      expect.stringMatching(/^ROW_TOO_LARGE: a row of 3\.1 MiB is above source\.largestRow, 1\.0 MiB$/),
    ])
    await restoredWithout(backup, 'public.a')
    // Again and again, while copies are tried: no gap stays open behind the copy that succeeds.
    for (let i = 0; i < 3; i++) await source.query(`UPDATE a SET v = ${LARGE} WHERE id = 100`)
    await backup.durable()
    await source.query('DELETE FROM a WHERE id = 100')
    await closed(backup)
    await sameAsSource(backup)
  },
)

test('an update under FULL counts the old and the new row; a higher limit takes them, and the gap is closed', async () => {
  await using backup = await Backup.start({ largestRow: 5 * LIMIT, setup: SETUP })
  const { source } = backup
  await source.query(`UPDATE bare SET v = ${LARGE}`)
  await backup.durable()
  expect(backup.repository.catalog.openGaps).toEqual([])
  await source.query(`UPDATE bare SET v = ${LARGE}`)
  await source.query('UPDATE bare SET n = 2')
  await backup.durable()
  // The value that did not change stands on the wire once.
  expect(gapsOf(backup, 'public.bare')).toHaveLength(1)
  await closed(backup)
  await sameAsSource(backup)
  await source.query(`UPDATE bare SET v = ${LARGE}; INSERT INTO bare VALUES (repeat('y', 6000000), 3)`)
  await backup.durable()
  expect(backup.repository.catalog.openGaps.length).toBeGreaterThan(0)
  await backup.stop()
  await backup.up({ largestRow: 100 * LIMIT })
  await closed(backup)
  await sameAsSource(backup)
})

test('a row above the limit in a base is a gap from its beginning; the base is of use for all other tables', async () => {
  await using backup = await Backup.start({
    largestRow: LIMIT,
    setup: `${SETUP}; INSERT INTO a VALUES (100, ${LARGE})`,
  })
  const { source } = backup
  await source.query(`INSERT INTO a VALUES (101, 'later'); INSERT INTO b VALUES (101, 'later')`)
  await backup.durable()
  expect(gapsOf(backup, 'public.a')).toHaveLength(1)
  await restoredWithout(backup, 'public.a')
  await source.query('TRUNCATE a; INSERT INTO a SELECT generate_series(1, 5)')
  await closed(backup)
  await sameAsSource(backup)
})

test('a row of many megabytes comes back whole, by base and stream, keyed, keyless and as text', async () => {
  await using backup = await Backup.start({
    setup: `${SETUP}; CREATE TABLE raw (id int PRIMARY KEY, b bytea, d date DEFAULT '0044-03-15 BC', t text, n numeric);
      INSERT INTO raw SELECT 1, decode(repeat('00ff5c0a0d09', 400000), 'hex'), '2000-01-01', repeat(E'tab\\t back\\\\slash\\n', 150000), 1.5; INSERT INTO a VALUES (100, repeat(${LARGE}, 2))`,
  })
  const { source } = backup
  await source.query(`INSERT INTO a VALUES (101, repeat(${LARGE}, 3)), (102, 'small')`)
  await source.query(`UPDATE bare SET v = repeat(${LARGE}, 3); UPDATE bare SET n = n + 1`)
  await source.query(`UPDATE a SET id = id + 1000 WHERE id >= 100`)
  await source.query(`INSERT INTO raw SELECT 2, b, d, t || 'x', n FROM raw; UPDATE raw SET n = 2`)
  await source.query(`ALTER TABLE a ADD COLUMN extra int DEFAULT 7; UPDATE a SET extra = 8 WHERE id > 1000`)
  await backup.durable()
  await sameAsSource(backup)
  const { url } = await backup.restore('latest', { memoryBytes: 1000 })
  expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
})

const MEGABYTES = 64
/** Of a process of ours, in MB, with the old and the new value: some 450 now, 700 and more where each stage leaves copies. */
const PEAK = 620

test('a row of many megabytes is in memory twice at most: in a base, in the stream, in a restore', async () => {
  const value = `(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, ${MEGABYTES * 31250}))`
  await using backup = await Backup.prepare({
    setup: `CREATE TABLE bare (v text); INSERT INTO bare SELECT ${value}`,
  })
  await backup.init()
  const peak = async (...args: readonly string[]): Promise<number> => {
    const script = new URL('../support/large-row-child.ts', import.meta.url).pathname
    const { stdout } = await promisify(execFile)(process.execPath, [script, ...args])
    return (JSON.parse(stdout.trim().split('\n').at(-1)!) as { peakBytes: number }).peakBytes / 1e6
  }
  expect(await peak('base', backup.configPath)).toBeLessThan(PEAK)
  await backup.source.query(`UPDATE bare SET v = ${value}`)
  const { rows } = await backup.source.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
  expect(await peak('stream', backup.configPath, rows[0]!.lsn)).toBeLessThan(PEAK)
  const url = await backup.emptyDatabase()
  expect(await peak('restore', backup.configPath, url)).toBeLessThan(PEAK)
  expect(shown(await digests(url))).toEqual(shown(await digests(backup.sourceUrl)))
})

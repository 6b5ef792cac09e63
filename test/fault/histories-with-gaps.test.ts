/** Histories with holes: what read and find do not have they never pass over without a word. */
import { expect, test } from 'vitest'
import { Backup } from '../support/backup.ts'
import { type Answer, tidemark } from '../support/cli.ts'
import { dropSlot } from '../support/slot.ts'

interface Line {
  readonly new: Record<string, string | null> | null
}

function rowsOf({ stdout }: Answer): unknown[] {
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{"position"'))
    .map((line) => (JSON.parse(line) as Line).new?.['id'])
}

/** As the refusal says it, one command for each piece. */
async function advised(backup: Backup, refused: Answer): Promise<unknown[]> {
  const rows: unknown[] = []
  const pieces = [...refused.last.error!.next.matchAll(/--from (\S+) --to ([^\s,]+)/g)]
  for (const [, from, to] of pieces) {
    const answer = await tidemark(
      ['read', '--table', 'r', '--from', from!, '--to', to!, '--json'],
      backup.folder,
    )
    expect([answer.code, answer.last.error]).toEqual([0, undefined])
    rows.push(...rowsOf(answer))
  }
  return rows
}

test('read stops at a gap of its table and between generations, and what it advises works', {
  timeout: 240_000,
}, async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE r (id int PRIMARY KEY, v text); CREATE TABLE m (id int PRIMARY KEY)',
  })
  const marker = (name: string): Promise<unknown> =>
    backup.source.query('INSERT INTO tidemark.marker (name) VALUES ($1)', [name])
  const read = (table: string, from: string, to: string): Promise<Answer> =>
    tidemark(['read', '--table', table, '--from', from, '--to', to, '--json'], backup.folder)
  await marker('before')
  await backup.source.query("INSERT INTO r VALUES (1, '1')")
  await backup.source.query('ALTER TABLE r ALTER COLUMN v TYPE int USING v::int + 1')
  await backup.until(() => backup.repository.catalog.gaps.length > 0)
  await backup.until(() => backup.repository.catalog.openGaps.length === 0)
  await marker('between')
  await backup.source.query('ALTER TABLE r RENAME TO s; ALTER TABLE s RENAME TO r')
  await backup.source.query('INSERT INTO r VALUES (2, 2); INSERT INTO m VALUES (1)')
  await marker('after')
  await backup.durable()
  const refused = await read('r', 'marker:before', 'marker:after')
  expect([refused.code, refused.last.error?.code]).toEqual([9, 'GAP'])
  expect(refused.last.error?.message).toMatch(/^public\.r has a gap between the two points, from /)
  expect(await advised(backup, refused)).toEqual(['1', '2'])
  expect(rowsOf(await read('r', 'marker:between', 'marker:after'))).toEqual(['2'])
  // Another table's gap is none of it.
  expect(rowsOf(await read('m', 'marker:before', 'marker:after'))).toEqual(['1'])
  await backup.stop()
  await dropSlot(backup)
  await backup.source.query('INSERT INTO r VALUES (3, 3)')
  await backup.up({ newGeneration: 'asked for' })
  await backup.source.query('INSERT INTO r VALUES (4, 4)')
  await marker('newer')
  await backup.durable()
  const across = await read('r', 'marker:before', 'marker:newer')
  expect([across.code, across.last.error?.code]).toEqual([9, 'GAP'])
  expect(await advised(backup, across)).toEqual(['1', '2', '4'])
})

interface Found {
  readonly searched: readonly { readonly from: string; readonly to: string }[]
  readonly unsearched: readonly {
    readonly from: string
    readonly to: string
    readonly table: string | null
    readonly why: string
  }[]
  readonly transactions: readonly unknown[]
}

test('find says which of the asked time nobody watched, and of which tables not all is known', {
  timeout: 240_000,
}, async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE r (id int PRIMARY KEY, v text); CREATE TABLE m (id int PRIMARY KEY)',
  })
  const now = async (): Promise<string> =>
    (
      await backup.source.query<{ at: string }>(
        `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`,
      )
    ).rows[0]!.at.replace(/0+Z$/, 'Z')
  const find = async (at: string, ...args: string[]): Promise<Found & { readonly text: string }> => {
    const command = ['find', '--around', at, '--within', '0', ...args]
    const { last } = await tidemark([...command, '--json'], backup.folder)
    expect(last.error).toBeUndefined()
    return {
      ...(last as unknown as Found),
      text: (await tidemark(command, backup.folder)).stdout,
    }
  }
  await backup.source.query("INSERT INTO r VALUES (1, '1')")
  await backup.source.query('ALTER TABLE r ALTER COLUMN v TYPE int USING v::int + 1')
  const rewritten = await now()
  await backup.until(() => backup.repository.catalog.gaps.length > 0)
  await backup.until(() => backup.repository.catalog.openGaps.length === 0)
  await backup.source.query('INSERT INTO m VALUES (1)')
  const quiet = await now()
  await backup.source.query('INSERT INTO m VALUES (2)')
  await backup.durable()

  // Some of it is told by pages then, the rest by entries.
  await backup.repository.checkpoint(1)
  const watched = await find(quiet)
  expect(watched).toMatchObject({ searched: [{ from: quiet, to: quiet }], unsearched: [], transactions: [] })
  expect(watched.text).toBe(`Searched ${quiet} to ${quiet}.\nNo such transaction.\n`)
  // Before the window everything of the stream was watched, or the backup had not begun.
  expect((await find('2001-01-01T00:00:00Z')).unsearched).toMatchObject([{ table: null }])
  const wide = ['--within', '10', '--operation', 'truncate']
  for (const table of [[], ['--table', 'r']]) {
    const found = await find(rewritten, ...wide, ...table)
    const why = expect.stringContaining('in a gap of the table') as string
    expect(found.unsearched.filter((one) => one.table !== null)).toMatchObject([{ table: 'public.r', why }])
    expect(found.text).toMatch(/^NOT ALL OF public\.r: \S+Z to \S+Z, \S+ to \S+: in a gap of the table: /m)
    expect(found.text).toContain('No such transaction in what was searched.')
  }
  expect((await find(rewritten, ...wide, '--table', 'm')).unsearched.map((one) => one.table)).toEqual([
    null,
    null,
  ])

  await backup.stop()
  await dropSlot(backup)
  await backup.source.query('DELETE FROM m')
  const behind = await now()
  const ended = await find(behind)
  expect(ended).toMatchObject({ searched: [], unsearched: [{ table: null }] })
  expect(ended.text).toContain(`NOT SEARCHED: ${behind} to ${behind}: behind the end of the backup`)
  expect(ended.text).not.toContain('No such transaction')
  await backup.up({ newGeneration: 'asked for' })
  await backup.source.query('INSERT INTO m VALUES (3)')
  await backup.durable()
  const between = await find(behind)
  expect(between).toMatchObject({ searched: [], unsearched: [{ table: null }] })
  expect(between.text).toContain('in the gap between generation 1')
  expect(between.text).not.toContain('No such transaction')
  // Both sides of it are searched.
  const around = await find(behind, '--within', '10', '--limit', '100')
  expect(around.searched).toHaveLength(2)
  expect(around.transactions.length).toBeGreaterThan(3)
})

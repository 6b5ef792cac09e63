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

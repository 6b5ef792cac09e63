/** Names that changed hands without a record: two tables may be called the same at a point. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, oneVersion, shown } from '../support/backup.ts'
import { unseen } from '../support/unseen.ts'

/** As long as a name may be. */
const LOG = 'log'.repeat(21)

test.each(oneVersion())('of two tables with one name each is told from the other (%s)', async (version) => {
  await using backup = await Backup.start({
    version,
    setup: `CREATE TABLE ${LOG} (id int PRIMARY KEY, v text); INSERT INTO ${LOG} VALUES (1, 'old'); CREATE INDEX ON ${LOG} (v);
      CREATE TABLE log_next (id int PRIMARY KEY, v text); INSERT INTO log_next VALUES (2, 'new'), (3, 'new')`,
  })
  const { source } = backup
  await backup.durable()
  // Nothing compares the catalog before the point.
  await backup.stop()
  await unseen(source, [`ALTER TABLE ${LOG} RENAME TO log_old`])
  await source.query(`ALTER TABLE log_next RENAME TO ${LOG}`)
  await source.query(`INSERT INTO ${LOG} VALUES (4, 'newest')`)
  const at = positionText(await backup.head())
  await backup.up()
  await backup.until(() => backup.repository.catalog.gaps.length > 0)
  await backup.durable()
  // What went through without a record is a gap of that table, and of that one alone.
  const refused = await backup.restore(at).catch((error: unknown) => error)
  expect(refused).toMatchObject({
    code: 'GAP',
    next: expect.stringMatching(/--except-table public\.(log)+l?o?_\d+/) as string,
  })
  const without = /--except-table (\S+)/.exec((refused as { next: string }).next)![1]!
  expect(Buffer.byteLength(without.replace('public.', ''))).toBe(63)
  const restored = await backup.restore(at, { exceptTables: [without] })
  expect(restored.result?.notes.join()).toContain(`two tables are called public.${LOG} at this point`)
  const client = new pg.Client(restored.url)
  await client.connect()
  try {
    expect((await client.query(`SELECT id, v FROM ${LOG} ORDER BY 1`)).rows).toEqual([
      { id: 2, v: 'new' },
      { id: 3, v: 'new' },
      { id: 4, v: 'newest' },
    ])
  } finally {
    await client.end()
  }
  const latest = await backup.restore('latest')
  expect(shown(await digests(latest.url))).toEqual(shown(await digests(backup.sourceUrl)))
})

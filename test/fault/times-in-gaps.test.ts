/** A time at which nobody was watching: refused with what lies on both sides, and never answered with older data. */
import { expect, test } from 'vitest'
import { formatLsn, toLsn } from '../../services/core/position.ts'
import { parsePoint } from '../../services/rebuild/point.ts'
import { Backup, digests, shown } from '../support/backup.ts'

async function now(backup: Backup): Promise<string> {
  const found = await backup.source.query<{ at: string }>(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`,
  )
  return found.rows[0]!.at
}

test('between two generations', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE m (id int PRIMARY KEY); INSERT INTO m VALUES (1)',
  })
  await backup.source.query('INSERT INTO m VALUES (2)')
  await backup.durable()
  const before = await now(backup)
  const held = shown(await digests(backup.sourceUrl))
  await backup.stop()
  await backup.source.query('SELECT pg_drop_replication_slot($1)', [backup.slot])
  await backup.source.query('INSERT INTO m VALUES (3)')
  const inside = await now(backup)
  await backup.source.query('INSERT INTO m VALUES (4)')
  const opening = await now(backup)
  await backup.up({ newGeneration: 'asked for' })
  await backup.source.query('INSERT INTO m VALUES (5)')
  await backup.durable()
  for (const at of [inside, opening]) {
    const refusal = await backup.restore(at).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(refusal).toMatchObject({ code: 'GAP' })
    // Both sides by name: what it advises for the older one works as it stands.
    const advised = /--at (\S+@1) /.exec(String((refusal as { next: string }).next))?.[1]
    expect(advised).toBeDefined()
    const restored = await backup.restore(advised!)
    expect(shown(await digests(restored.url))).toEqual(held)
  }
  // Nothing was committed behind the last transaction that is known; only the source could say so.
  await expect(backup.restore(before)).rejects.toMatchObject({ code: 'GAP' })
  expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
    shown(await digests(backup.sourceUrl)),
  )
})

test('beside a gap of one table that no transaction began', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE m (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)',
  })
  await backup.source.query('INSERT INTO m VALUES (1)')
  await backup.durable()
  const { repository } = backup
  const generation = repository.catalog.generation!
  const last = generation.to
  const from = toLsn(last + 8n)
  await repository.append({
    kind: 'gap',
    generation: 1,
    id: '00000000-0000-4000-8000-000000000001',
    from: formatLsn(from),
    to: null,
    reason: 'its schema changed without a record',
    scope: {
      kind: 'table',
      oid: [...generation.tables.values()].find((table) => table.body.name === 'm')!.body.oid,
      schema: 'public',
      name: 'm',
    },
  })
  const at = await now(backup)
  await backup.source.query('INSERT INTO other VALUES (1)')
  await backup.durable()
  await expect(backup.restore(at)).rejects.toMatchObject({
    code: 'GAP',
    next: expect.stringContaining(`--at ${formatLsn(last)}`),
  })
  await backup.restore(formatLsn(last))
})

test('a day that the month does not have is no point', () => {
  for (const text of ['2026-11-31T00:00:00Z', '2026-02-29 10:00Z', '2026-13-01T00:00:00Z'])
    expect(() => parsePoint(text), text).toThrow(expect.objectContaining({ code: 'POINT_INVALID' }))
  expect(parsePoint('2028-02-29T23:30-05:00')).toMatchObject({
    micros: BigInt(Date.UTC(2028, 2, 1, 4, 30)) * 1000n,
  })
})

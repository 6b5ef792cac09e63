/** A time at which nobody was watching: refused with what lies on both sides, and never answered with older data. */
import { expect, test } from 'vitest'
import { type Position, positionOf, positionText } from '../../services/core/position.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { resolvePoint } from '../../services/history/point.ts'
import { planRestore } from '../../services/rebuild/plan.ts'
import { readWindows } from '../../services/app/operations/windows.ts'
import { LANE } from '../../services/compactor/cut-objects.ts'
import { reachedAt } from '../../services/repository/source-time.ts'
import { parsePoint } from '../../services/history/point-text.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { dropSlot } from '../support/slot.ts'

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
  await dropSlot(backup)
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
  const from = positionOf(last + 8n)
  await repository.append({
    kind: 'gap',
    generation: 1,
    id: '00000000-0000-4000-8000-000000000001',
    from: positionText(from),
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
    next: expect.stringContaining(`--at ${positionText(last)}`),
  })
  await backup.restore(positionText(last))
})

test('what a refusal advises is beside the gaps of all tables, and beside those that begin there', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE m (id int PRIMARY KEY); CREATE TABLE a (); CREATE TABLE b (); CREATE TABLE c ()',
  })
  const at: Position[] = []
  for (let id = 0; id < 8; id++) {
    await backup.source.query('INSERT INTO m VALUES ($1)', [id])
    await backup.durable()
    at.push(backup.repository.catalog.generation!.to)
  }
  await backup.stop()
  const writer = await backup.openRepository()
  const tables = [...writer.catalog.generation!.tables.values()]
  const gaps = { a: [2, 5], b: [3, 6], c: [1, 3] } as const
  for (const [name, [from, to]] of Object.entries(gaps)) {
    const id = `00000000-0000-4000-8000-00000000000${name}`
    const { oid } = tables.find(({ body }) => body.name === name)!.body
    const scope = { kind: 'table', oid, schema: 'public', name } as const
    const gap = { generation: 1, id, from: positionText(at[from]!), to: null, reason: 'lost', scope }
    await writer.append({ kind: 'gap', ...gap })
    await writer.append({ kind: 'gap-closed', generation: 1, id, at: positionText(at[to]!) })
  }
  const reader = (await openBackup({ ...placeOf(backup.config), role: 'restore' })).repository
  const plan = async (point: string, except: string[] = []): Promise<unknown> =>
    planRestore(reader, postgresDialect, await resolvePoint(reader, parsePoint(point)), except)
  const refusal = await plan(positionText(at[4]!)).catch((error: unknown) => error)
  expect(refusal).toMatchObject({
    code: 'GAP',
    message: expect.stringContaining('and 1 other table') as string,
  })
  const { next } = refusal as { next: string }
  const advised = [...next.matchAll(/--at (\S+)/g)].map(([, point]) => point!)
  // Before a's begins, c's is still there.
  expect(advised).toEqual([positionText(positionOf(at[1]! - 1n)), positionText(at[6]!)])
  for (const point of advised) await plan(point)
  await plan(
    positionText(at[4]!),
    [...next.matchAll(/--except-table (\S+)/g)].map(([, name]) => name!),
  )
})

test('behind what the source is known to have committed, whatever our clock says', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE m (id int PRIMARY KEY); INSERT INTO m VALUES (1)',
  })
  await backup.source.query('INSERT INTO m VALUES (2)')
  await backup.durable()
  await backup.stop()
  await backup.source.query('INSERT INTO m VALUES (3)')
  const behind = await now(backup)
  // What a writer says that comes from behind: our clock is later than a commit that it does not have yet.
  const late = await backup.openRepository()
  await late.claim(LANE)
  const { facts, timeline, end } = late.catalog.generation!
  await late.append({
    kind: 'heartbeat',
    generation: facts.generation,
    lane: LANE,
    term: late.catalog.claims.get(LANE)!.term,
    timeline,
    end: positionText(positionOf(end + 8n)),
  })
  await expect(backup.restore(behind)).rejects.toMatchObject({ code: 'POINT_AFTER_HEAD' })
})

test('the end as the server says it at the start of a page, behind the header', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE m (id int PRIMARY KEY); INSERT INTO m VALUES (1)',
  })
  await backup.durable()
  await backup.stop()
  const held = shown(await digests(backup.sourceUrl))
  const writer = await backup.openRepository()
  await writer.claim(LANE)
  const { facts, timeline, end } = writer.catalog.generation!
  const page = positionOf((end / 8192n + 1n) * 8192n)
  await writer.append({
    kind: 'heartbeat',
    generation: facts.generation,
    lane: LANE,
    term: writer.catalog.claims.get(LANE)!.term,
    timeline,
    end: positionText(page),
  })
  const restored = await backup.restore(positionText(positionOf(page + 24n)))
  expect(shown(await digests(restored.url))).toEqual(held)
  await expect(backup.restore(positionText(positionOf(page + 32n)))).rejects.toMatchObject({
    code: 'POINT_AFTER_HEAD',
  })
})

test('of a source at rest, once its own clock is known to have passed', async () => {
  await using backup = await Backup.start({
    setup: 'CREATE TABLE m (id int PRIMARY KEY); INSERT INTO m VALUES (1)',
  })
  await backup.source.query('INSERT INTO m VALUES (2)')
  await backup.durable()
  const quiet = await now(backup)
  const held = shown(await digests(backup.sourceUrl))
  await backup.until(async () => {
    await backup.source.query(`SELECT pg_logical_emit_message(false, 'somebody', 'else')`)
    await backup.reached(await backup.head())
    return reachedAt(backup.repository.catalog.generation!) > quiet
  }, 60_000)
  const restored = await backup.restore(quiet)
  expect(shown(await digests(restored.url))).toEqual(held)
  const { windows } = readWindows(backup.repository)
  expect(windows[0]!.to.time! > quiet).toBe(true)
  // A checkpoint keeps it.
  await backup.repository.checkpoint(1)
  await backup.stop()
  expect(reachedAt((await backup.openRepository()).catalog.generation!) > quiet).toBe(true)
})

test('a day that the month does not have is no point', () => {
  for (const text of ['2026-11-31T00:00:00Z', '2026-02-29 10:00Z', '2026-13-01T00:00:00Z'])
    expect(() => parsePoint(text), text).toThrow(expect.objectContaining({ code: 'POINT_INVALID' }))
  expect(parsePoint('2028-02-29T23:30-05:00')).toMatchObject({
    micros: BigInt(Date.UTC(2028, 2, 1, 4, 30)) * 1000n,
  })
})

/** The oracle of what is offered: every point that windows, find and status print is asked of the plan, which takes it. */
import { expect, test } from 'vitest'
import { tidemark } from '../support/cli.ts'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { planRestore } from '../../services/rebuild/plan.ts'
import { resolvePoint } from '../../services/history/point.ts'
import { parsePoint } from '../../services/history/point-text.ts'
import { Backup } from '../support/backup.ts'
import { dropSlot } from '../support/slot.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'

interface Offer {
  readonly at: string
  readonly without: readonly string[]
}

interface Offered {
  readonly restorable: boolean
  readonly without: readonly string[]
}

interface Place {
  readonly position: string
  readonly time: string | null
}

/** What people read must say the same as what programs do. */
function ofLines(text: string): Offer[] {
  const offers: Offer[] = []
  for (const line of text.split('\n')) {
    if (line.includes('cannot be restored') || /^ {2}gap|^NOT ALL OF |^NOT SEARCHED: /.test(line)) continue
    const without = [...line.matchAll(/--except-table (\S+)/g)].map(([, name]) => name!)
    const points = line.matchAll(
      /marker {2}(\S+)|([0-9A-F]+\/[0-9A-F]+(?:@\d+)?)|\((\d{4}-[^)]*Z)\)|((?:before:)?xid:\d+(?:@\d+)?)/g,
    )
    for (const [, marker, lsn, time, xid] of points)
      offers.push({ at: marker === undefined ? (lsn ?? time ?? xid)! : `marker:${marker}`, without })
  }
  return offers
}

async function offers(backup: Backup): Promise<Offer[]> {
  const run = async (...args: string[]) => {
    const answer = await tidemark([...args, '--json', '--config', backup.configPath], backup.folder)
    expect(answer.last.error).toBeUndefined()
    return answer.last
  }
  const text = async (...args: string[]): Promise<Offer[]> =>
    ofLines((await tidemark([...args, '--config', backup.configPath], backup.folder)).stdout)
  const windows = (await run('windows')) as unknown as {
    windows: { from: Place; to: Place; without: string[] }[]
    markers: (Offered & { point: string; position: string })[]
    bases: (Offered & { closing: string })[]
  }
  const found = (await run('find', '--limit', '100')) as unknown as {
    transactions: (Offered & { point: string; position: string; before: Offered & { point: string } })[]
  }
  // Pasted with an exception that it does not need, a point loses a table.
  const needs = new Map(
    found.transactions.flatMap((t) => [
      [t.point, t.without],
      [t.before.point, t.before.without],
    ]),
  )
  const lines = (await tidemark(['find', '--limit', '100', '--config', backup.configPath], backup.folder))
    .stdout
  for (const [, at, excepted] of lines.matchAll(/--at (\S+)(?: --into URL)?((?: --except-table \S+)*)/g))
    expect([at, excepted]).toEqual([
      at,
      needs
        .get(at!)!
        .map((name) => ` --except-table ${name}`)
        .join(''),
    ])
  expect(lines).toMatch(/without it: --at before:xid:\S+ {2}with it: --at xid:\S+ --except-table public\.r/)
  const status = (await run('status')) as unknown as {
    window: { from: string; to: string; fromTime: string | null; toTime: string | null }
  }
  const { from, to, fromTime, toTime } = status.window
  const all: (Offer | undefined)[] = [
    ...[from, to, fromTime, toTime].map((at) => (at === null ? undefined : { at, without: [] })),
    ...windows.windows.flatMap(({ from, to, without }) =>
      [from.position, to.position, from.time, to.time].map((at) =>
        at === null ? undefined : { at, without },
      ),
    ),
    ...windows.markers.map((m) => (m.restorable ? { at: m.point, without: m.without } : undefined)),
    ...windows.bases.map((b) => (b.restorable ? { at: b.closing, without: b.without } : undefined)),
    ...found.transactions.flatMap((t) => [
      t.restorable ? { at: t.position, without: t.without } : undefined,
      t.restorable ? { at: t.point, without: t.without } : undefined,
      t.before.restorable ? { at: t.before.point, without: t.before.without } : undefined,
    ]),
    ...(await text('windows')),
    ...ofLines(lines),
  ]
  return all.filter((offer) => offer !== undefined)
}

async function allTaken(backup: Backup): Promise<void> {
  const taken = new Set<string>()
  const all = await offers(backup)
  // Behind them: the job goes on.
  const { repository } = await openBackup({ ...placeOf(backup.config), role: 'restore' })
  for (const offer of all) {
    const key = `${offer.at} ${String(offer.without)}`
    if (taken.has(key)) continue
    taken.add(key)
    const refused = await resolvePoint(repository, parsePoint(offer.at))
      .then((point) => planRestore(repository, postgresDialect, point, offer.without))
      .then(
        () => undefined,
        (error: unknown) => error,
      )
    expect({ ...offer, refused }).toEqual({ ...offer, refused: undefined })
  }
  expect(taken.size).toBeGreaterThan(10)
}

test('gaps of tables, closed and open, markers in them, and two generations', {
  timeout: 300_000,
}, async () => {
  await using backup = await Backup.start({
    setup: `CREATE TABLE m (id int PRIMARY KEY); INSERT INTO m VALUES (1);
      CREATE TABLE r (id int PRIMARY KEY, v text); INSERT INTO r VALUES (1, '1')`,
    largestRow: 1024 * 1024,
  })
  const marker = (name: string): Promise<unknown> =>
    backup.source.query('INSERT INTO tidemark.marker (name) VALUES ($1)', [name])
  await backup.source.query('INSERT INTO m VALUES (2)')
  await marker('before')
  // Closed again by a copy.
  await backup.source.query(
    'BEGIN; ALTER TABLE r ALTER COLUMN v TYPE int USING v::int; INSERT INTO m VALUES (3); COMMIT',
  )
  await marker('inside')
  await backup.until(() => backup.repository.catalog.openGaps.length === 0)
  await backup.source.query('INSERT INTO m VALUES (4)')
  await marker('behind')
  await backup.durable()
  // Open as long as the row is there.
  await backup.source.query('CREATE TABLE large (id int PRIMARY KEY, v text)')
  await backup.source.query('INSERT INTO m VALUES (5)')
  await backup.durable()
  await backup.source.query("INSERT INTO large VALUES (1, repeat('x', 2 * 1024 * 1024))")
  await marker('open')
  await backup.source.query('INSERT INTO m VALUES (6)')
  await backup.durable()
  await allTaken(backup)
  await backup.stop()
  await dropSlot(backup)
  await backup.source.query('INSERT INTO m VALUES (7)')
  await backup.source.query('DELETE FROM large')
  await backup.up({ newGeneration: 'asked for', largestRow: 1024 * 1024 })
  await backup.source.query('INSERT INTO m VALUES (8)')
  await marker('newer')
  await marker('behind')
  await backup.durable()
  await allTaken(backup)
})

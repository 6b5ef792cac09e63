/** Random histories through the whole pipeline in memory: crashes, bases, retirements, restores at random commits, against a replay. */
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { MemoryChange, MemoryRows } from '../../services/engines/memory/memory-source.ts'
import type { MemoryTable } from '../../services/engines/memory/memory-table.ts'
import { comparePositions, parsePosition, type Position, positionText } from '../../services/core/position.ts'
import type { RestorePlan } from '../../services/rebuild/plan.ts'
import { Catalog } from '../../services/repository/catalog.ts'
import { proveLedger } from '../../services/repository/checkpoint.ts'
import { clearBelow } from '../../services/repository/clear.ts'
import { chooseBeginning, floorAt } from '../../services/lifecycle/retention.ts'
import { random } from '../support/dice.ts'
import { expectedRows, MemoryPipeline, restoredRows } from '../support/memory-pipeline.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const HISTORIES = Number(
  process.env['TIDEMARK_HISTORIES'] ?? (process.env['TIDEMARK_TEST_SCOPE'] === 'soak' ? 400 : 10),
)

/** Histories that found a fault: a backup that began at a base which the stream had not closed yet. */
const FOUND = [1_633_607_829, 5_128]

const TABLES: readonly MemoryTable[] = [
  { oid: 16400, name: 'a', columns: ['x', 'y'], identity: 'default' },
  { oid: 16401, name: 'b', columns: ['x'], identity: 'full' },
  { oid: 16402, name: 'never', columns: [], identity: 'default' },
]

function transaction(pipeline: MemoryPipeline, next: (below: number) => number): MemoryChange[] {
  const changes: MemoryChange[] = []
  const held = new Map(TABLES.map((table) => [table.name, new Set(pipeline.source.rows(table.name).keys())]))
  const text = (): string | null => (next(6) === 0 ? null : `v\t${'é\\'.repeat(next(4))}${next(1000)}`)
  for (let left = 1 + next(6); left > 0; left--) {
    const table = TABLES[next(2)]!
    const ids = held.get(table.name)!
    const id = next(12)
    const values = table.columns.map(text)
    if (next(40) === 0) {
      changes.push({ kind: 'truncate', table: table.name })
      ids.clear()
    } else if (!ids.has(id)) {
      changes.push({ kind: 'insert', table: table.name, id, values })
      ids.add(id)
    } else if (next(3) === 0) {
      changes.push({ kind: 'delete', table: table.name, id })
      ids.delete(id)
    } else {
      const wanted = next(3) === 0 ? next(12) : id
      const to = wanted !== id && ids.has(wanted) ? id : wanted
      changes.push({
        kind: 'update',
        table: table.name,
        id,
        to,
        values: values.map((value) => (next(2) === 0 ? undefined : value)),
      })
      ids.delete(id)
      ids.add(to)
    }
  }
  return changes
}

/** The backup begins later, at one of its bases; what lies before is gone, at once or never. */
async function retire(pipeline: MemoryPipeline, next: (below: number) => number): Promise<void> {
  const { repository, store } = pipeline
  const { catalog, ledger } = repository
  const { begin } = chooseBeginning(catalog, { keepMs: -1, bases: 1 + next(2) }, Date.now())
  if (begin === undefined) return
  const id = randomUUID()
  await ledger.append(
    {
      kind: 'retire',
      id,
      floor: await floorAt(repository, begin, () => Promise.resolve(null)),
      objects: '0',
      bytes: '0',
      removeAfter: new Date().toISOString(),
    },
    repository.signer,
  )
  const fate = next(4)
  if (fate === 0) return
  await ledger.append(fate === 1 ? { kind: 'retire-undone', id } : { kind: 'removed', id }, repository.signer)
  if (fate > 1) await clearBelow(store, catalog.removedFloor!, new AbortController().signal)
}

async function equalsReplay(
  pipeline: MemoryPipeline,
  plan: RestorePlan,
  rows: ReadonlyMap<string, MemoryRows>,
  memoryBytes?: number,
): Promise<void> {
  const target = await pipeline.restore(plan, memoryBytes)
  for (const table of TABLES)
    expect(
      restoredRows(target, table.name),
      `table ${table.name} at ${positionText(plan.point.position)}`,
    ).toEqual(expectedRows(rows.get(table.name)!))
}

async function history(seed: number): Promise<void> {
  const next = random(seed)
  const pipeline = await MemoryPipeline.create(TABLES)
  const commits: { readonly lsn: Position; readonly rows: ReadonlyMap<string, MemoryRows> }[] = []
  const start = (): Promise<void> => pipeline.start(50 + next(3000), 1 + next(12))
  await start()
  const baseAt = next(10)
  for (let step = 0; step < 40; step++) {
    const lsn = pipeline.source.commit(transaction(pipeline, next))
    commits.push({
      lsn,
      rows: new Map(TABLES.map((table) => [table.name, pipeline.source.rows(table.name)])),
    })
    if (step === baseAt || (step > baseAt && next(15) === 0)) await pipeline.takeBase()
    if (step > baseAt && next(10) === 0) await retire(pipeline, next)
    if (next(4) === 0) await new Promise((resolve) => setImmediate(resolve))
    const roll = next(12)
    if (roll === 0) await pipeline.crash()
    else if (roll === 1) await pipeline.drain()
    if (roll <= 1) await start()
  }
  await pipeline.drain()
  await pipeline.start(1)
  await pipeline.durable(commits.at(-1)!.lsn)
  await pipeline.drain()
  // Not by the last commit: a base that closed behind it may be where the backup begins now.
  const generation = (await pipeline.reopen()).catalog.generation!
  expect(
    comparePositions(pipeline.source.confirmed, generation.end),
    'no more is acknowledged than is durable',
  ).toBeLessThanOrEqual(0)
  for await (const { entry, faults } of proveLedger(
    pipeline.repository.ledger,
    pipeline.repository.catalog.floor,
  ))
    expect(faults, `checkpoint ${entry.number}`).toEqual([])
  const whole = new Catalog(() => Promise.reject(new Error('no page is needed')))
  for await (const entry of pipeline.repository.ledger.walk()) whole.apply(entry)
  expect(
    pipeline.repository.catalog.root(0n, '', []),
    'what a checkpoint says and what all entries say',
  ).toEqual(whole.root(0n, '', []))
  const opens = generation.bases[0]!.closing
  for (const { lsn, rows } of commits) {
    if (comparePositions(lsn, opens) < 0) continue
    const plan = await pipeline.plan(lsn)
    const from = plan.tables.reduce<Position>(
      (low, table) =>
        table.base !== undefined && comparePositions(parsePosition(table.base.body.position), low) < 0
          ? parsePosition(table.base.body.position)
          : low,
      plan.point.base.from,
    )
    const needed = (await collect(plan.point.generation.segments.segments(() => true))).filter(({ body }) =>
      commits.some(
        (c) =>
          comparePositions(c.lsn, parsePosition(body.from)) > 0 &&
          comparePositions(c.lsn, parsePosition(body.to)) <= 0 &&
          comparePositions(c.lsn, from) >= 0 &&
          comparePositions(c.lsn, lsn) <= 0,
      ),
    )
    const named = await collect(plan.segments.entries())
    expect(plan.segments.count).toBe(named.length)
    expect(plan.changes).toBe(needed.reduce((sum, { body }) => sum + BigInt(body.changes), 0n))
    expect(
      named.map((s) => s.body.to),
      'the plan names the segments that hold a needed commit, and no other',
    ).toEqual(needed.map((s) => s.body.to))
    if (next(3) === 0) await equalsReplay(pipeline, plan, rows, next(2) === 0 ? 100 : undefined)
  }
  await equalsReplay(pipeline, await pipeline.plan('latest'), commits.at(-1)!.rows)
}

test(`histories in memory equal their replay (seed ${SEED}, ${HISTORIES} of them)`, {
  timeout: Math.max(900_000, HISTORIES * 60_000),
}, async () => {
  for (const seed of [...FOUND, ...Array.from({ length: HISTORIES }, (_, i) => SEED + i)]) {
    await history(seed).catch((error: unknown) => {
      throw new Error(`history with TIDEMARK_SEED=${seed} TIDEMARK_HISTORIES=1`, { cause: error })
    })
  }
})

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = []
  for await (const item of items) out.push(item)
  return out
}

/** A backup that a program of format 1 began goes on in format 2, and every point on both sides comes back. */
import { expect, test } from 'vitest'
import type { MemoryTable } from '../../services/engines/memory/memory-table.ts'
import type { Position } from '../../services/core/position.ts'
import { entryBody } from '../../services/formats/ledger-entry.ts'
import { Format1Source } from '../support/format-1.ts'
import { expectedRows, MemoryPipeline, restoredRows } from '../support/memory-pipeline.ts'

const TABLES: readonly MemoryTable[] = [
  { oid: 16400, name: 'a', columns: ['x', 'y'], identity: 'default' },
  { oid: 16401, name: 'b', columns: ['x'], identity: 'full' },
]

async function written(checkpointEntries?: number) {
  const source = new Format1Source(TABLES)
  const pipeline = await MemoryPipeline.create(TABLES, { source })
  const points: { readonly at: Position; readonly rows: readonly (readonly string[])[] }[] = []
  const commit = async (id: number): Promise<void> => {
    const at = source.commit([
      { kind: 'insert', table: 'a', id, values: [`v${id}`, null] },
      { kind: 'insert', table: 'b', id, values: [`w${id}`] },
      ...(id % 3 === 2
        ? [
            { kind: 'update', table: 'a', id: id - 1, to: id - 1, values: [undefined, `u${id}`] } as const,
            { kind: 'delete', table: 'b', id: id - 2 } as const,
          ]
        : []),
    ])
    await pipeline.durable(at)
    points.push({ at, rows: TABLES.map(({ name }) => expectedRows(source.rows(name))) })
  }
  await pipeline.start(1, checkpointEntries)
  for (let id = 0; id < 12; id++) {
    await commit(id)
    if (id === 2) await pipeline.takeBase()
  }
  await pipeline.drain()
  expect((await pipeline.reopen()).catalog.format).toBe(1)
  source.isOfFormat1 = false
  await pipeline.start(1, checkpointEntries)
  for (let id = 12; id < 24; id++) await commit(id)
  await pipeline.takeBase()
  for (let id = 24; id < 27; id++) await commit(id)
  await pipeline.drain()
  return { pipeline, points: points.slice(3) }
}

test.each([undefined, 5])('with a checkpoint each %s entries', async (checkpointEntries) => {
  const { pipeline, points } = await written(checkpointEntries)
  for (const { at, rows } of points) {
    const target = await pipeline.restore(await pipeline.plan(at))
    expect(TABLES.map(({ name }) => restoredRows(target, name))).toEqual(rows)
  }
  expect((await pipeline.reopen()).catalog.format).toBe(2)
})

test('a program of format 1 stops where format 2 begins', async () => {
  const { pipeline } = await written()
  const entries = [...pipeline.store.objects]
    .filter(([name]) => name.startsWith('ledger/'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, file]) => JSON.parse(file.subarray(0, file.indexOf(10)).toString('utf8')) as Entry)
  const at = entries.findIndex(({ body }) => body.kind === 'format')
  expect(at).toBeGreaterThan(0)
  // What it does not know it may not pass over.
  expect(entries[at]!.ignorable).toBe(false)
  const kindsOfFormat1 = new Set([
    'genesis',
    'generation',
    'claim',
    'key',
    'segments',
    'table',
    'base',
    'schema',
    'heartbeat',
  ])
  for (const { body } of entries.slice(0, at)) expect(kindsOfFormat1).toContain(body.kind)
  expect(entries.slice(at + 1).some(({ body }) => body.kind === 'segments')).toBe(true)
  expect(entryBody.safeParse({ kind: 'format', format: 3 }).success).toBe(false)
})

/** The number of the entry from which on there may be what only format 2 has. */
function formatAt(pipeline: MemoryPipeline): bigint {
  for (const [name, file] of pipeline.store.objects) {
    if (!name.startsWith('ledger/')) continue
    const entry = JSON.parse(file.subarray(0, file.indexOf(10)).toString('utf8')) as Entry
    if (entry.body.kind === 'format') return BigInt(entry.number)
  }
  return 0n
}

interface Entry {
  readonly number: string
  readonly ignorable: boolean
  readonly body: { readonly kind: string }
}

test('a base that is taken beside an older program stops it too', async () => {
  const source = new Format1Source(TABLES)
  const pipeline = await MemoryPipeline.create(TABLES, { source })
  await pipeline.start(1)
  await pipeline.durable(source.commit([{ kind: 'insert', table: 'a', id: 1, values: ['x', 'y'] }]))
  await pipeline.takeBase()
  await pipeline.drain()
  source.isOfFormat1 = false
  expect((await pipeline.reopen()).catalog.format).toBe(1)
  await pipeline.takeBase()
  const { catalog } = await pipeline.reopen()
  const tables = [...catalog.generation!.tables.values()].map(({ number }) => number)
  expect(tables.length).toBe(4)
  expect(catalog.format).toBe(2)
  expect(formatAt(pipeline)).toBeGreaterThan(tables[1]!)
  expect(formatAt(pipeline)).toBeLessThan(tables[2]!)
})

test('what the source says beside a position comes back to it with that position', async () => {
  const pipeline = await MemoryPipeline.create(TABLES)
  const resumes: (string | undefined)[] = []
  for (let round = 0; round < 3; round++) {
    resumes.push((await pipeline.reopen()).catalog.generation!.endPoint.resume)
    await pipeline.start(1, 3)
    for (let i = 0; i < 4; i++)
      await pipeline.durable(
        pipeline.source.commit([{ kind: 'insert', table: 'a', id: round * 4 + i, values: ['x', 'y'] }]),
      )
    await pipeline.drain()
    const { end, resumeAt } = (await pipeline.reopen()).catalog.generation!
    expect(resumeAt).toBe(`memory:${end}`)
  }
  expect(resumes[0]).toBeUndefined()
  expect(new Set(resumes).size).toBe(3)
})

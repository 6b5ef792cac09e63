/** Checkpoints of the ledger: damaged, missing or overtaken, a restore is the same; what is wrong with them is named. */
import { beforeEach, expect, test } from 'vitest'
import type { MemoryTable } from '../../services/engines/memory/memory-table.ts'
import { comparePositions, type Position } from '../../services/core/position.ts'
import { proveLedger, writeCheckpoint } from '../../services/repository/checkpoint.ts'
import { expectedRows, MemoryPipeline, restoredRows } from '../support/memory-pipeline.ts'

const TABLES: readonly MemoryTable[] = [{ oid: 16400, name: 'a', columns: ['x'], identity: 'default' }]

let pipeline: MemoryPipeline
let last: Position

beforeEach(async () => {
  pipeline = await MemoryPipeline.create(TABLES)
  await pipeline.start(1, 7)
  for (let id = 0; id < 60; id++) {
    last = pipeline.source.commit([{ kind: 'insert', table: 'a', id, values: [`v${id}`] }])
    if (id === 5) await pipeline.takeBase()
    await pipeline.durable(last)
  }
  await pipeline.drain()
})

const named = (kind: string): string[] =>
  [...pipeline.store.objects.keys()]
    .filter((name) => (kind === 'hint' ? name.startsWith('checkpoints/') : name.endsWith(`.${kind}`)))
    .sort()

async function restores(): Promise<void> {
  const target = await pipeline.restore(await pipeline.plan(last))
  expect(restoredRows(target, 'a')).toEqual(expectedRows(pipeline.source.rows('a')))
}

async function faults(): Promise<string[]> {
  const found: string[] = []
  for await (const { faults: wrong } of proveLedger((await pipeline.reopen()).ledger, undefined))
    found.push(...wrong.map(({ object, error }) => `${error.code} ${object}`))
  return found
}

function flip(name: string): void {
  const bytes = Buffer.from(pipeline.store.objects.get(name)!)
  bytes[Math.floor(bytes.length / 2)]! ^= 1
  pipeline.store.objects.set(name, bytes)
}

test('an opening reads the newest root and what comes after it, and nothing else of the ledger', async () => {
  expect(named('hint').length).toBeGreaterThan(5)
  expect(await faults()).toEqual([])
  const asked: string[] = []
  const get = pipeline.store.get.bind(pipeline.store)
  pipeline.store.get = (name, range) => (asked.push(name), get(name, range))
  await pipeline.reopen()
  const entries = asked.filter((name) => name.startsWith('ledger/') && pipeline.store.objects.has(name))
  expect(entries.length).toBeLessThan(12)
  expect(asked.filter((name) => name.endsWith('.page'))).toEqual([])
  await restores()
})

test.each(['hint', 'root', 'page'] as const)(
  'every %s gone, or damaged: the same restore, and verify names it',
  async (kind) => {
    const names = named(kind)
    const before = new Map(names.map((name) => [name, pipeline.store.objects.get(name)!]))
    for (const name of names) pipeline.store.objects.delete(name)
    await restores()
    expect(await faults()).toEqual(kind === 'hint' ? [] : names.map((name) => `OBJECT_MISSING ${name}`))
    for (const [name, bytes] of before) pipeline.store.objects.set(name, bytes)
    for (const name of names) flip(name)
    await restores()
    expect(await faults()).toEqual(kind === 'hint' ? [] : names.map((name) => `OBJECT_CORRUPT ${name}`))
  },
)

test('a hint that leads nowhere is passed over', async () => {
  pipeline.store.objects.set('checkpoints/1/0000000000000001.json', Buffer.from('{}'))
  await restores()
})

test('an entry that is gone is noticed: behind the checkpoint by opening, before it by verify', async () => {
  const numbers = [...pipeline.store.objects.keys()].filter((name) => name.startsWith('ledger/')).sort()
  const early = numbers[10]!
  const bytes = pipeline.store.objects.get(early)!
  pipeline.store.objects.delete(early)
  await restores()
  await expect(faults()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
  pipeline.store.objects.set(early, bytes)
  pipeline.store.objects.delete(numbers.at(-2)!)
  await expect(pipeline.reopen()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' })
})

test('a checkpoint that says otherwise than its entries is found', async () => {
  const { repository } = pipeline
  const root = repository.catalog.root(0n, '', [])
  // A writer with the right key and a wrong mind.
  const wrong = Object.defineProperties(
    Object.create(Object.getPrototypeOf(repository.catalog) as object) as typeof repository.catalog,
    Object.getOwnPropertyDescriptors({
      allGenerations: [],
      root: () => ({
        ...root,
        number: repository.ledger.headNumber.toString(),
        hash: repository.ledger.headHash,
        generations: root.generations.map((g) => ({ ...g, pages: g.pages.slice(1) })),
      }),
    }),
  )
  await writeCheckpoint(repository.ledger, wrong, repository.signer, () => repository.nonce())
  expect(await faults()).toEqual([expect.stringMatching(/^OBJECT_CORRUPT index\/1\/.*\.root$/)])
})

test('a writer that is overtaken while it writes a checkpoint leaves it be, and the next one holds everything', async () => {
  const one = await pipeline.reopen()
  const two = await pipeline.reopen()
  const put = pipeline.store.putIfAbsent.bind(pipeline.store)
  let raced = false
  pipeline.store.putIfAbsent = async (name, chunks) => {
    if (name.endsWith('.root') && !raced) {
      raced = true
      await two.audit('test', 'in between', 'other')
    }
    return put(name, chunks)
  }
  const hints = named('hint').length
  await one.audit('test', 'one more', 'me')
  await one.checkpoint(1)
  expect(raced).toBe(true)
  await one.checkpoint(1)
  expect(named('hint').length).toBe(hints + 1)
  expect(await faults()).toEqual([])
  expect(comparePositions(one.catalog.generation!.to, last)).toBe(0)
  await restores()
})

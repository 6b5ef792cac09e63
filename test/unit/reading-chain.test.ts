/** Readings of the schema that reach the ledger in another order than they were made in. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { ORIGIN } from '../../services/core/position.ts'
import type { SchemaFacts } from '../../services/core/transaction.ts'
import { type ReadingEntry, schemaChange, statementsDigest } from '../../services/formats/schema-change.ts'
import { schemaName } from '../../services/formats/object-name.ts'
import { SchemaReadings } from '../../services/history/schema-readings.ts'
import { byName, chainFrom } from '../../services/repository/reading-chain.ts'
import type { Repository } from '../../services/repository/repository.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

type Reading = SchemaFacts & { readonly reading: string }

/** A reading's name is a UUID. */
function named(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

function reading(name: string, xid: number, ...tables: readonly string[]): Reading {
  return {
    reading: named(name),
    snapshot: `${xid}:${xid}:`,
    ddlSeen: [],
    statements: tables.map((table, rank) => ({
      sql: `CREATE TABLE ${table} ()`,
      phase: 'before',
      rank,
      objects: [{ kind: 'table', schema: 'public', name: table }],
    })),
    notes: [],
    unsettled: [],
  }
}

/** As a base stores the schema: at once, past the log. */
async function storeAtOnce(repository: Repository, facts: Reading): Promise<void> {
  const sealed = await repository.seal(
    schemaName(1, ORIGIN, repository.nonce()),
    Buffer.from(JSON.stringify(facts)),
    { kind: 'schema', generation: '1' },
  )
  await repository.put(sealed)
  await repository.append({
    kind: 'schema',
    generation: 1,
    at: '0/0',
    snapshot: facts.snapshot,
    reading: facts.reading,
    digest: statementsDigest(facts.statements),
    object: sealed.object,
  })
}

async function throughLog(repository: Repository, term: number, facts: readonly Reading[]): Promise<void> {
  const log = new DirectChangeLog(500)
  const signal = new AbortController().signal
  const compactor = new Compactor({
    log,
    repository,
    generation: 1,
    term,
    policy: { segmentBytes: 1_000_000, ageMs: 3_600_000 },
    clock: systemClock,
    randomness: systemRandomness,
    events: {},
  })
  const running = compactor.run(signal)
  for (let i = 1; i < facts.length; i++)
    await log.append(
      { kind: 'schema-change', change: schemaChange(facts[i - 1]!, facts[i]!), covers: ORIGIN },
      signal,
    )
  log.end()
  await running
}

test('a base overtakes a reading of the log: the next one, which goes on from that, can be read', async () => {
  const pipeline = await MemoryPipeline.create([])
  const { repository } = pipeline
  const term = await repository.claim(0)
  const first = reading('first', 10, 'a')
  await storeAtOnce(repository, first)
  await storeAtOnce(repository, reading('base', 20, 'a', 'b'))
  await throughLog(repository, term, [first, reading('log', 15, 'a'), reading('newest', 30, 'a', 'b', 'c')])
  const { catalog } = await pipeline.reopen()
  const generation = catalog.generation!
  expect(generation.schemas.map(({ body }) => body.reading)).toEqual(
    ['first', 'log', 'base', 'newest'].map(named),
  )
  expect(generation.reading?.reading).toBe(named('newest'))
  const newest = await new SchemaReadings(pipeline.repository, generation).facts(generation.schemas.at(-1)!)
  expect(newest?.statements.map(({ sql }) => sql)).toEqual([
    'CREATE TABLE a ()',
    'CREATE TABLE b ()',
    'CREATE TABLE c ()',
  ])
})

test('a newest reading that goes on from one that is not there is continued by nobody', async () => {
  const pipeline = await MemoryPipeline.create([])
  const { repository } = pipeline
  const term = await repository.claim(0)
  await storeAtOnce(repository, reading('first', 10, 'a'))
  expect(repository.catalog.generation!.reading?.reading).toBe(named('first'))
  await throughLog(repository, term, [reading('lost', 15, 'a'), reading('newest', 30, 'a', 'b')])
  expect((await pipeline.reopen()).catalog.generation!.reading).toBeUndefined()
})

test('what a reading needs begins with the first of its chain, wherever the whole one stands', () => {
  const entry = (name: string, at: string, since?: string): ReadingEntry =>
    ({
      body: {
        kind: since === undefined ? 'schema' : 'schema-change',
        reading: named(name),
        at,
        ...(since === undefined ? {} : { since: named(since) }),
      },
    }) as unknown as ReadingEntry
  const newest = entry('newest', '0/600', 'middle')
  const all = [entry('base', '0/500'), entry('middle', '0/400', 'base'), newest]
  expect(chainFrom(byName(all), newest)).toBe('0/400')
  expect(chainFrom(byName(all), entry('alone', '0/700', 'gone'))).toBe('0/700')
})

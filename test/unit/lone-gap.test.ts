/** A gap that no transaction follows: it is in the ledger all the same, in front of what would hide it. */
import { startAt } from '../../services/core/ports/source.ts'
import { expect, test } from 'vitest'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { type Position, positionOf } from '../../services/core/position.ts'
import type { LeftOutTable } from '../../services/core/ports/source.ts'
import type { GapNotice } from '../../services/core/transaction.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import type { Repository } from '../../services/repository/repository.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'

const clock = systemClock
const randomness = systemRandomness

async function compacting(): Promise<{
  readonly repository: Repository
  readonly log: DirectChangeLog
  readonly end: Position
  stop(): Promise<void>
}> {
  const { repository } = await MemoryPipeline.create([])
  const log = new DirectChangeLog()
  const running = new Compactor({
    log,
    repository,
    generation: 1,
    term: await repository.claim(0),
    policy: { segmentBytes: 1 << 20, ageMs: 3_600_000 },
    clock,
    randomness,
    events: {},
  }).run(new AbortController().signal)
  running.catch(() => undefined)
  return {
    repository,
    log,
    end: repository.catalog.generation!.end,
    stop: async () => {
      log.end()
      await running
    },
  }
}

const gap = (from: Position): GapNotice => ({
  id: randomness.uuid(),
  from,
  reason: 'left out',
  scope: { kind: 'table', oid: 16400, schema: 'public', name: 't' },
})

test('no heartbeat goes before it', async () => {
  const { repository, log, end, stop } = await compacting()
  const order: string[] = []
  repository.ledger.onEntry((entry) => order.push(entry.body?.kind ?? ''))
  const signal = new AbortController().signal
  await log.append({ kind: 'gap', gap: gap(end) }, signal)
  await log.append({ kind: 'heartbeat', at: positionOf(end + 64n) }, signal)
  await stop()
  expect(order).toEqual(['gap', 'heartbeat'])
})

test('a stop does not drop it', async () => {
  const { repository, log, end, stop } = await compacting()
  await log.append({ kind: 'gap', gap: gap(end) }, new AbortController().signal)
  await stop()
  expect(repository.catalog.openGaps).toHaveLength(1)
})

test('a table that is left out is a gap, although nothing is written any more', async () => {
  const { repository, log, end, stop } = await compacting()
  class Quiet extends MemorySource {
    override leftOut = (): Promise<readonly LeftOutTable[]> =>
      Promise.resolve([{ oid: 16400, schema: 'public', name: 't' }])
  }
  const off = new AbortController()
  const found = new Promise<void>((resolve) =>
    repository.ledger.onEntry((entry) => entry.body?.kind === 'gap' && resolve()),
  )
  const running = new Replicator({
    records: memoryDialect.records,
    source: new Quiet([]),
    log,
    from: startAt(end),
    durable: end,
    checked: end,
    sampleMs: 10,
    schemaMs: 10,
    reading: undefined,
    clock,
    randomness,
    events: { onGap: () => undefined },
  }).run(off.signal)
  running.catch(() => undefined)
  await found
  expect(repository.catalog.openGaps.map((open) => open.scope)).toEqual([gap(end).scope])
  off.abort(new DOMException('over', 'AbortError'))
  await running.catch(() => undefined)
  await stop()
})

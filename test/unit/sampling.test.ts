/** How often a replicator asks its source: sequences do not wait for a catalog that takes long to compare. */
import { startAt } from '../../services/core/ports/source.ts'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Compactor } from '../../services/compactor/compactor.ts'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { unlessAborted } from '../../services/core/bounded-queue.ts'
import { type Clock, systemClock, systemRandomness } from '../../services/core/clock.ts'
import { ORIGIN, positionOf } from '../../services/core/position.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'

const BEYOND_MS = 300_000

/** Time passes where the sampling sleeps; what sleeps beyond the test does not wake. */
class Timeline implements Clock {
  at = 0
  readonly now = (): number => this.at
  readonly elapsed = (): number => this.at
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (ms > BEYOND_MS) await unlessAborted(new Promise(() => undefined), signal)
    signal.throwIfAborted()
    this.at += ms
    await setImmediate()
    signal.throwIfAborted()
  }
}

test('a cut keeps up to where the catalog was compared, whatever samples follow', async () => {
  const { repository } = await MemoryPipeline.create([])
  const log = new DirectChangeLog()
  const running = new Compactor({
    log,
    repository,
    generation: 1,
    term: await repository.claim(0),
    policy: { segmentBytes: 1 << 20, ageMs: 3_600_000 },
    clock: systemClock,
    randomness: systemRandomness,
    events: {},
  }).run(new AbortController().signal)
  const signal = new AbortController().signal
  const source = new MemorySource([{ oid: 16400, name: 't', columns: ['x'], identity: 'default' }])
  source.commit([{ kind: 'insert', table: 't', id: 1, values: ['x'] }])
  for await (const item of source.stream(startAt(ORIGIN), signal)) {
    if (item.kind !== 'changes') continue
    await log.append(item, signal)
    const at = item.end!
    const sample = { kind: 'sequences' as const, extent: 'changes' as const, samples: [] }
    await log.append({ ...sample, at, checked: true }, signal)
    await log.append({ ...sample, at: positionOf(at + 8n), checked: false }, signal)
    log.end()
    await running
    expect(repository.catalog.generation!.checked).toBe(at)
    return
  }
})

test('sequences are sampled while the catalog rests, and what was compared is said with the next sample', async () => {
  const clock = new Timeline()
  const compared: number[] = []
  class Large extends MemorySource {
    override readonly repairCatalog = async (): Promise<{ recorded: undefined; failed: [] }> => {
      compared.push(clock.at)
      clock.at += 3_000
      await setImmediate()
      return { recorded: undefined, failed: [] }
    }
    override sequences(): Promise<[]> {
      // The application writes all the time.
      this.commit([{ kind: 'insert', table: 't', id: clock.at, values: ['x'] }])
      return super.sequences()
    }
  }
  const source = new Large([{ oid: 16400, name: 't', columns: ['x'], identity: 'default' }])
  const log = new DirectChangeLog()
  const samples: { readonly when: number; readonly checked: boolean }[] = []
  const off = new AbortController()
  const running = new Replicator({
    records: memoryDialect.records,
    source,
    log,
    from: startAt(ORIGIN),
    durable: ORIGIN,
    checked: ORIGIN,
    sampleMs: 1_000,
    schemaMs: 1_000,
    reading: undefined,
    clock,
    randomness: systemRandomness,
    events: { onGap: () => undefined },
  }).run(off.signal)
  running.catch(() => undefined)
  source.commit([{ kind: 'insert', table: 't', id: -1, values: ['x'] }])
  const take = async (): Promise<void> => {
    for await (const item of log.read(off.signal) as AsyncIterable<LogItem>)
      if (item.kind === 'sequences') {
        samples.push({ when: clock.at, checked: item.checked })
        if (clock.at > BEYOND_MS) return
      }
  }
  await Promise.race([take(), running])
  off.abort(new DOMException('over', 'AbortError'))
  await running.catch(() => undefined)
  // Twenty times as long as a comparison takes lies between two of them.
  expect(compared.length).toBeGreaterThanOrEqual(3)
  expect(compared.length).toBeLessThanOrEqual(6)
  expect(samples.length).toBeGreaterThan(50)
  expect(samples.filter(({ checked }) => checked)).toHaveLength(compared.length)
  const pauses = samples.slice(1).map(({ when }, i) => when - samples[i]!.when)
  expect(Math.max(...pauses)).toBeLessThan(10_000)
})

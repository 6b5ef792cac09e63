/**
 * The change log under a model: processes that are killed, stopped and drained, a broker that loses records, topics, answers or itself,
 * two backups in the same topics. At the end what is restored equals what the source committed, or what is missing is told.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { random } from '../support/dice.ts'
import { LogHistory } from '../support/log-history.ts'
import { MemoryRegistry } from '../support/memory-registry.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const HISTORIES = Number(
  process.env['TIDEMARK_HISTORIES'] ?? (process.env['TIDEMARK_TEST_SCOPE'] === 'soak' ? 1000 : 16),
)
/** Histories that are waited for at a time: most of each is waiting. */
const TOGETHER = 8

let registry: MemoryRegistry

beforeAll(async () => {
  registry = await MemoryRegistry.start()
})
afterAll(() => registry[Symbol.asyncDispose]())

test(`what is restored equals what was committed, or is told (seed ${SEED}, ${HISTORIES} of them)`, {
  timeout: Math.max(3_600_000, HISTORIES * 60_000),
}, async () => {
  const seeds = Array.from({ length: HISTORIES }, (_, i) => SEED + i)
  const counts = new Map<string, number>()
  const lane = async (): Promise<void> => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      const history = await LogHistory.begin(random(seed), registry)
      try {
        await history.run()
        await history.check()
        for (const action of history.actions) counts.set(action, (counts.get(action) ?? 0) + 1)
      } catch (error) {
        throw new Error(
          `history with TIDEMARK_SEED=${seed} TIDEMARK_HISTORIES=1\n${history.told.join('\n')}`,
          { cause: error },
        )
      } finally {
        await history[Symbol.asyncDispose]()
      }
    }
  }
  await Promise.all(Array.from({ length: TOGETHER }, lane))
  if (HISTORIES >= 16) expect([...counts.keys()].length, 'kinds of actions').toBeGreaterThan(15)
})

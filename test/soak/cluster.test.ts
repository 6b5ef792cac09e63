/** The change log on a real broker under random interleavings of its processes and operators. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Running } from '../support/cli.ts'
import { ClusterHistory } from '../support/cluster-history.ts'
import { random } from '../support/dice.ts'
import { type KafkaBench, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** Backups that share the broker at a time: each is a history. */
const TOGETHER = Number(process.env['TIDEMARK_TOGETHER'] ?? 4)
const HISTORIES = Number(process.env['TIDEMARK_HISTORIES'] ?? 100)

let bench: KafkaBench

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await startKafka()
  }, 600_000)
  afterAll(async () => {
    await Running.killAll()
    await bench[Symbol.asyncDispose]()
  })

  test(`what is restored equals the source, or is told (seed ${SEED}, ${HISTORIES} of them)`, {
    timeout: 24 * 3_600_000,
  }, async () => {
    let done = 0
    for (let seed = SEED; done < HISTORIES; seed++) {
      const count = Math.min(TOGETHER, HISTORIES - done)
      const history = await ClusterHistory.begin(random(seed), bench, `h${seed}`, count)
      try {
        await history.run()
        await history.check()
      } catch (error) {
        throw new Error(
          `TIDEMARK_SEED=${seed} TIDEMARK_HISTORIES=${count} TIDEMARK_TOGETHER=${count}\n${history.told.join('\n')}`,
          { cause: error },
        )
      } finally {
        await history[Symbol.asyncDispose]()
      }
      done += count
      console.log(`${done} histories, seed ${seed}`)
      for (const line of history.told.filter((text) => text.includes(' ended: '))) console.log(`  ${line}`)
    }
    expect(done).toBe(HISTORIES)
  })
})

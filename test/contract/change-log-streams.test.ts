/** Whose units count: two backups in the same topics, and units of versions that did not say whose they are. */
import { beforeAll, describe, expect, test } from 'vitest'
import type {
  KafkaChangeLog,
  KafkaLogOptions,
} from '../../services/adapters/kafka/change-log/kafka-change-log.ts'
import { logName } from '../../services/adapters/kafka/records/log-name.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { items, openKafkaLog, shownItem } from '../support/kafka-log.ts'
import { writeOlder } from '../support/older-writer.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const OTHER = '99999999-0000-4000-8000-000000000002'
const signal = new AbortController().signal
let bench: SharedKafka

async function read(log: KafkaChangeLog): Promise<string[]> {
  log.end()
  const got: string[] = []
  for await (const item of log.read(signal)) got.push(shownItem(item))
  return got
}

async function appendAll(log: KafkaChangeLog, sent: readonly LogItem[]): Promise<void> {
  for (const item of sent) {
    await log.append(item, signal)
    for (const deadline = performance.now() + 60_000; log.waitingUnits > 0; ) {
      expect(performance.now()).toBeLessThan(deadline)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
  }, 300_000)

  const place = async (
    prefix: string,
    over: Partial<NonNullable<KafkaLogOptions['place']>>,
  ): Promise<NonNullable<KafkaLogOptions['place']>> => {
    const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const { clusterId } = await admin.describeCluster()
    await admin.disconnect()
    const log = logName(clusterId, prefix)
    return { log, from: 0n, at: 0n, since: 0, unit: '', idsFrom: 0n, ...over }
  }

  test('two backups that write the same topics, under the same terms: each reads its own', async () => {
    const [all, both] = [await items(9), await place('shared', {})]
    const mine = all.filter((_, i) => i % 2 === 0)
    const theirs = all.filter((_, i) => i % 2 === 1)
    const first = await openKafkaLog(bench, 'shared', { place: both, term: 5 })
    const second = await openKafkaLog(bench, 'shared', { place: both, term: 5, stream: OTHER })
    for (const [i, item] of theirs.entries()) {
      await appendAll(first, [mine[i]!])
      await appendAll(second, [item])
    }
    // Neither has fenced the other, and each goes on behind its own.
    await first.close()
    const again = await openKafkaLog(bench, 'shared', { place: both, term: 6 })
    expect(again.tail.last).toMatchObject({ term: 5, unit: 4 })
    await appendAll(again, mine.slice(4))
    expect(await read(again)).toEqual(mine.map(shownItem))
    expect(await read(second)).toEqual(theirs.map(shownItem))
    await again.close()
    await second.close()
  })

  test('units of an older version count up to the place of the upgrade, and none behind it', async () => {
    const [old, late, fresh] = [await items(6), 6, await items(9)]
    const offsets = await writeOlder(bench, 'upgraded', 3, {
      generation: 1,
      term: 3,
      items: old.slice(0, late - 2),
    })
    // The last two of the old writer stand behind the place that the ledger names.
    const idsFrom = BigInt(offsets.at(-1)! + 1)
    const upgraded = await place('upgraded', { idsFrom })
    const stranger = await writeOlder(bench, 'upgraded', 3, {
      generation: 1,
      term: 4,
      items: old.slice(late - 2),
    })
    expect(stranger[0]).toBeGreaterThanOrEqual(Number(idsFrom))
    const log = await openKafkaLog(bench, 'upgraded', { place: upgraded, term: 9 })
    expect(log.tail.last).toMatchObject({ term: 3, unit: late - 2 })
    await appendAll(log, fresh.slice(late - 2))
    const got = await read(log)
    expect(got).toEqual(fresh.map(shownItem))
    await log.close()
  })
})

/** Where a log ends now, and whose it is: for beginning to write, or anew behind what it lost. */
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import {
  kafkaError,
  type KafkaSettings,
  logName,
  olderTransactionalId,
  openCluster,
  openKafka,
} from '../client/connection.ts'
import { HEAD_BYTES } from '../reading/log-tail.ts'
import { PartitionReader } from '../reading/partition-reader.ts'
import { transactionsTopic } from '../records/topic-name.ts'
import { Topics } from '../topics/topics.ts'
import { decodeUnit, HEADER } from '../records/unit.ts'

export interface LogEnd {
  /** As the ledger names it. */
  readonly log: string
  /** Of the topic of transactions: the first offset that is still there, and the next one to be written. */
  readonly low: bigint
  readonly at: bigint
}

/** A writer marks all topic-partitions each minute: somebody who writes has written among the last of these. */
const LOOK_BACK = 1000n

/** @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
export async function findLogEnd(
  settings: KafkaSettings,
  prefix: string,
  replicationFactor: number,
  clock: Clock,
): Promise<LogEnd> {
  const admin = openKafka(settings).admin()
  try {
    await admin.connect()
    const topic = transactionsTopic(prefix)
    await new Topics(admin, clock, replicationFactor).ensure(topic, 1)
    const { clusterId } = await admin.describeCluster()
    const found = (await admin.fetchTopicOffsets(topic))[0]
    return {
      log: logName(clusterId, prefix),
      low: BigInt(found?.low ?? '0'),
      at: BigInt(found?.high ?? '0'),
    }
  } catch (error) {
    throw kafkaError(error, 'the change log')
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

/** The backups that wrote last; empty text for units of older versions, which do not say. @throws TidemarkError LOG_… */
export async function lastStreams(
  settings: KafkaSettings,
  prefix: string,
  { low, at }: LogEnd,
): Promise<ReadonlySet<string>> {
  const streams = new Set<string>()
  const cluster = openCluster(settings)
  const { signal } = new AbortController()
  try {
    await cluster.connect()
    const topic = transactionsTopic(prefix)
    const from = at - LOOK_BACK > low ? at - LOOK_BACK : low
    const reader = new PartitionReader(cluster, topic, 0, from, HEADER, { clock: settings.clock })
    while (reader.next < at) {
      const record = await reader.available(signal)
      if (record === undefined) break
      if (record.value === null || record.stamp === undefined) continue
      streams.add(decodeUnit(record.value.subarray(HEAD_BYTES), record.stamp).stream)
    }
    return streams
  } catch (error) {
    throw kafkaError(error, 'the change log')
  } finally {
    await cluster.disconnect().catch(() => undefined)
  }
}

/** Ends what a writer of an older version may still have under way: this version's writers have another name. @throws TidemarkError LOG_… */
export async function fenceOlderWriter(settings: KafkaSettings, prefix: string): Promise<void> {
  const producer = openKafka(settings).producer({
    transactionalId: olderTransactionalId(prefix),
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  })
  try {
    await producer.connect()
    await (await producer.transaction()).abort()
  } catch (error) {
    const known = kafkaError(error, 'the writer of an older version')
    // Whoever may not use the name has never written under it.
    if (!(known instanceof TidemarkError && /TRANSACTIONAL_ID_AUTHORIZATION/.test(known.message))) throw known
  } finally {
    await producer.disconnect().catch(() => undefined)
  }
}

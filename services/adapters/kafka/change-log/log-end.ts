/** Where a log ends now, and whose it is: for beginning to write, or anew behind what it lost. */
import type { Clock } from '../../../core/clock.ts'
import { openClient } from '../client/connection.ts'
import { answerOf, kafkaError } from '../client/errors.ts'
import type { KafkaSettings } from '../client/settings.ts'
import { HEAD_BYTES } from '../reading/log-tail.ts'
import { PartitionReader } from '../reading/partition-reader.ts'
import { logName, olderTransactionalId } from '../records/log-name.ts'
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
  const admin = openClient(settings).admin()
  try {
    await admin.connect()
    const topic = transactionsTopic(prefix)
    await new Topics(admin, clock, replicationFactor).ensure(topic, 1)
    const { id } = await admin.cluster()
    const found = (await admin.ends(topic))[0]
    return {
      log: logName(id, prefix),
      low: found?.low ?? 0n,
      at: found?.high ?? 0n,
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
  const fetcher = openClient(settings).fetcher()
  const { signal } = new AbortController()
  try {
    await fetcher.connect()
    const topic = transactionsTopic(prefix)
    const from = at - LOOK_BACK > low ? at - LOOK_BACK : low
    const reader = new PartitionReader(fetcher, topic, 0, from, HEADER, { clock: settings.clock })
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
    await fetcher.disconnect().catch(() => undefined)
  }
}

/** Ends what a writer of an older version may still have under way: this version's writers have another name. @throws TidemarkError LOG_… */
export async function fenceOlderWriter(settings: KafkaSettings, prefix: string): Promise<void> {
  const writer = openClient(settings).writer({ transactionalId: olderTransactionalId(prefix) })
  try {
    await writer.connect()
    await (await writer.begin()).abort()
  } catch (error) {
    // Whoever may not use the name has never written under it.
    if (answerOf(error) !== 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED')
      throw kafkaError(error, 'the writer of an older version')
  } finally {
    await writer.disconnect().catch(() => undefined)
  }
}

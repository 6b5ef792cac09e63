/** Where a log ends now: for beginning anew behind what it lost. */
import type { Clock } from '../../core/clock.ts'
import { kafkaError, type KafkaSettings, logName, openKafka } from './connection.ts'
import { transactionsTopic } from './topic-name.ts'
import { Topics } from './topics.ts'

/** @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
export async function findLogEnd(
  settings: KafkaSettings,
  prefix: string,
  replicationFactor: number,
  clock: Clock,
): Promise<{ readonly log: string; readonly at: bigint }> {
  const admin = openKafka(settings).admin()
  try {
    await admin.connect()
    const topic = transactionsTopic(prefix)
    await new Topics(admin, clock, replicationFactor).ensure(topic, 1)
    const { clusterId } = await admin.describeCluster()
    return {
      log: logName(clusterId, prefix),
      at: BigInt((await admin.fetchTopicOffsets(topic))[0]?.high ?? '0'),
    }
  } catch (error) {
    throw kafkaError(error, 'the change log')
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

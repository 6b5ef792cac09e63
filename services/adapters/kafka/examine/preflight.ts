/** Findings about a cluster: settings under which records that were accepted can vanish, or never be accepted. */
import { asTidemarkError } from '../../../core/errors.ts'
import type { Finding } from '../../../core/finding.ts'
import { openClient } from '../client/connection.ts'
import { kafkaError } from '../client/errors.ts'
import type { KafkaSettings } from '../client/settings.ts'
import { examinePartitions } from './partition-counts.ts'
import { Registry, type RegistrySettings } from '../registry/registry.ts'
import { examineTopics } from './topic-settings.ts'

export interface KafkaExamination {
  readonly settings: KafkaSettings
  readonly prefix: string
  readonly partitions: number
  readonly acknowledge: 'segment' | 'log'
  readonly replicationFactor: number
  readonly registry: RegistrySettings
}

const BATCH_BYTES = 1024 * 1024
const RETENTION_HOURS = 24

export async function examineKafka(wanted: KafkaExamination): Promise<readonly Finding[]> {
  const [cluster, registry] = await Promise.all([examineCluster(wanted), examineRegistry(wanted)])
  return [...cluster, ...registry]
}

/** Without it nothing with a schema that it has not told before gets into the log. */
async function examineRegistry({ registry, prefix }: KafkaExamination): Promise<readonly Finding[]> {
  try {
    await new Registry(registry, 0).examine(`${prefix}.transactions-value`)
    return []
  } catch (error) {
    const { code, message, next } = asTidemarkError(error)
    if (code === 'INTERNAL') throw error
    return [{ level: 'refuse', code, what: message, fix: next }]
  }
}

async function examineCluster(wanted: KafkaExamination): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const say = (level: Finding['level'], code: string, what: string, fix: string): void =>
    void findings.push({ level, code, what, fix })
  const hole =
    wanted.acknowledge === 'log'
      ? ', which is a gap: a new generation follows'
      : ', and the source sends everything behind it again'
  const admin = openClient(wanted.settings).admin()
  try {
    await admin.connect()
    const { brokers } = await admin.cluster()
    const ours = (await admin.topics()).filter((topic) => topic.startsWith(`${wanted.prefix}.`))
    // Where the topics are there already, a broker is down, and the others go on.
    if (brokers.length < wanted.replicationFactor)
      say(
        ours.length > 0 ? 'warn' : 'refuse',
        'KAFKA_BROKERS',
        `kafka.replicationFactor is ${wanted.replicationFactor}, the cluster has ${brokers.length} brokers`,
        'start or add brokers, or lower kafka.replicationFactor',
      )
    if (wanted.replicationFactor < 2)
      say(
        'warn',
        'KAFKA_REPLICATION',
        wanted.acknowledge === 'log'
          ? 'topics have one replica, and the source is acknowledged with what Kafka has: a lost broker loses changes for good'
          : 'topics have one replica: a lost broker loses what is not in the store yet (the source sends it again)',
        'kafka.replicationFactor: 3',
      )
    const broker = brokers[0]
    if (broker !== undefined) {
      const value = await admin.brokerSettings(broker)
      if (wanted.replicationFactor >= 3 && Number(value.get('min.insync.replicas') ?? 1) < 2)
        say(
          'warn',
          'KAFKA_MIN_INSYNC',
          'min.insync.replicas is 1: a record that only one broker has counts as accepted',
          'set min.insync.replicas to 2',
        )
      if (value.get('unclean.leader.election.enable') === 'true')
        say(
          'refuse',
          'KAFKA_UNCLEAN',
          'unclean.leader.election.enable is true: a replica that lacks accepted records may become the leader',
          'set unclean.leader.election.enable to false',
        )
      if (Number(value.get('message.max.bytes') ?? BATCH_BYTES) < BATCH_BYTES)
        say(
          'refuse',
          'KAFKA_MESSAGE_BYTES',
          `message.max.bytes is ${value.get('message.max.bytes') ?? ''}: batches of up to ${BATCH_BYTES} bytes would be refused`,
          `set message.max.bytes to ${BATCH_BYTES} or more`,
        )
      const hours = retentionHours(value)
      if (hours !== undefined && hours < RETENTION_HOURS)
        say(
          'warn',
          'KAFKA_RETENTION',
          `topics keep ${hours.toFixed(1)} hours: a compactor that stands still for longer finds a hole${hole}`,
          `set log.retention.hours to ${RETENTION_HOURS} or more`,
        )
    }
    if (ours.length > 0) {
      const led = await admin.leaders(ours)
      const counted = led.map(({ topic, leaders }) => ({ name: topic, partitions: leaders.length }))
      findings.push(...examinePartitions(counted, wanted))
    }
    findings.push(
      ...(await examineTopics(admin, ours, {
        replicationFactor: wanted.replicationFactor,
        batchBytes: BATCH_BYTES,
        retentionHours: RETENTION_HOURS,
        hole,
      })),
    )
    return findings
  } catch (error) {
    const known = kafkaError(error, 'the cluster')
    return [...findings, { level: 'refuse', code: known.code, what: known.message, fix: known.next }]
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

/** Undefined where there is no limit of time. */
function retentionHours(value: ReadonlyMap<string, string>): number | undefined {
  const ms = Number(value.get('log.retention.ms') || Number.NaN)
  if (Number.isFinite(ms)) return ms < 0 ? undefined : ms / 3_600_000
  const hours = Number(value.get('log.retention.hours') || Number.NaN)
  return Number.isFinite(hours) && hours >= 0 ? hours : undefined
}

/** Findings about the settings of single topics: an operator changed them since, or made the topic by hand. */
import type { Finding } from '../../../core/finding.ts'
import type { KafkaAdmin } from '../client/client.ts'

export interface TopicLimits {
  readonly replicationFactor: number
  readonly batchBytes: number
  readonly retentionHours: number
  /** What a topic that keeps too little leads to. */
  readonly hole: string
}

type Said = Omit<Finding, 'what'> & { readonly what: (topics: string) => string }

const NAMES = [
  'cleanup.policy',
  'unclean.leader.election.enable',
  'min.insync.replicas',
  'max.message.bytes',
  'retention.ms',
]
/** Matter wherever they come from. */
const INHERITED: ReadonlySet<string> = new Set(['cleanup.policy'])
/** Named in one finding; the others are counted. */
const NAMED = 5

export async function examineTopics(
  admin: KafkaAdmin,
  topics: readonly string[],
  limits: TopicLimits,
): Promise<Finding[]> {
  if (topics.length === 0) return []
  const found = new Map<string, { readonly said: Said; readonly topics: string[] }>()
  for (const { topic, name, value, isOwn } of await admin.topicSettings(topics, NAMES)) {
    // Of the others the brokers' own findings tell.
    if (!isOwn && !INHERITED.has(name)) continue
    const said = finding(name, value, limits)
    if (said === undefined) continue
    const key = `${name}=${value}`
    const held = found.get(key) ?? { said, topics: [] }
    held.topics.push(topic)
    found.set(key, held)
  }
  return [...found.values()].map(({ said, topics: of }) => {
    const more = of.length > NAMED ? ` and ${of.length - NAMED} more` : ''
    return { ...said, what: said.what(`${of.slice(0, NAMED).join(', ')}${more}`) }
  })
}

function finding(name: string, value: string, limits: TopicLimits): Said | undefined {
  const number = Number(value)
  switch (name) {
    case 'cleanup.policy':
      if (!value.includes('compact')) return undefined
      return {
        level: 'refuse',
        code: 'KAFKA_COMPACTED',
        what: (topics) => `cleanup.policy is ${value} of ${topics}: history vanishes from it`,
        fix: 'set cleanup.policy to delete',
      }
    case 'unclean.leader.election.enable':
      if (value !== 'true') return undefined
      return {
        level: 'refuse',
        code: 'KAFKA_UNCLEAN',
        what: (topics) =>
          `${name} is true of ${topics}: a replica that lacks accepted records may become the leader`,
        fix: `set ${name} to false`,
      }
    case 'min.insync.replicas':
      if (number >= 2 || limits.replicationFactor < 3) return undefined
      return {
        level: 'warn',
        code: 'KAFKA_MIN_INSYNC',
        what: (topics) =>
          `${name} is ${value} of ${topics}: a record that only one broker has counts as accepted`,
        fix: `set ${name} to 2`,
      }
    case 'max.message.bytes':
      if (number >= limits.batchBytes) return undefined
      return {
        level: 'refuse',
        code: 'KAFKA_MESSAGE_BYTES',
        what: (topics) =>
          `${name} is ${value} of ${topics}: batches of up to ${limits.batchBytes} bytes would be refused`,
        fix: `set ${name} to ${limits.batchBytes} or more`,
      }
    case 'retention.ms':
      if (number < 0 || number >= limits.retentionHours * 3_600_000) return undefined
      return {
        level: 'warn',
        code: 'KAFKA_RETENTION',
        what: (topics) =>
          `retention.ms is ${value} of ${topics}: a compactor that stands still for longer finds a hole${limits.hole}`,
        fix: `set retention.ms to ${limits.retentionHours * 3_600_000} or more`,
      }
    default:
      return undefined
  }
}

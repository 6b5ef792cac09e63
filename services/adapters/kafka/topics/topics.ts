/** Makes topics, and knows which are there. Never changes one that exists: its owner may have tuned it. */
import kafkajs, { type Admin } from 'kafkajs'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { kafkaError } from '../client/connection.ts'
import { metricName, withDigest } from '../records/topic-name.ts'

const TRIES = 50

export class Topics {
  readonly #admin: Admin
  readonly #clock: Clock
  readonly #replicationFactor: number
  readonly #known = new Map<string, Promise<void>>()
  /** Wanted names, and the topics' own. */
  readonly #names = new Map<string, string>()

  constructor(admin: Admin, clock: Clock, replicationFactor: number) {
    this.#admin = admin
    this.#clock = clock
    this.#replicationFactor = replicationFactor
  }

  /** Resolves once the topic has all its partitions. @throws TidemarkError LOG_REFUSED where it has fewer */
  ensure(topic: string, partitions: number): Promise<void> {
    let made = this.#known.get(topic)
    if (made === undefined) {
      made = this.#make(topic, partitions)
      made.catch(() => this.#known.delete(topic))
      this.#known.set(topic, made)
    }
    return made
  }

  /**
   * The name that a topic has, or gets: the wanted one, and another one where Kafka would take that for the name of a topic that is
   * there. Topics keep the names that they have.
   */
  async named(wanted: string): Promise<string> {
    const known = this.#names.get(wanted)
    if (known !== undefined) return known
    let there: readonly string[]
    try {
      there = await this.#admin.listTopics()
    } catch (error) {
      throw kafkaError(error, 'the list of topics')
    }
    const other = withDigest(wanted)
    const taken = [...there, ...this.#names.values()]
    const isTaken = !taken.includes(wanted) && taken.some((topic) => metricName(topic) === metricName(wanted))
    const name = taken.includes(other) || isTaken ? other : wanted
    this.#names.set(wanted, name)
    return name
  }

  /** Topics are looked at again: somebody may have deleted one. */
  forget(): void {
    this.#known.clear()
  }

  async #make(topic: string, partitions: number): Promise<void> {
    try {
      const isNew = await this.#create(topic, partitions)
      for (let left = TRIES; ; left--) {
        const there = (await this.#described(topic))?.topics[0]?.partitions
        if (there !== undefined && there.length < partitions)
          throw new TidemarkError(
            'LOG_REFUSED',
            `topic ${topic} has ${there.length} partitions, and ${partitions} are written`,
            { next: 'tidemark doctor  (says what it should have)' },
          )
        const isLed = there?.every((partition) => partition.leader >= 0) === true
        if (isLed && (!isNew || (await this.#answers(topic)))) return
        if (left <= 0) throw new TidemarkError('LOG_UNREACHABLE', `topic ${topic} has no leader`)
        await this.#clock.sleep(50)
      }
    } catch (error) {
      throw refusal(error, topic) ?? kafkaError(error, `topic ${topic}`)
    }
  }

  /** False where it is there. Asked twice: the first answer may be about another topic that this client has used and that is gone. */
  async #create(topic: string, numPartitions: number): Promise<boolean> {
    // waitForLeaders of kafkajs fails on a fresh cluster: the metadata is asked for by the caller.
    const wanted = {
      waitForLeaders: false,
      topics: [
        {
          topic,
          numPartitions,
          replicationFactor: this.#replicationFactor,
          configEntries: [
            { name: 'cleanup.policy', value: 'delete' },
            // Clocks of sources and of ours may be ahead: retention goes by the brokers'.
            { name: 'message.timestamp.type', value: 'LogAppendTime' },
          ],
        },
      ],
    }
    try {
      return await this.#admin.createTopics(wanted)
    } catch (error) {
      // A login that may make none uses those that somebody made for it.
      if (typeName(error) === 'TOPIC_AUTHORIZATION_FAILED' && (await this.#isThere(topic))) return false
      if (typeName(error) !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
      return this.#admin.createTopics(wanted)
    }
  }

  /** Undefined where it cannot be told yet; not while it may not be. */
  async #described(topic: string) {
    try {
      return await this.#admin.fetchTopicMetadata({ topics: [topic] })
    } catch (error) {
      const known = kafkaError(error, `topic ${topic}`)
      if (known.code === 'LOG_REFUSED') throw known
      return undefined
    }
  }

  async #isThere(topic: string): Promise<boolean> {
    return (await this.#admin.listTopics()).includes(topic)
  }

  /** A new topic's leaders are named before they know it themselves. */
  async #answers(topic: string): Promise<boolean> {
    try {
      await this.#admin.fetchTopicOffsets(topic)
      return true
    } catch (error) {
      if (error instanceof kafkajs.KafkaJSError && error.retriable) return false
      throw error
    }
  }
}

/** What a cluster says of a topic that it will not make, now or later. */
const REFUSED: Readonly<Record<string, string>> = {
  INVALID_TOPIC_EXCEPTION:
    'give the backup another kafka.prefix; or remove the topic whose name is the same to Kafka',
  POLICY_VIOLATION:
    "make the topic by the cluster's policy, with cleanup.policy=delete; or let Tidemark make it",
  INVALID_CONFIG:
    "make the topic by the cluster's policy, with cleanup.policy=delete; or let Tidemark make it",
  INVALID_PARTITIONS: 'set kafka.partitions to what the cluster allows, with a new kafka.prefix',
}

function refusal(error: unknown, topic: string): TidemarkError | undefined {
  const type = typeName(error)
  if (type.endsWith('_AUTHORIZATION_FAILED')) return kafkaError(single(error), `topic ${topic}`)
  // A broker that has just started is not counted yet: with fewer than the log needs, it waits for them.
  if (type === 'INVALID_REPLICATION_FACTOR')
    return new TidemarkError(
      'LOG_UNREACHABLE',
      `topic ${topic} cannot be made yet: too few brokers are up (${type})`,
      {
        cause: error,
        next: 'start the brokers, or set kafka.replicationFactor to what the cluster has; up goes on by itself',
      },
    )
  const next = REFUSED[type]
  if (next === undefined) return undefined
  return new TidemarkError('LOG_REFUSED', `topic ${topic} cannot be made: Kafka answers ${type}`, {
    cause: error,
    next,
  })
}

/** kafkajs answers for a list of topics: here there is one. */
function single(error: unknown): unknown {
  return (error as { errors?: readonly unknown[] } | null)?.errors?.[0] ?? error
}

function typeName(error: unknown): string {
  const { type } = (single(error) ?? {}) as { readonly type?: unknown }
  return typeof type === 'string' ? type : ''
}

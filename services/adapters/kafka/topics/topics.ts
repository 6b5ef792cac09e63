/** Makes topics, and knows which are there. Never changes one that exists: its owner may have tuned it. */
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { KafkaAdmin } from '../client/client.ts'
import { answerOf, kafkaError, mayPass } from '../client/errors.ts'
import { metricName, withDigest } from '../records/topic-name.ts'

const TRIES = 50

export class Topics {
  readonly #admin: KafkaAdmin
  readonly #clock: Clock
  readonly #replicationFactor: number
  readonly #known = new Map<string, Promise<void>>()
  /** Wanted names, and the topics' own. */
  readonly #names = new Map<string, string>()

  constructor(admin: KafkaAdmin, clock: Clock, replicationFactor: number) {
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
      there = await this.#admin.topics()
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
        const there = await this.#leaders(topic)
        if (there !== undefined && there.length < partitions)
          throw new TidemarkError(
            'LOG_REFUSED',
            `topic ${topic} has ${there.length} partitions, and ${partitions} are written`,
            { next: 'tidemark doctor  (says what it should have)' },
          )
        const isLed = there?.every((leader) => leader >= 0) === true
        if (isLed && (!isNew || (await this.#answers(topic)))) return
        if (left <= 0) throw new TidemarkError('LOG_UNREACHABLE', `topic ${topic} has no leader`)
        await this.#clock.sleep(50)
      }
    } catch (error) {
      throw refusal(error, topic) ?? kafkaError(error, `topic ${topic}`)
    }
  }

  /** False where it is there. Asked twice: the first answer may be about another topic that this client has used and that is gone. */
  async #create(topic: string, partitions: number): Promise<boolean> {
    const wanted = {
      topic,
      partitions,
      replicationFactor: this.#replicationFactor,
      // Clocks of sources and of ours may be ahead: retention goes by the brokers'.
      settings: { 'cleanup.policy': 'delete', 'message.timestamp.type': 'LogAppendTime' },
    }
    try {
      return await this.#admin.make(wanted)
    } catch (error) {
      const answer = answerOf(error)
      // A login that may make none uses those that somebody made for it.
      if (answer === 'TOPIC_AUTHORIZATION_FAILED' && (await this.#isThere(topic))) return false
      if (answer !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
      return this.#admin.make(wanted)
    }
  }

  /** Undefined where it cannot be told yet; not while it may not be. */
  async #leaders(topic: string): Promise<readonly number[] | undefined> {
    try {
      return (await this.#admin.leaders([topic]))[0]?.leaders
    } catch (error) {
      const known = kafkaError(error, `topic ${topic}`)
      if (known.code === 'LOG_REFUSED') throw known
      return undefined
    }
  }

  async #isThere(topic: string): Promise<boolean> {
    return (await this.#admin.topics()).includes(topic)
  }

  /** A new topic's leaders are named before they know it themselves. */
  async #answers(topic: string): Promise<boolean> {
    try {
      await this.#admin.ends(topic)
      return true
    } catch (error) {
      if (mayPass(error)) return false
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
  const type = answerOf(error)
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

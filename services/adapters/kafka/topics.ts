/** Makes topics, and knows which are there. Never changes one that exists: its owner may have tuned it. */
import kafkajs, { type Admin } from 'kafkajs'
import type { Clock } from '../../core/clock.ts'
import { TidemarkError } from '../../core/errors.ts'
import { kafkaError } from './connection.ts'

const TRIES = 50

export class Topics {
  readonly #admin: Admin
  readonly #clock: Clock
  readonly #replicationFactor: number
  readonly #known = new Map<string, Promise<void>>()

  constructor(admin: Admin, clock: Clock, replicationFactor: number) {
    this.#admin = admin
    this.#clock = clock
    this.#replicationFactor = replicationFactor
  }

  /** Resolves once the topic has all its partitions. @throws TidemarkError LOG_REFUSED where it has another number of them */
  ensure(topic: string, partitions: number): Promise<void> {
    let made = this.#known.get(topic)
    if (made === undefined) {
      made = this.#make(topic, partitions)
      made.catch(() => this.#known.delete(topic))
      this.#known.set(topic, made)
    }
    return made
  }

  /** Topics are looked at again: somebody may have deleted one. */
  forget(): void {
    this.#known.clear()
  }

  async #make(topic: string, partitions: number): Promise<void> {
    try {
      // waitForLeaders of kafkajs fails on a fresh cluster: the metadata is asked for here.
      const isNew = await this.#admin.createTopics({
        waitForLeaders: false,
        topics: [
          {
            topic,
            numPartitions: partitions,
            replicationFactor: this.#replicationFactor,
            configEntries: [{ name: 'cleanup.policy', value: 'delete' }],
          },
        ],
      })
      for (let left = TRIES; ; left--) {
        const there = (await this.#admin.fetchTopicMetadata({ topics: [topic] }).catch(() => undefined))
          ?.topics[0]?.partitions
        if (there !== undefined && there.length !== partitions)
          throw new TidemarkError(
            'LOG_REFUSED',
            `topic ${topic} has ${there.length} partitions, tidemark.yaml says ${partitions}`,
            {
              next: 'set kafka.partitions to what the topics have; the number changes only with a new prefix',
            },
          )
        const isLed = there?.every((partition) => partition.leader >= 0) === true
        if (isLed && (!isNew || (await this.#answers(topic)))) return
        if (left <= 0) throw new TidemarkError('LOG_UNREACHABLE', `topic ${topic} has no leader`)
        await this.#clock.sleep(50)
      }
    } catch (error) {
      throw kafkaError(error, `topic ${topic}`)
    }
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

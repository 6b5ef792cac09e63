/** Where partitions begin and end now, as their leaders say: a leader that does not know its own end yet says so, and is asked again. */
import type { Clock } from '../../../core/clock.ts'
import type { KafkaAdmin } from '../client/client.ts'
import { kafkaError } from '../client/errors.ts'

export interface PartitionEnd {
  /** The first offset that is still there. */
  readonly low: bigint
  /** The next one that will be written. */
  readonly high: bigint
}

/** A topic that moves is absent for a moment. */
const ABSENT_TRIES = 10
const ABSENT_PAUSE_MS = 400
/** Topics that are asked for at a time. */
const TOGETHER = 8

export function partitionKey(partition: { readonly topic: string; readonly partition: number }): string {
  return `${partition.topic}\0${partition.partition}`
}

export class PartitionEnds {
  readonly #admin: KafkaAdmin
  readonly #clock: Clock

  constructor(admin: KafkaAdmin, clock: Clock) {
    this.#admin = admin
    this.#clock = clock
  }

  /** By `partitionKey`; without those of topics that are not there. @throws TidemarkError LOG_UNREACHABLE, LOG_REFUSED */
  async of(topics: Iterable<string>, signal: AbortSignal): Promise<ReadonlyMap<string, PartitionEnd>> {
    const ends = new Map<string, PartitionEnd>()
    const waiting = await this.#present([...new Set(topics)], signal)
    const ask = async (): Promise<void> => {
      for (let topic = waiting.pop(); topic !== undefined; topic = waiting.pop()) {
        signal.throwIfAborted()
        try {
          for (const { partition, low, high } of await this.#admin.ends(topic))
            ends.set(partitionKey({ topic, partition }), { low, high })
        } catch (error) {
          throw kafkaError(error, `the ends of ${topic}`)
        }
      }
    }
    await Promise.all(Array.from({ length: TOGETHER }, ask))
    return ends
  }

  async #present(wanted: readonly string[], signal: AbortSignal): Promise<string[]> {
    for (let left = ABSENT_TRIES; ; left--) {
      try {
        const all = new Set(await this.#admin.topics())
        const there = wanted.filter((topic) => all.has(topic))
        if (there.length === wanted.length || left <= 0) return there
      } catch (error) {
        throw kafkaError(error, 'the list of topics')
      }
      await this.#clock.sleep(ABSENT_PAUSE_MS, signal)
    }
  }
}

/** Messages of a unit on their way to the client, and what it answers. */
import { TidemarkError } from '../../../core/errors.ts'
import type { TopicMessages, Written } from '../client/client.ts'

/** One buffer for all keys and values of a unit: thousands of small ones cost more than what is in them. */
export class Slab {
  #buffer: Buffer
  #at = 0

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(1024, bytes))
  }

  join(head: Buffer, body: Buffer): Buffer {
    const length = head.length + body.length
    if (this.#at + length > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(Math.max(64 * 1024, length))
      this.#at = 0
    }
    const start = this.#at
    for (let i = 0; i < head.length; i++) this.#buffer[start + i] = head[i]!
    body.copy(this.#buffer, start + head.length)
    this.#at = start + length
    return this.#buffer.subarray(start, this.#at)
  }
}

/** A topic once, with the messages of all its partitions. */
export function joined(round: readonly TopicMessages[]): TopicMessages[] {
  const topics = new Map<string, TopicMessages>()
  for (const { topic, messages } of round) {
    const held = topics.get(topic)
    if (held === undefined) topics.set(topic, { topic, messages: [...messages] })
    else held.messages.push(...messages)
  }
  return [...topics.values()]
}

export function baseOffset(answers: readonly Written[], topic: string, partition: number): bigint {
  const answer = answers.find((a) => a.topicName === topic && a.partition === partition)
  if (answer?.baseOffset === undefined)
    throw new TidemarkError(
      'LOG_UNREACHABLE',
      `Kafka took records for ${topic}/${partition} and did not say where they are`,
    )
  return BigInt(answer.baseOffset)
}

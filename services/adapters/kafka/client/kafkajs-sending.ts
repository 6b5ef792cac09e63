/**
 * kafkajs 2.2.4's way of sending, put right, in its place before kafkajs is loaded (pinned to the version):
 *
 * - Where records go to several brokers and one of them answers with an error, kafkajs begins again at once, while the others'
 *   requests are still under way, and sends those a second time under new sequence numbers: brokers cannot know them again, and
 *   records are there twice. Here all answers are waited for, and a partition that has answered is never sent again, whoever
 *   leads it by then. What is sent again is the same batch under the same sequence number, which brokers do know again.
 * - It groups a batch by partition by copying the group for every message: n² for n messages. Here every message says its partition.
 */
import { createRequire } from 'node:module'

interface Message {
  readonly partition?: number
}

interface Entry {
  readonly partition: number
  readonly messages: readonly Message[]
  firstSequence?: number
}

interface TopicData {
  readonly topic: string
  readonly partitions: readonly Entry[]
}

interface Broker {
  readonly nodeId: string
  produce(request: object): Promise<{
    readonly topics: readonly {
      readonly topicName: string
      readonly partitions: readonly { readonly partition: number }[]
    }[]
  }>
}

/** What kafkajs hands to its function of the same name. */
export interface SendingParts {
  readonly cluster: {
    addMultipleTargetTopics(topics: readonly string[]): Promise<void>
    refreshMetadataIfNecessary(): Promise<void>
    refreshMetadata(): Promise<void>
    findLeaderForPartitions(
      topic: string,
      partitions: readonly number[],
    ): Readonly<Record<string, readonly number[]>>
    findBroker(node: { readonly nodeId: string }): Promise<Broker>
    removeBroker(place: { readonly host: unknown; readonly port: unknown }): void
    isConnected(): boolean
    connect(): Promise<void>
  }
  readonly eosManager: {
    isTransactional(): boolean
    getTransactionalId(): string
    getProducerId(): unknown
    getProducerEpoch(): unknown
    addPartitionsToTransaction(data: readonly TopicData[]): Promise<void>
    getSequence(topic: string, partition: number): number
    updateSequence(topic: string, partition: number, by: number): void
    acquireBrokerLock(broker: Broker): Promise<void>
    releaseBrokerLock(broker: Broker): Promise<void>
  }
  readonly retrier: <T>(action: (bail: (error: unknown) => void) => Promise<T>) => Promise<T>
}

interface Sending {
  readonly acks: number
  readonly timeout: number
  readonly compression: unknown
  readonly topicMessages: readonly { readonly topic: string; readonly messages: readonly Message[] }[]
}

type Answer = { readonly topicName: string; readonly partition: number }

export function createSendMessages({ cluster, eosManager, retrier }: SendingParts) {
  return async ({ acks, timeout, compression, topicMessages }: Sending): Promise<Answer[]> => {
    const answers: Answer[] = []
    const waiting = byPartition(topicMessages)
    const topics = [...new Set(topicMessages.map(({ topic }) => topic))]

    const send = async (broker: Broker, data: readonly TopicData[]): Promise<void> => {
      await eosManager.acquireBrokerLock(broker)
      try {
        if (eosManager.isTransactional()) await eosManager.addPartitionsToTransaction(data)
        for (const { topic, partitions } of data) {
          for (const entry of partitions) {
            entry.firstSequence = eosManager.getSequence(topic, entry.partition)
            eosManager.updateSequence(topic, entry.partition, entry.messages.length)
          }
        }
        try {
          const transactionalId = eosManager.isTransactional() ? eosManager.getTransactionalId() : undefined
          const response = await broker.produce({
            transactionalId,
            producerId: eosManager.getProducerId(),
            producerEpoch: eosManager.getProducerEpoch(),
            acks,
            timeout,
            compression,
            topicData: data,
          })
          for (const { topicName, partitions } of response.topics)
            for (const answer of partitions) answers.push({ topicName, ...answer })
          for (const { topic, partitions } of data)
            for (const { partition } of partitions) waiting.get(topic)!.delete(partition)
        } catch (error) {
          for (const { topic, partitions } of data)
            for (const entry of partitions)
              eosManager.updateSequence(topic, entry.partition, -entry.messages.length)
          throw error
        }
      } finally {
        await eosManager.releaseBrokerLock(broker)
      }
    }

    const sendAll = async (): Promise<void> => {
      await cluster.refreshMetadataIfNecessary()
      const byBroker = new Map<string, TopicData[]>()
      for (const [topic, entries] of waiting) {
        for (const [nodeId, partitions] of Object.entries(
          cluster.findLeaderForPartitions(topic, [...entries.keys()]),
        )) {
          const data = {
            topic,
            partitions: partitions.map((partition) => ({ partition, messages: entries.get(partition)! })),
          }
          byBroker.set(nodeId, [...(byBroker.get(nodeId) ?? []), data])
        }
      }
      const led = [...byBroker.values()].flat().reduce((sum, { partitions }) => sum + partitions.length, 0)
      const outcomes = await Promise.allSettled(
        [...byBroker].map(async ([nodeId, data]) => send(await cluster.findBroker({ nodeId }), data)),
      )
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      if ([...waiting.values()].some((entries) => entries.size > 0))
        throw Object.assign(new Error(`${led} partitions have a leader, others have none`), {
          name: 'KafkaJSMetadataNotLoaded',
          retriable: true,
        })
    }

    return retrier(async (bail) => {
      await cluster.addMultipleTargetTopics(topics)
      try {
        await sendAll()
      } catch (error) {
        const known = facts(error)
        if (known.name === 'KafkaJSConnectionClosedError')
          cluster.removeBroker({ host: known.host, port: known.port })
        if (!cluster.isConnected()) await cluster.connect()
        if (!known.retriable && !STALE.has(known.name) && !STALE.has(known.type)) bail(error)
        else await cluster.refreshMetadata()
        throw error
      }
      return answers
    })
  }
}

/** Errors after which the leaders are looked up again. */
const STALE = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_FOR_PARTITION',
  'KafkaJSMetadataNotLoaded',
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
])

function facts(error: unknown): {
  readonly name: string
  readonly type: string
  readonly retriable: boolean
  readonly host: unknown
  readonly port: unknown
} {
  const { name, type, retriable, host, port } = (error ?? {}) as Readonly<Record<string, unknown>>
  return { name: String(name ?? ''), type: String(type ?? ''), retriable: retriable === true, host, port }
}

/** In the order of the messages. */
function byPartition(topicMessages: Sending['topicMessages']): Map<string, Map<number, Message[]>> {
  const topics = new Map<string, Map<number, Message[]>>()
  for (const { topic, messages } of topicMessages) {
    let partitions = topics.get(topic)
    if (partitions === undefined) topics.set(topic, (partitions = new Map<number, Message[]>()))
    for (const message of messages) {
      if (message.partition === undefined) throw new TypeError('a message without its partition')
      const held = partitions.get(message.partition)
      if (held === undefined) partitions.set(message.partition, [message])
      else held.push(message)
    }
  }
  return topics
}

const require = createRequire(import.meta.url)
const path = require.resolve('kafkajs/src/producer/sendMessages.js')
require(path)
const loaded = require.cache[path]
if (loaded !== undefined) loaded.exports = createSendMessages

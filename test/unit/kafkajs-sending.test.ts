/** Sending to several brokers when one of them answers late and another with an error: nothing is sent twice. */
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import {
  createSendMessages,
  type SendingParts,
} from '../../services/adapters/kafka/client/kafkajs-sending.ts'

interface Sent {
  readonly broker: string
  readonly partition: number
  readonly firstSequence: number
  readonly values: readonly string[]
}

/** Two brokers, three partitions; `fails` says what a broker answers to its n-th request. */
function cluster(fails: (broker: string, request: number) => Promise<string | undefined>) {
  const leaders = new Map([
    [0, 'a'],
    [1, 'b'],
    [2, 'b'],
  ])
  const sequences = new Map<number, number>()
  const sent: Sent[] = []
  const requests = new Map<string, number>()
  const broker = (nodeId: string) => ({
    nodeId,
    async produce(request: object) {
      const { topicData } = request as {
        topicData: {
          topic: string
          partitions: { partition: number; firstSequence: number; messages: { value: string }[] }[]
        }[]
      }
      const count = (requests.get(nodeId) ?? 0) + 1
      requests.set(nodeId, count)
      for (const { partitions } of topicData)
        for (const p of partitions)
          sent.push({
            broker: nodeId,
            partition: p.partition,
            firstSequence: p.firstSequence,
            values: p.messages.map((m) => m.value),
          })
      const type = await fails(nodeId, count)
      if (type !== undefined)
        throw Object.assign(new Error(type), { name: 'KafkaJSProtocolError', type, retriable: true })
      return {
        topics: topicData.map(({ topic, partitions }) => ({
          topicName: topic,
          partitions: partitions.map(({ partition }) => ({ partition, baseOffset: '0' })),
        })),
      }
    },
  })
  const brokers = new Map(['a', 'b', 'c'].map((id) => [id, broker(id)]))
  const nothing = (): Promise<void> => Promise.resolve()
  const parts = {
    cluster: {
      addMultipleTargetTopics: nothing,
      refreshMetadataIfNecessary: nothing,
      refreshMetadata: nothing,
      connect: nothing,
      isConnected: () => true,
      removeBroker: () => undefined,
      findBroker: ({ nodeId }: { nodeId: string }) => Promise.resolve(brokers.get(nodeId)),
      findLeaderForPartitions: (_: string, partitions: readonly number[]) => {
        const found: Record<string, number[]> = {}
        for (const partition of partitions) (found[leaders.get(partition)!] ??= []).push(partition)
        return found
      },
    },
    eosManager: {
      isTransactional: () => false,
      getTransactionalId: () => '',
      getProducerId: () => '1',
      getProducerEpoch: () => 0,
      addPartitionsToTransaction: nothing,
      getSequence: (_: string, partition: number) => sequences.get(partition) ?? 0,
      updateSequence: (_: string, partition: number, by: number) =>
        void sequences.set(partition, (sequences.get(partition) ?? 0) + by),
      acquireBrokerLock: nothing,
      releaseBrokerLock: nothing,
    },
    retrier: async <T>(action: (bail: (error: unknown) => void) => Promise<T>): Promise<T> => {
      for (let left = 5; ; left--) {
        let final = false
        try {
          return await action(() => (final = true))
        } catch (error) {
          if (final || left === 0) throw error
        }
      }
    },
  } as unknown as SendingParts
  return { parts, sent, leaders }
}

const messages = [0, 1, 2, 0, 1, 2].map((partition, i) => ({ partition, value: `m${i}` }))
const request = { acks: -1, timeout: 1000, compression: undefined, topicMessages: [{ topic: 't', messages }] }
const slow = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30))

test('one broker fails while the other is still at work: only what failed is sent again, under the same sequence numbers', async () => {
  const { parts, sent } = cluster(async (broker, count) => {
    if (broker === 'a') await slow()
    return broker === 'b' && count === 1 ? 'NOT_LEADER_FOR_PARTITION' : undefined
  })
  const answers = await createSendMessages(parts)(request)
  expect(answers.map((answer) => answer.partition).sort()).toEqual([0, 1, 2])
  expect(sent).toEqual([
    { broker: 'a', partition: 0, firstSequence: 0, values: ['m0', 'm3'] },
    { broker: 'b', partition: 1, firstSequence: 0, values: ['m1', 'm4'] },
    { broker: 'b', partition: 2, firstSequence: 0, values: ['m2', 'm5'] },
    { broker: 'b', partition: 1, firstSequence: 0, values: ['m1', 'm4'] },
    { broker: 'b', partition: 2, firstSequence: 0, values: ['m2', 'm5'] },
  ])
})

test('a partition that has answered is not sent again when its leader moves', async () => {
  const { parts, sent, leaders } = cluster((broker, count) => {
    if (broker !== 'b' || count !== 1) return Promise.resolve(undefined)
    for (const partition of leaders.keys()) leaders.set(partition, 'c')
    return Promise.resolve('LEADER_NOT_AVAILABLE')
  })
  await createSendMessages(parts)(request)
  expect(sent.map(({ broker, partition }) => `${broker}${partition}`)).toEqual(['a0', 'b1', 'b2', 'c1', 'c2'])
})

test('what no second try mends is thrown at once', async () => {
  const { parts, sent } = cluster((broker) => Promise.resolve(broker === 'b' ? 'X' : undefined))
  const produce = parts.cluster.findBroker
  parts.cluster.findBroker = async (node) => {
    const broker = await produce(node)
    return {
      ...broker,
      produce: (r: object) =>
        broker
          .produce(r)
          .catch((error: unknown) => Promise.reject(Object.assign(error as Error, { retriable: false }))),
    }
  }
  await expect(createSendMessages(parts)(request)).rejects.toThrow('X')
  expect(sent.length).toBe(3)
})

test('takes the place of what kafkajs has', () => {
  expect(createRequire(import.meta.url)('kafkajs/src/producer/sendMessages.js')).toBe(createSendMessages)
})

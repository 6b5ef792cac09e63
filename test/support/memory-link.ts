/** The client of one process, on a broker in memory: the few calls that the change log makes. It can be stopped, and cut for good. */
import type { Kafka, ProducerRecord, TopicMessages } from 'kafkajs'
import type Cluster from 'kafkajs/src/cluster/index.js'
import type { FetchedPartition } from 'kafkajs/src/cluster/index.js'
import type { KafkaClients } from '../../services/adapters/kafka/client/connection.ts'
import type { CutBoard } from '../../services/core/ports/cut-board.ts'
import { away, type MemoryKafka, protocol, type Way } from './memory-kafka.ts'

export class Link implements KafkaClients, Way {
  readonly #broker: MemoryKafka
  readonly board: () => CutBoard
  #isCut = false
  #stopped: Promise<void> | undefined
  #goOn: (() => void) | undefined

  constructor(broker: MemoryKafka, board: () => CutBoard) {
    this.#broker = broker
    this.board = board
  }

  /** As SIGSTOP: what is under way stays where it is. */
  stop(): void {
    if (this.#stopped !== undefined) return
    this.#stopped = new Promise((resolve) => (this.#goOn = resolve))
  }

  goOn(): void {
    this.#goOn?.()
    this.#stopped = undefined
  }

  /** As kill -9: nothing of the process reaches the broker any more. */
  cut(): void {
    this.#isCut = true
    this.goOn()
  }

  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#stopped !== undefined) await this.#stopped
    if (this.#isCut) throw away()
  }

  kafka(): Kafka {
    const admin = () => this.#admin()
    const producer = ({ transactionalId }: { readonly transactionalId: string }) =>
      this.#producer(transactionalId)
    return { admin, producer } as unknown as Kafka
  }

  cluster(): Cluster {
    const fetchOne = (topic: string, partition: number, from: bigint): Promise<FetchedPartition> =>
      this.#broker.request(this, false, () => this.#broker.fetch(topic, partition, from))
    return {
      connect: () => this.#broker.request(this, false, () => undefined),
      disconnect: () => Promise.resolve(),
      addMultipleTargetTopics: () => Promise.resolve(),
      refreshMetadata: () => Promise.resolve(),
      findLeaderForPartitions: (_, partitions) => ({ '1': partitions }),
      findBroker: () =>
        Promise.resolve({
          fetch: async ({ topics, maxWaitTime }) => {
            const responses = []
            let found = 0
            for (const { topic, partitions } of topics) {
              const answers = []
              for (const { partition, fetchOffset } of partitions)
                answers.push(await fetchOne(topic, partition, BigInt(fetchOffset)))
              found += answers.reduce((sum, { messages }) => sum + messages.length, 0)
              responses.push({ topicName: topic, partitions: answers })
            }
            // Whoever waits for more asks again soon; with real time a broker would hold the answer.
            if (found === 0 && maxWaitTime > 1) await new Promise((resolve) => setTimeout(resolve, 1))
            return { responses }
          },
        }),
    }
  }

  #admin() {
    const broker = this.#broker
    const ask = <T>(act: () => T): Promise<T> => broker.request(this, false, act)
    const known = (topic: string): number => {
      const count = broker.partitions(topic)
      if (count === 0) throw protocol('UNKNOWN_TOPIC_OR_PARTITION')
      return count
    }
    return {
      connect: () => ask(() => undefined),
      disconnect: () => Promise.resolve(),
      listTopics: () => ask(() => [...broker.topics()]),
      describeCluster: () =>
        ask(() => ({
          clusterId: broker.clusterId,
          controller: 1,
          brokers: [{ nodeId: 1, host: 'memory', port: 1 }],
        })),
      describeConfigs: ({ resources }: { readonly resources: readonly { readonly name: string }[] }) =>
        ask(() => ({ resources: resources.map(({ name }) => ({ resourceName: name, configEntries: [] })) })),
      createTopics: ({
        topics,
      }: {
        readonly topics: readonly { readonly topic: string; readonly numPartitions: number }[]
      }) =>
        ask(() => topics.map((one) => broker.create(one.topic, one.numPartitions)).some((isNew) => isNew)),
      fetchTopicMetadata: ({ topics }: { readonly topics: readonly string[] }) =>
        ask(() => ({
          topics: topics.map((name) => ({
            name,
            partitions: Array.from({ length: known(name) }, (_, partitionId) => ({ partitionId, leader: 1 })),
          })),
        })),
      fetchTopicOffsets: (topic: string) =>
        ask(() =>
          Array.from({ length: known(topic) }, (_, partition) => {
            const { low, high } = broker.ends(topic, partition)
            return { partition, offset: String(high), low: String(low), high: String(high) }
          }),
        ),
    }
  }

  #producer(name: string) {
    const broker = this.#broker
    const write = <T>(act: () => T): Promise<T> => broker.request(this, true, act)
    let mine: { readonly id: number; readonly epoch: number } | undefined
    const put = (topicMessages: readonly TopicMessages[]) =>
      write(() =>
        topicMessages.flatMap(({ topic, messages }) => {
          const partitions = [...new Set(messages.map(({ partition }) => partition ?? 0))]
          return partitions.map((partition) => {
            const of = messages.filter((message) => (message.partition ?? 0) === partition)
            const base = broker.append(name, mine!, topic, partition, of)
            return { topicName: topic, partition, errorCode: 0, baseOffset: String(base) }
          })
        }),
      )
    return {
      connect: () => broker.request(this, false, () => undefined),
      disconnect: () => {
        if (mine !== undefined) broker.leave(name, mine)
        return Promise.resolve()
      },
      transaction: async () => {
        mine ??= await write(() => broker.fenceOthers(name))
        return {
          sendBatch: ({ topicMessages }: { readonly topicMessages: readonly TopicMessages[] }) =>
            put(topicMessages),
          send: (record: ProducerRecord) => put([record]),
          commit: () => write(() => broker.end(name, mine!, 'commit')),
          abort: () => write(() => broker.end(name, mine!, 'abort')),
        }
      },
    }
  }
}

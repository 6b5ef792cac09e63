/** The client of one process, on a broker in memory: the few calls that the change log makes. It can be stopped, and cut for good. */
import type {
  KafkaAdmin,
  KafkaClient,
  KafkaFetcher,
  KafkaWriter,
  TopicMessages,
} from '../../services/adapters/kafka/client/client.ts'
import type { KafkaClients } from '../../services/adapters/kafka/client/settings.ts'
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

  client(): KafkaClient {
    const none = (): never => {
      throw new TypeError('boards and groups are others here')
    }
    return {
      admin: () => this.#admin(),
      fetcher: () => this.#fetcher(),
      writer: ({ transactionalId }) => this.#writer(transactionalId),
      poster: none,
      join: none,
    }
  }

  #fetcher(): KafkaFetcher {
    const broker = this.#broker
    return {
      connect: () => broker.request(this, false, () => undefined),
      disconnect: () => Promise.resolve(),
      leader: () => '1',
      lookUp: () => Promise.resolve(),
      fetch: async (_, { topics, waitMs }) => {
        const responses = []
        let found = 0
        for (const { topic, partitions } of topics) {
          const answers = []
          for (const { partition, offset } of partitions)
            answers.push(await broker.request(this, false, () => broker.fetch(topic, partition, offset)))
          found += answers.reduce((sum, { messages }) => sum + messages.length, 0)
          responses.push({ topicName: topic, partitions: answers })
        }
        // Whoever waits for more asks again soon; with real time a broker would hold the answer.
        if (found === 0 && waitMs > 1) await new Promise((resolve) => setTimeout(resolve, 1))
        return responses
      },
    }
  }

  #admin(): KafkaAdmin {
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
      topics: () => ask(() => [...broker.topics()]),
      cluster: () => ask(() => ({ id: broker.clusterId, brokers: [1] })),
      brokerSettings: () => ask(() => new Map()),
      topicSettings: () => ask(() => []),
      make: ({ topic, partitions }) => ask(() => broker.create(topic, partitions)),
      leaders: (topics) =>
        ask(() => topics.map((topic) => ({ topic, leaders: Array.from({ length: known(topic) }, () => 1) }))),
      ends: (topic) =>
        ask(() =>
          Array.from({ length: known(topic) }, (_, partition) => ({
            partition,
            ...broker.ends(topic, partition),
          })),
        ),
    }
  }

  #writer(name: string): KafkaWriter {
    const broker = this.#broker
    const write = <T>(act: () => T): Promise<T> => broker.request(this, true, act)
    let mine: { readonly id: number; readonly epoch: number } | undefined
    const put = (topics: readonly TopicMessages[]) =>
      write(() =>
        topics.flatMap(({ topic, messages }) => {
          const partitions = [...new Set(messages.map(({ partition }) => partition))]
          return partitions.map((partition) => {
            const of = messages.filter((message) => message.partition === partition)
            const base = broker.append(name, mine!, topic, partition, of)
            return { topicName: topic, partition, baseOffset: String(base) }
          })
        }),
      )
    return {
      connect: () => broker.request(this, false, () => undefined),
      disconnect: () => {
        if (mine !== undefined) broker.leave(name, mine)
        return Promise.resolve()
      },
      begin: async () => {
        mine ??= await write(() => broker.fenceOthers(name))
        return {
          send: put,
          commit: () => write(() => broker.end(name, mine!, 'commit')),
          abort: () => write(() => broker.end(name, mine!, 'abort')),
        }
      },
    }
  }
}

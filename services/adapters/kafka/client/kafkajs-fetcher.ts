/**
 * Fetches through kafkajs' cluster: its consumer cannot be given partitions and offsets by hand, and commits `latest` when an offset is
 * out of range.
 */
import { TidemarkError } from '../../../core/errors.ts'
import type { KafkaFetcher } from './client.ts'
import { Cluster } from './kafkajs.ts'

/** kafkajs' cluster connects again whenever it is asked for a broker: also by a fetch that ends with the disconnect. */
export class ClosableCluster extends Cluster {
  #isClosed = false

  override async disconnect(): Promise<void> {
    this.#isClosed = true
    await super.disconnect()
  }

  override findBroker(node: { readonly nodeId: string }): ReturnType<Cluster['findBroker']> {
    return this.#whileOpen(() => super.findBroker(node))
  }

  override refreshMetadata(): Promise<void> {
    return this.#whileOpen(() => super.refreshMetadata())
  }

  async #whileOpen<T>(action: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new TidemarkError('LOG_UNREACHABLE', 'the connection was closed')
    try {
      return await action()
    } finally {
      if (this.#isClosed) await super.disconnect()
    }
  }
}

export function fetcherOf(cluster: ClosableCluster): KafkaFetcher {
  return {
    connect: () => cluster.connect(),
    disconnect: () => cluster.disconnect(),
    leader(topic, partition) {
      try {
        return Object.keys(cluster.findLeaderForPartitions(topic, [partition]))[0]
      } catch {
        // Its metadata does not have the topic.
        return undefined
      }
    },
    async lookUp(topic) {
      if (topic !== undefined) await cluster.addMultipleTargetTopics([topic])
      await cluster.refreshMetadata()
    },
    async fetch(nodeId, { waitMs, bytes, topics }) {
      const broker = await cluster.findBroker({ nodeId })
      const { responses } = await broker.fetch({
        // What no transaction holds back.
        isolationLevel: 1,
        maxWaitTime: waitMs,
        minBytes: 1,
        maxBytes: bytes,
        topics: topics.map(({ topic, partitions }) => ({
          topic,
          partitions: partitions.map((wanted) => ({
            partition: wanted.partition,
            currentLeaderEpoch: -1,
            fetchOffset: String(wanted.offset),
            maxBytes: wanted.bytes,
          })),
        })),
      })
      return responses
    },
  }
}

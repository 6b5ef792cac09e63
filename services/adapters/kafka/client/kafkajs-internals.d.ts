/** What the fetch loop takes from inside kafkajs 2.2.4 (pinned; its consumer cannot be given partitions and offsets by hand). */
declare module 'kafkajs/src/cluster/index.js' {
  interface Broker {
    fetch(request: {
      readonly replicaId?: number
      readonly isolationLevel: 0 | 1
      readonly maxWaitTime: number
      readonly minBytes: number
      readonly maxBytes: number
      readonly topics: readonly {
        readonly topic: string
        readonly partitions: readonly {
          readonly partition: number
          readonly currentLeaderEpoch: number
          readonly fetchOffset: string
          readonly maxBytes: number
        }[]
      }[]
    }): Promise<{
      readonly responses: readonly {
        readonly topicName: string
        readonly partitions: readonly import('./client.ts').FetchedPartition[]
      }[]
    }>
  }
  class Cluster {
    constructor(options: Readonly<Record<string, unknown>>)
    connect(): Promise<void>
    disconnect(): Promise<void>
    addMultipleTargetTopics(topics: readonly string[]): Promise<void>
    refreshMetadata(): Promise<void>
    findLeaderForPartitions(
      topic: string,
      partitions: readonly number[],
    ): Readonly<Record<string, readonly number[]>>
    findBroker(node: { readonly nodeId: string }): Promise<Broker>
  }
  export default Cluster
}
declare module 'kafkajs/src/loggers/index.js' {
  const loggers: {
    createLogger(options: {
      readonly level: number
      readonly logCreator: (level: number) => (entry: unknown) => void
    }): unknown
  }
  export default loggers
}
declare module 'kafkajs/src/network/socketFactory.js' {
  const create: () => unknown
  export default create
}

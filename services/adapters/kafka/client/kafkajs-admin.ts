/** Questions to a cluster, and topics made, by kafkajs' admin client. */
import type { Admin } from 'kafkajs'
import type { KafkaAdmin } from './client.ts'

/** Kafka protocol, DescribeConfigs, resource_type: kafkajs exports them as an object of its CommonJS module. */
const RESOURCE = { topic: 2, broker: 4 } as const
/** The same, config_source: the topic's own. */
const TOPICS_OWN = 1

export function adminOf(admin: Admin): KafkaAdmin {
  return {
    connect: () => admin.connect(),
    disconnect: () => admin.disconnect(),
    topics: () => admin.listTopics(),
    async cluster() {
      const { clusterId, brokers } = await admin.describeCluster()
      return { id: clusterId, brokers: brokers.map(({ nodeId }) => nodeId) }
    },
    async ends(topic) {
      const found = await admin.fetchTopicOffsets(topic)
      return found.map(({ partition, low, high }) => ({ partition, low: BigInt(low), high: BigInt(high) }))
    },
    async leaders(topics) {
      const found = await admin.fetchTopicMetadata({ topics: [...topics] })
      return found.topics.map(({ name, partitions }) => ({
        topic: name,
        leaders: partitions.map(({ leader }) => leader),
      }))
    },
    make: ({ topic, partitions, replicationFactor, settings }) =>
      admin.createTopics({
        // It fails on a fresh cluster: the leaders are asked for by the caller.
        waitForLeaders: false,
        topics: [
          {
            topic,
            numPartitions: partitions,
            replicationFactor,
            configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
          },
        ],
      }),
    async brokerSettings(broker) {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: RESOURCE.broker, name: String(broker) }],
      })
      return new Map(
        resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]),
      )
    },
    async topicSettings(topics, names) {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: topics.map((name) => ({ type: RESOURCE.topic, name, configNames: [...names] })),
      })
      return resources.flatMap(({ resourceName, configEntries }) =>
        configEntries.map(({ configName, configValue, configSource }) => ({
          topic: resourceName,
          name: configName,
          value: configValue,
          isOwn: Number(configSource) === TOPICS_OWN,
        })),
      )
    },
  }
}

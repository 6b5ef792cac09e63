/** Numbers of the protocol that kafkajs exports as an object of its CommonJS module. */

/** Kafka protocol, DescribeConfigs, resource_type. */
export const ConfigResourceTypes = { TOPIC: 2, BROKER: 4 } as const

/** The same, config_source: the topic's own. */
export const ConfigSources = { TOPIC: 1 } as const

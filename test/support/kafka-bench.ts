/** Kafka and a registry: started here, or shared by the run; where there is no Java the reason is said. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import type { SharedKafka } from './kafka-desk.ts'
import { Kafka, type KafkaOptions } from './parts/kafka.ts'
import { whyNoJava } from './parts/maven.ts'
import { Registry } from './parts/registry.ts'

export interface KafkaBench extends AsyncDisposable {
  readonly kafka: Kafka
  readonly registry: Registry
}

/** Settings of the change log on these servers. */
export function kafkaSettings(
  bench: SharedKafka,
  prefix: string,
  over: Partial<KafkaConfig> = {},
): KafkaConfig {
  return {
    brokers: bench.kafka.bootstrap,
    prefix,
    partitions: 3,
    replicationFactor: 1,
    acknowledge: 'segment',
    tombstones: false,
    partitionBy: new Map(),
    registry: { url: bench.registry.url, user: undefined, password: undefined },
    tls: undefined,
    sasl: undefined,
    ...over,
  }
}

/** The same as a section of tidemark.yaml. */
export function kafkaSection(config: KafkaConfig): Record<string, unknown> {
  const { registry, tls: _, sasl: __, partitionBy: ___, ...rest } = config
  return { ...rest, registry: { url: registry.url } }
}

export const NO_KAFKA = whyNoJava()
if (NO_KAFKA !== undefined)
  console.log(`Kafka is not tested here: ${NO_KAFKA} (Java 17 and Maven are needed)`)

export async function startKafka(options: Omit<KafkaOptions, 'folder'> = {}): Promise<KafkaBench> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-kafka-'))
  const [kafka, registry] = await Promise.all([
    Kafka.create({ folder: join(folder, 'kafka'), ...options }),
    Registry.create(join(folder, 'registry')),
  ])
  const bench: KafkaBench = {
    kafka,
    registry,
    async [Symbol.asyncDispose]() {
      await Promise.all([kafka.destroy(), registry.process.kill()])
      await rm(folder, { recursive: true, force: true })
    },
  }
  try {
    await Promise.all([kafka.start(), registry.start()])
    return bench
  } catch (error) {
    await bench[Symbol.asyncDispose]()
    throw error
  }
}

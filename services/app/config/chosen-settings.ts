/** The settings that `init` writes. */
import { stringify } from 'yaml'
import { TidemarkError } from '../../core/errors.ts'
import { kafkaConfig, type KafkaConfig, kafkaSettings } from './config.ts'

/** Of a Kafka; the rest has its defaults. */
export interface KafkaChoice {
  readonly brokers: readonly string[]
  readonly registry: string
  readonly prefix: string
  readonly partitions: number
  readonly replicationFactor: number
}

export function configText(settings: {
  sourceUrl: string
  slot: string
  publication: string
  storeUrl: string
  keys: string
  anchors?: readonly string[] | undefined
  kafka?: KafkaChoice | undefined
}): string {
  const { kafka } = settings
  const body = stringify({
    version: 1,
    source: { url: settings.sourceUrl, slot: settings.slot, publication: settings.publication },
    store: { url: settings.storeUrl },
    keys: settings.keys,
    ...(settings.anchors === undefined || settings.anchors.length === 0 ? {} : { anchors: settings.anchors }),
    roll: { age: '5s', size: '32MiB' },
    http: { host: '127.0.0.1', port: 8471 },
    log: kafka === undefined ? 'direct' : 'kafka',
    ...(kafka === undefined ? {} : { kafka: chosenSection(kafka) }),
    logging: { level: 'info' },
  })
  return `# Tidemark. Every setting with unit, default and limit: schemas/config.schema.json\n${body}`
}

function chosenSection(kafka: KafkaChoice): object {
  return { ...kafka, registry: { url: kafka.registry } }
}

/** The settings that `init` will write, as they will be read. @throws TidemarkError USAGE */
export function chosenLog(kafka: KafkaChoice): KafkaConfig {
  const parsed = kafkaSettings.safeParse(chosenSection(kafka))
  if (!parsed.success) throw new TidemarkError('USAGE', '--kafka HOST:PORT,… and --registry URL')
  return kafkaConfig(parsed.data, {}, '.')
}

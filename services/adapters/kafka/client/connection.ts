/** The client of this adapter (`client.ts`) by kafkajs. */
import type { Kafka as KafkaJs, SASLOptions } from 'kafkajs'
import { bearerTokens } from './bearer-token.ts'
import type { GroupMember, GroupRequest, KafkaClient, KafkaPoster, KafkaWriter } from './client.ts'
import { adminOf } from './kafkajs-admin.ts'
import { ClosableCluster, fetcherOf } from './kafkajs-fetcher.ts'
import { joinGroup } from './kafkajs-group.ts'
import { CompressionTypes, createSocketFactory, Kafka, loggers, logLevel } from './kafkajs.ts'
import type { KafkaSettings } from './settings.ts'

/** Small: every Kafka transaction meets CONCURRENT_TRANSACTIONS once and waits this long. */
const RETRY = { initialRetryTime: 5, maxRetryTime: 2_000, retries: 8 }
const CONNECT_MS = 10_000
const REQUEST_MS = 30_000
/** One send under way, whose sequence numbers brokers know again; topics are made by us alone. */
const CAREFUL = { idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false }

export function openClient(settings: KafkaSettings): KafkaClient {
  if (settings.clients !== undefined) return settings.clients.client()
  const kafka = openKafka(settings)
  return {
    admin: () => adminOf(kafka.admin()),
    fetcher: () => fetcherOf(openCluster(settings)),
    writer: (name) => writerOf(kafka, name),
    poster: () => posterOf(kafka),
    join: (group: GroupRequest): Promise<GroupMember> => joinGroup(kafka, RETRY, group),
  }
}

function ssl(settings: KafkaSettings): true | { ca: string[] } | undefined {
  if (settings.tls === undefined) return undefined
  return settings.tls.ca === undefined ? true : { ca: [settings.tls.ca] }
}

/** An object of its own each time: kafkajs keeps what it has logged in with inside of it. */
function login({ sasl, clock }: KafkaSettings): SASLOptions | undefined {
  if (sasl === undefined) return undefined
  return sasl.mechanism === 'oauthbearer'
    ? { mechanism: 'oauthbearer', oauthBearerProvider: bearerTokens(sasl, clock) }
    : { ...sasl }
}

/** kafkajs logs ordinary retries as errors: what matters reaches us as an exception. */
const silent = (): (() => void) => () => undefined

function openKafka(settings: KafkaSettings): KafkaJs {
  const secured = ssl(settings)
  const sasl = login(settings)
  return new Kafka({
    clientId: settings.clientId,
    brokers: [...settings.brokers],
    ...(secured === undefined ? {} : { ssl: secured }),
    ...(sasl === undefined ? {} : { sasl }),
    connectionTimeout: CONNECT_MS,
    requestTimeout: REQUEST_MS,
    retry: RETRY,
    logLevel: logLevel.NOTHING,
    logCreator: silent,
  })
}

function openCluster(settings: KafkaSettings): ClosableCluster {
  return new ClosableCluster({
    logger: loggers.createLogger({ level: 0, logCreator: silent }),
    socketFactory: createSocketFactory(),
    brokers: [...settings.brokers],
    ssl: ssl(settings),
    sasl: login(settings),
    clientId: settings.clientId,
    connectionTimeout: CONNECT_MS,
    authenticationTimeout: CONNECT_MS,
    reauthenticationThreshold: 10_000,
    requestTimeout: REQUEST_MS,
    enforceRequestTimeout: true,
    metadataMaxAge: 60_000,
    retry: RETRY,
    allowAutoTopicCreation: false,
    maxInFlightRequests: null,
    isolationLevel: 1,
  })
}

function writerOf(
  kafka: KafkaJs,
  { transactionalId, timeoutMs }: { readonly transactionalId: string; readonly timeoutMs?: number },
): KafkaWriter {
  const producer = kafka.producer({
    ...CAREFUL,
    transactionalId,
    ...(timeoutMs === undefined ? {} : { transactionTimeout: timeoutMs }),
  })
  return {
    connect: () => producer.connect(),
    disconnect: () => producer.disconnect(),
    async begin() {
      const transaction = await producer.transaction()
      return {
        send: (topicMessages, compression) =>
          transaction.sendBatch({
            topicMessages,
            acks: -1,
            ...(compression === undefined ? {} : { compression: CompressionTypes.GZIP }),
          }),
        commit: () => transaction.commit(),
        abort: () => transaction.abort(),
      }
    },
  }
}

function posterOf(kafka: KafkaJs): KafkaPoster {
  const producer = kafka.producer(CAREFUL)
  return {
    connect: () => producer.connect(),
    disconnect: () => producer.disconnect(),
    send: (topicMessages) => producer.sendBatch({ topicMessages, acks: -1 }),
  }
}

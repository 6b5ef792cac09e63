/** The settings of a cluster, as kafkajs takes them; and its errors, as ours. */
import './kafkajs-grouping.ts'
import kafkajs, { type Kafka, type SASLOptions } from 'kafkajs'
import Cluster from 'kafkajs/src/cluster/index.js'
import loggers from 'kafkajs/src/loggers/index.js'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'
import { asTidemarkError, TidemarkError } from '../../core/errors.ts'

export interface KafkaSettings {
  readonly brokers: readonly string[]
  readonly clientId: string
  /** TLS; with an own certificate authority where it is given. */
  readonly tls: { readonly ca: string | undefined } | undefined
  readonly sasl: SASLOptions | undefined
}

/** Small: every Kafka transaction meets CONCURRENT_TRANSACTIONS once and waits this long. */
const RETRY = { initialRetryTime: 5, maxRetryTime: 2_000, retries: 8 }
const CONNECT_MS = 10_000
const REQUEST_MS = 30_000

function ssl(settings: KafkaSettings): true | { ca: string[] } | undefined {
  if (settings.tls === undefined) return undefined
  return settings.tls.ca === undefined ? true : { ca: [settings.tls.ca] }
}

/** kafkajs logs ordinary retries as errors: what matters reaches us as an exception. */
const silent = (): (() => void) => () => undefined

export function openKafka(settings: KafkaSettings): Kafka {
  const secured = ssl(settings)
  return new kafkajs.Kafka({
    clientId: settings.clientId,
    brokers: [...settings.brokers],
    ...(secured === undefined ? {} : { ssl: secured }),
    ...(settings.sasl === undefined ? {} : { sasl: settings.sasl }),
    connectionTimeout: CONNECT_MS,
    requestTimeout: REQUEST_MS,
    retry: RETRY,
    logLevel: kafkajs.logLevel.NOTHING,
    logCreator: silent,
  })
}

/** How the ledger names a log: another cluster, or another prefix, is another log. */
export function logName(clusterId: string, prefix: string): string {
  return `kafka:${clusterId}:${prefix}`
}

/** For fetching by hand. */
export function openCluster(settings: KafkaSettings): Cluster {
  return new Cluster({
    logger: loggers.createLogger({ level: 0, logCreator: silent }),
    socketFactory: createSocketFactory(),
    brokers: [...settings.brokers],
    ssl: ssl(settings),
    sasl: settings.sasl,
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

/** Protocol errors that no second try mends, by kafkajs' name for them. */
const FATAL: Readonly<Record<string, 'LOG_FENCED' | 'LOG_REFUSED' | 'LOG_HOLE'>> = {
  INVALID_PRODUCER_EPOCH: 'LOG_FENCED',
  PRODUCER_FENCED: 'LOG_FENCED',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'LOG_REFUSED',
  TOPIC_AUTHORIZATION_FAILED: 'LOG_REFUSED',
  GROUP_AUTHORIZATION_FAILED: 'LOG_REFUSED',
  CLUSTER_AUTHORIZATION_FAILED: 'LOG_REFUSED',
  SASL_AUTHENTICATION_FAILED: 'LOG_REFUSED',
  MESSAGE_TOO_LARGE: 'LOG_REFUSED',
  OFFSET_OUT_OF_RANGE: 'LOG_HOLE',
}

export function kafkaError(error: unknown, what: string): TidemarkError {
  if (error instanceof TidemarkError) return error
  const type = typeOf(error)
  const fatal = FATAL[type]
  if (fatal !== undefined) return new TidemarkError(fatal, `${what}: Kafka answers ${type}`, { cause: error })
  // A mistake of ours is no outage: tried again, it would be tried for ever.
  if (!(error instanceof kafkajs.KafkaJSError) && !isNetworkError(error)) return asTidemarkError(error)
  if (error instanceof kafkajs.KafkaJSError) return new TidemarkError('LOG_UNREACHABLE', `${what}: ${error.name}${type === '' ? '' : ` (${type})`}`, { cause: error })
  return new TidemarkError('LOG_UNREACHABLE', `${what}: ${error instanceof Error ? error.name : 'unknown error'}`, { cause: error })
}

/** Errors of sockets and name look-ups, as Node codes them. */
function isNetworkError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(E[A-Z]+|ERR_(SOCKET|TLS|SSL)\w*)$/.test(error.code)
}

function typeOf(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('type' in at && typeof at.type === 'string') return at.type
    if (at.name === 'KafkaJSOffsetOutOfRange') return 'OFFSET_OUT_OF_RANGE'
    if (at.name === 'KafkaJSSASLAuthenticationError') return 'SASL_AUTHENTICATION_FAILED'
  }
  return ''
}

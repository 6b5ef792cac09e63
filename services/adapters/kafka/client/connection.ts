/** The settings of a cluster, as kafkajs takes them; and its errors, as ours. */
import './kafkajs-absent-topics.ts'
import './kafkajs-batches.ts'
import './kafkajs-checksums.ts'
import './kafkajs-codecs.ts'
import './kafkajs-connecting.ts'
import { refusedAccess } from './kafkajs-refusals.ts'
import './kafkajs-sending.ts'
import './kafkajs-throttling.ts'
import kafkajs, { type Kafka, type SASLOptions } from 'kafkajs'
import Cluster from 'kafkajs/src/cluster/index.js'
import loggers from 'kafkajs/src/loggers/index.js'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'
import type { Clock } from '../../../core/clock.ts'
import { asTidemarkError, TidemarkError } from '../../../core/errors.ts'
import { isMistake } from '../../../core/mistake.ts'
import type { CutBoard } from '../../../core/ports/cut-board.ts'
import { bearerTokens, type TokenSettings } from './bearer-token.ts'
import { streamMark } from '../records/unit.ts'

export interface KafkaSettings {
  readonly brokers: readonly string[]
  readonly clientId: string
  /** TLS; with an own certificate authority where it is given. */
  readonly tls: { readonly ca: string | undefined } | undefined
  readonly sasl: KafkaLogin | undefined
  readonly clock: Clock
  /** A broker in memory, as tests have it. */
  readonly clients?: KafkaClients | undefined
}

/** What speaks with the brokers: who has others than the network's gives them. */
export interface KafkaClients {
  kafka(): Kafka
  cluster(): Cluster
  board(): CutBoard
}

export type KafkaLogin =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | ({ readonly mechanism: 'oauthbearer' } & TokenSettings)

/** Small: every Kafka transaction meets CONCURRENT_TRANSACTIONS once and waits this long. */
export const RETRY = { initialRetryTime: 5, maxRetryTime: 2_000, retries: 8 }
const CONNECT_MS = 10_000
const REQUEST_MS = 30_000

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

export function openKafka(settings: KafkaSettings): Kafka {
  if (settings.clients !== undefined) return settings.clients.kafka()
  const secured = ssl(settings)
  const sasl = login(settings)
  return new kafkajs.Kafka({
    clientId: settings.clientId,
    brokers: [...settings.brokers],
    ...(secured === undefined ? {} : { ssl: secured }),
    ...(sasl === undefined ? {} : { sasl }),
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

/** The writer's name at the brokers: who opens it again fences the one before. Other backups have other names. */
export function transactionalId(prefix: string, stream: string): string {
  return `${olderTransactionalId(prefix)}.${streamMark(stream)}`
}

/** As versions named it whose units have no stream. */
export function olderTransactionalId(prefix: string): string {
  return `${prefix}.replicator`
}

/** kafkajs' cluster connects again whenever it is asked for a broker: also by a fetch that ends with the disconnect. */
class ClosableCluster extends Cluster {
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

/** For fetching by hand. */
export function openCluster(settings: KafkaSettings): Cluster {
  if (settings.clients !== undefined) return settings.clients.cluster()
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

/** Protocol errors that no second try mends, by kafkajs' name for them. */
const FATAL: Readonly<Record<string, 'LOG_FENCED' | 'LOG_REFUSED' | 'LOG_HOLE'>> = {
  INVALID_PRODUCER_EPOCH: 'LOG_FENCED',
  PRODUCER_FENCED: 'LOG_FENCED',
  SASL_AUTHENTICATION_FAILED: 'LOG_REFUSED',
  MESSAGE_TOO_LARGE: 'LOG_REFUSED',
  // A topic that is compacted takes no record without a key.
  INVALID_RECORD: 'LOG_REFUSED',
  POLICY_VIOLATION: 'LOG_REFUSED',
  UNSUPPORTED_COMPRESSION_TYPE: 'LOG_REFUSED',
  OFFSET_OUT_OF_RANGE: 'LOG_HOLE',
}

export function kafkaError(error: unknown, what: string): TidemarkError {
  if (error instanceof TidemarkError) return error
  const type = typeOf(error)
  const fatal = FATAL[type]
  if (type.endsWith('_AUTHORIZATION_FAILED')) return notAuthorized(error, type, what)
  if (fatal !== undefined)
    return new TidemarkError(fatal, `${what}: Kafka answers ${type}`, {
      cause: error,
      ...(fatal === 'LOG_REFUSED'
        ? { next: "tidemark doctor  (names the topic's or the login's setting)" }
        : {}),
    })
  const untrusted = causes(error).find(
    (cause) => 'code' in cause && typeof cause.code === 'string' && CERTIFICATE.test(cause.code),
  )
  if (untrusted !== undefined)
    return new TidemarkError(
      'LOG_REFUSED',
      `${what}: the brokers' certificate is not trusted (${String((untrusted as { code?: unknown }).code)})`,
      {
        cause: error,
        next: 'set kafka.tls.caFile to the certificate of the authority that signed it, and brokers to the names in it',
      },
    )
  // A mistake of ours is no outage: tried again, it would be tried for ever. The client wraps what its callers throw.
  const mistake = causes(error).find((cause) => isMistake(cause) && !isClientError(cause))
  if (mistake !== undefined) return asTidemarkError(mistake)
  if (!(error instanceof kafkajs.KafkaJSError) && !isNetworkError(error) && !isClientError(error))
    return asTidemarkError(error)
  if (error instanceof kafkajs.KafkaJSError)
    return new TidemarkError('LOG_UNREACHABLE', `${what}: ${error.name}${type === '' ? '' : ` (${type})`}`, {
      cause: error,
    })
  return new TidemarkError(
    'LOG_UNREACHABLE',
    `${what}: ${error instanceof Error ? error.name : 'unknown error'}`,
    { cause: error },
  )
}

/** What a login lacks: an operation on topics, or on what the caller was at. */
function notAuthorized(error: unknown, type: string, what: string): TidemarkError {
  const access = refusedAccess(causes(error))
  const operation = access?.operation ?? 'it'
  const kind = RESOURCES[type] ?? 'what it was at'
  const topics = access?.topics ?? []
  const on = kind === 'topic' && topics.length > 0 ? `topic ${topics.slice(0, 5).join(', ')}` : `the ${kind}`
  return new TidemarkError(
    'LOG_REFUSED',
    `${what}: Kafka does not let this login ${operation} ${on} (${type})`,
    {
      cause: error,
      next: `grant the login ${operation} on ${on}, then start up again`,
    },
  )
}

const RESOURCES: Readonly<Record<string, string>> = {
  TOPIC_AUTHORIZATION_FAILED: 'topic',
  GROUP_AUTHORIZATION_FAILED: 'group',
  CLUSTER_AUTHORIZATION_FAILED: 'cluster',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'transactional id',
}

/**
 * kafkajs throws plain errors too, of brokers that are silent for long; and where a connection is cut between its being opened and
 * used, it stumbles over what is not there yet: a TypeError whose very place is inside of it. Neither is a mistake of ours.
 */
export function isClientError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  if (error instanceof TypeError) return frames[0]?.includes('/kafkajs/src/') === true
  return error.name === 'Error' && frames.some((line) => line.includes('/kafkajs/src/'))
}

/** Errors of sockets and name look-ups, as Node codes them. */
function isNetworkError(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    /^(E[A-Z]+|ERR_(SOCKET|TLS|SSL)\w*)$/.test(error.code)
  )
}

/** Codes of OpenSSL's verification and of Node's check of names. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_TLS_CERT/

function causes(error: unknown): Error[] {
  const all: Error[] = []
  for (let at: unknown = error; at instanceof Error && all.length < 8; at = at.cause) all.push(at)
  return all
}

function typeOf(error: unknown): string {
  for (const at of causes(error)) {
    if (at instanceof TidemarkError) return ''
    if ('type' in at && typeof at.type === 'string') return at.type
    if (at.name === 'KafkaJSOffsetOutOfRange') return 'OFFSET_OUT_OF_RANGE'
    if (at.name === 'KafkaJSSASLAuthenticationError') return 'SASL_AUTHENTICATION_FAILED'
  }
  return ''
}

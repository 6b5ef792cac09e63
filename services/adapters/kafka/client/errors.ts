/** What kafkajs throws, as the log's errors. */
import { asTidemarkError, TidemarkError } from '../../../core/errors.ts'
import { isMistake } from '../../../core/mistake.ts'
import { KafkaJSError } from './kafkajs.ts'
import { refusedAccess } from './kafkajs-refusals.ts'

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

/** @param what was asked, for the message */
export function kafkaError(thrown: unknown, what: string): TidemarkError {
  const error = single(thrown)
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
  if (!(error instanceof KafkaJSError) && !isNetworkError(error) && !isClientError(error))
    return asTidemarkError(error)
  if (error instanceof KafkaJSError)
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

/** Kafka's own name for what a broker answered; empty where none did. */
export function answerOf(error: unknown): string {
  return typeOf(single(error))
}

/** kafkajs throws a list for what makes topics, and no error of its own kind: here it is asked for one at a time. */
function single(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'KafkaJSAggregateError' || !('errors' in error))
    return error
  return (error.errors as readonly unknown[])[0] ?? error
}

/** By Kafka's word the same request may be answered soon. */
export function mayPass(error: unknown): boolean {
  return error instanceof KafkaJSError && error.retriable
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

/** Which of kafkajs' own errors are outages, and which of ours are not. */
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { answerOf, isClientError, kafkaError } from '../../services/adapters/kafka/client/errors.ts'

test('an answer that no broker gave, because all were cut off, stumbles inside the client: an outage', async () => {
  const logger = { namespace: () => ({ debug: () => undefined, error: () => undefined }) }
  const admin = (
    createRequire(import.meta.url)('kafkajs/src/admin/index.js') as (parts: object) => {
      describeCluster(): Promise<unknown>
    }
  )({ logger, retry: {}, cluster: { metadata: () => Promise.resolve(null) } })
  const error: unknown = await admin.describeCluster().catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(TypeError)
  expect(isClientError(error)).toBe(true)
  expect(kafkaError(error, 'the cluster')).toMatchObject({ code: 'LOG_UNREACHABLE' })
})

test('a topic that a broker cannot make now is an outage, though the client answers by a list', () => {
  const { KafkaJSAggregateError, KafkaJSCreateTopicError } = createRequire(import.meta.url)(
    'kafkajs/src/errors.js',
  ) as {
    KafkaJSAggregateError: new (message: string, errors: readonly Error[]) => Error
    KafkaJSCreateTopicError: new (error: object, topic: string) => Error
  }
  const one = new KafkaJSCreateTopicError({ type: 'NOT_CONTROLLER', code: 41, retriable: true }, 't')
  const error = new KafkaJSAggregateError('Topic creation errors', [one])
  expect(answerOf(error)).toBe('NOT_CONTROLLER')
  expect(kafkaError(error, 'topic t')).toMatchObject({ code: 'LOG_UNREACHABLE' })
})

test('a TypeError of ours is none, though the client called us', () => {
  const error = new TypeError('ours')
  error.stack =
    'TypeError: ours\n    at ours (/x/services/adapters/kafka/kafkajs-sending.ts:1:1)\n    at retrier (/x/node_modules/kafkajs/src/retry/index.js:1:1)'
  expect(isClientError(error)).toBe(false)
  expect(kafkaError(error, 'the cluster')).toMatchObject({ code: 'INTERNAL' })
})

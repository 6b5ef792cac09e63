/** Which of kafkajs' own errors are outages, and which of ours are not. */
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { isClientError, kafkaError } from '../../services/adapters/kafka/client/errors.ts'

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

test('a TypeError of ours is none, though the client called us', () => {
  const error = new TypeError('ours')
  error.stack =
    'TypeError: ours\n    at ours (/x/services/adapters/kafka/kafkajs-sending.ts:1:1)\n    at retrier (/x/node_modules/kafkajs/src/retry/index.js:1:1)'
  expect(isClientError(error)).toBe(false)
  expect(kafkaError(error, 'the cluster')).toMatchObject({ code: 'INTERNAL' })
})

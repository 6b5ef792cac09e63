/** What is replaced inside of kafkajs is what kafkajs uses: it binds its parts when it is loaded, and too late is never. */
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

const require = createRequire(import.meta.url)

test('a client sends by the way of sending that is put right', async () => {
  const { openClient } = await import('../../services/adapters/kafka/client/connection.ts')
  expect(openClient).toBeTypeOf('function')
  const quiet = { debug: () => undefined, error: () => undefined, warn: () => undefined }
  const { sendBatch } = (
    require('kafkajs/src/producer/messageProducer.js') as (parts: object) => {
      sendBatch(given: object): Promise<unknown>
    }
  )({
    logger: quiet,
    cluster: { addMultipleTargetTopics: () => Promise.reject(new Error('sent by kafkajs itself')) },
    eosManager: {},
    retrier: (action: (bail: (error: unknown) => void) => Promise<unknown>) => action(() => undefined),
    getConnectionStatus: () => 'connected',
  })
  // Here each message says its partition; kafkajs chooses one.
  const topicMessages = [{ topic: 't', messages: [{ key: null, value: Buffer.from('v') }] }]
  await expect(sendBatch({ topicMessages })).rejects.toThrow('a message without its partition')
})

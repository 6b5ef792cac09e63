/** Requests that come while a connection is being opened wait for it. */
import { expect, test } from 'vitest'
import { getConnection } from '../../services/adapters/kafka/client/kafkajs-connecting.ts'

test('one connection for many requests, and another try after a failure', async () => {
  let opened = 0
  let connected = false
  let outcome: 'fails' | 'opens' = 'fails'
  const connection = {
    isConnected: () => connected,
    async connect() {
      opened++
      await new Promise((resolve) => setImmediate(resolve))
      if (outcome === 'fails') throw new Error('refused')
      connected = true
    },
  }
  const pool = { pool: [connection] }
  const ask = (): Promise<PromiseSettledResult<unknown>[]> =>
    Promise.allSettled(Array.from({ length: 5 }, () => getConnection.call(pool, 0)))
  expect((await ask()).every((one) => one.status === 'rejected')).toBe(true)
  expect(opened).toBe(1)
  outcome = 'opens'
  expect((await ask()).every((one) => one.status === 'fulfilled')).toBe(true)
  expect(opened).toBe(2)
  await ask()
  expect(opened).toBe(2)
})

/** No timer runs while no request waits. */
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'
import { scheduleCheckPendingRequests } from '../../services/adapters/kafka/client/kafkajs-throttling.ts'

test('a timer is armed for a request that waits, and only then', () => {
  const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
    prototype: { scheduleCheckPendingRequests: unknown }
  }
  expect(prototype.scheduleCheckPendingRequests).toBe(scheduleCheckPendingRequests)
  const queue: { pending: unknown[]; throttledUntil: number; throttleCheckTimeoutId: NodeJS.Timeout | null } =
    { pending: [], throttledUntil: -1, throttleCheckTimeoutId: null }
  scheduleCheckPendingRequests.call(queue)
  expect(queue.throttleCheckTimeoutId).toBeNull()
  queue.pending.push('a request')
  scheduleCheckPendingRequests.call(queue)
  expect(queue.throttleCheckTimeoutId).not.toBeNull()
  clearTimeout(queue.throttleCheckTimeoutId!)
})

/**
 * kafkajs 2.2.4 arms a timer after every answer, also where no request waits and nothing is throttled: its delay is then negative,
 * which Node 24 warns of and takes for 1 ms, so that every connection is woken without end. Put right before kafkajs is loaded
 * (pinned to the version): without a waiting request there is nothing to look after, and whoever enqueues one arms it again.
 */
import { createRequire } from 'node:module'

interface Queue {
  readonly pending: readonly unknown[]
}

interface QueuePrototype {
  scheduleCheckPendingRequests(this: Queue): void
}

const loaded = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
  prototype: QueuePrototype
}
const schedule = loaded.prototype.scheduleCheckPendingRequests

export function scheduleCheckPendingRequests(this: Queue): void {
  if (this.pending.length > 0) schedule.call(this)
}

loaded.prototype.scheduleCheckPendingRequests = scheduleCheckPendingRequests

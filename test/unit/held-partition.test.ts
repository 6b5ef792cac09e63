/** What a transaction that never ends holds back is not waited for without a word. */
import { expect, test } from 'vitest'
import type { KafkaMessage } from '../../services/adapters/kafka/client/client.ts'
import { PartitionReader } from '../../services/adapters/kafka/reading/partition-reader.ts'
import { HEADER } from '../../services/adapters/kafka/records/unit.ts'
import { systemClock } from '../../services/core/clock.ts'
import { MemoryCutGroup } from '../../services/adapters/direct/memory-cut-board.ts'
import { MemoryKafka } from '../support/memory-kafka.ts'
import { Link } from '../support/memory-link.ts'

/** A second for each look at it. */
let now = 0
const clock = { ...systemClock, elapsed: () => (now += 1000) }
const { signal } = new AbortController()
const message: KafkaMessage = { partition: 0, key: null, value: Buffer.from('v') }

function begun(): {
  readonly reader: PartitionReader
  commit(): void
} {
  const broker = new MemoryKafka()
  broker.create('t', 1)
  const mine = broker.fenceOthers('w')
  broker.append('w', mine, 't', 0, [message])
  broker.end('w', mine, 'commit')
  broker.append('w', mine, 't', 0, [message])
  const fetcher = new Link(broker, () => new MemoryCutGroup(1).member()).client().fetcher()
  return {
    reader: new PartitionReader(fetcher, 't', 0, 0n, HEADER, { clock }),
    commit: () => broker.end('w', mine, 'commit'),
  }
}

test.each(['upTo', 'following', 'before'] as const)('%s', async (wait) => {
  const { reader, commit } = begun()
  const next = async (): Promise<bigint> =>
    wait === 'upTo'
      ? (await reader.upTo(2n, signal)).at(-1)!.offset
      : (await (wait === 'before' ? reader.before(2n, signal) : reader.following(signal))).offset
  if (wait !== 'upTo') expect(await next()).toBe(0n)
  for (const _ of ['once', 'and again'])
    await expect(next()).rejects.toMatchObject({
      code: 'LOG_UNREACHABLE',
      message: expect.stringContaining('t/0 cannot be read beyond offset 2'),
      next: expect.stringContaining('--topic t --partition 0 --start-offset 2'),
    })
  // Its end lets the reader go on.
  commit()
  expect(await next()).toBe(2n)
})

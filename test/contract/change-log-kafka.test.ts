/** The ChangeLog contract over a real Kafka: what of it does not depend on a queue's size in memory. */
import { startAt } from '../../services/core/ports/source.ts'
import { beforeAll, describe, expect, test } from 'vitest'
import type { KafkaChangeLog } from '../../services/adapters/kafka/change-log/kafka-change-log.ts'
import { openClient } from '../../services/adapters/kafka/client/connection.ts'
import { kafkaError } from '../../services/adapters/kafka/client/errors.ts'
import type { KafkaSettings } from '../../services/adapters/kafka/client/settings.ts'
import { PartitionReader } from '../../services/adapters/kafka/reading/partition-reader.ts'
import { HEAD_BYTES } from '../../services/adapters/kafka/reading/log-tail.ts'
import { Topics } from '../../services/adapters/kafka/topics/topics.ts'
import { decodeUnit, HEADER } from '../../services/adapters/kafka/records/unit.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { systemClock } from '../../services/core/clock.ts'
import { ORIGIN, positionOf } from '../../services/core/position.ts'
import type { LogItem, TransactionPart } from '../../services/core/transaction.ts'
import { NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { items, openKafkaLog, shownItem } from '../support/kafka-log.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

let bench: SharedKafka
const signal = new AbortController().signal

/** One transaction in parts of one change each. */
async function inParts(count: number): Promise<TransactionPart[]> {
  const source = new MemorySource([{ oid: 16400, name: 't', columns: ['x'], identity: 'default' }])
  source.commit(
    Array.from({ length: count }, (_, id) => ({
      kind: 'insert' as const,
      table: 't',
      id,
      values: [`v${id}`],
    })),
  )
  for await (const item of source.stream(startAt(ORIGIN), signal)) {
    if (item.kind !== 'changes') continue
    const { changes } = item
    return Array.from({ length: count }, (_, i) => {
      const [start, end] = [changes.offsets[i]!, changes.offsets[i + 1]!]
      return {
        ...item,
        end: i === count - 1 ? item.end : undefined,
        changes: {
          ...changes,
          bytes: changes.bytes.subarray(start, end),
          offsets: Uint32Array.of(0, end - start),
          shapeOf: changes.shapeOf.slice(i, i + 1),
          count: 1,
        },
      }
    })
  }
  return []
}

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
  }, 300_000)

  const settings = (): KafkaSettings => ({
    brokers: bench.kafka.bootstrap,
    clientId: 'test',
    tls: undefined,
    sasl: undefined,
    clock: systemClock,
  })
  const open = (prefix: string): Promise<KafkaChangeLog> => openKafkaLog(bench, prefix)

  test('items come out in the order in which they went in, and the end drains what is there, at once', async () => {
    const log = await open('order')
    const sent = await items(50)
    for (const item of sent) await log.append(item, signal)
    log.end()
    const got: string[] = []
    const all = Promise.withResolvers<void>()
    const reading = (async () => {
      // A taker that is slower than the log: the last unit is still being taken when the end has been said.
      for await (const item of log.read(signal)) {
        got.push(shownItem(item))
        if (got.length === sent.length) all.resolve()
        if (got.length > sent.length) break
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    await Promise.race([all.promise, reading])
    // A reader that still waits for more behind the end would get this.
    const other = await open('order')
    await other.append({ kind: 'heartbeat', at: positionOf(1n << 40n), timeline: 1 }, signal)
    other.end()
    await reading
    expect(got).toEqual(sent.map(shownItem))
    await log.close()
    await other.close()
  })

  test('a transaction that a writer left in the middle is taken up where it was left', async () => {
    const parts = await inParts(9)
    const first = await open('middle')
    for (const part of parts.slice(0, 5)) await first.append(part, signal)
    const deadline = performance.now() + 60_000
    // Only what was committed to Kafka counts; the process ends without a word.
    while (first.waitingUnits > 0 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10))
    await first.close()
    const second = await open('middle')
    expect(second.tail.open?.through).toBe(5)
    expect(second.complete.position).toBe(ORIGIN)
    // The source sends it again from its beginning.
    for (const part of parts) await second.append(part, signal)
    second.end()
    const got: TransactionPart[] = []
    for await (const item of second.read(signal)) if (item.kind === 'changes') got.push(item)
    expect(
      Buffer.concat(got.map((part) => part.changes.bytes)).equals(
        Buffer.concat(parts.map((part) => part.changes.bytes)),
      ),
    ).toBe(true)
    expect(got.filter((part) => part.end !== undefined).length).toBe(1)
    expect(got.at(-1)!.end).toBe(parts.at(-1)!.end)
    await second.close()
    const third = await open('middle')
    expect(third.complete).toEqual({ position: parts.at(-1)!.end, resume: parts.at(-1)!.resume })
    await third.close()
  })

  test('a log of more topic-partitions than one record may name comes back whole, also from a second writer', async () => {
    const sent = await items(60)
    for (const count of [30, 60]) {
      const log = await openKafkaLog(bench, 'many', { partitionsAtOnce: 2 })
      for (const item of sent.slice(0, count)) await log.append(item, signal)
      log.end()
      const got: string[] = []
      for await (const item of log.read(signal)) got.push(shownItem(item))
      expect(got).toEqual(sent.slice(0, count).map(shownItem))
      await log.close()
    }
    const fetcher = openClient(settings()).fetcher()
    await fetcher.connect()
    const reader = new PartitionReader(fetcher, 'many.transactions', 0, 0n, HEADER, { clock: systemClock })
    const named: number[] = []
    for (let next = await reader.available(signal); next !== undefined; next = await reader.available(signal))
      named.push(decodeUnit(next.value!.subarray(HEAD_BYTES), next.stamp).partitions.length)
    await fetcher.disconnect()
    expect(Math.max(...named)).toBeLessThan(3)
  })

  test('fewer brokers than a new topic needs are waited for: one that has just started is not counted yet', async () => {
    const admin = openClient(settings()).admin()
    await admin.connect()
    try {
      await expect(new Topics(admin, systemClock, 2).ensure('too-few.public.t', 1)).rejects.toMatchObject({
        code: 'LOG_UNREACHABLE',
        retry: 'again',
      })
    } finally {
      await admin.disconnect()
    }
  })

  test('a record of a kind that the reader does not know stops it: nothing behind it is read', async () => {
    const log = await open('unknown')
    const [known, behind] = (await items(2)) as [LogItem, LogItem]
    // As a newer writer puts it into the log.
    const later = { kind: 'marker' as const, at: ORIGIN, name: 'm', toJSON: () => ({ kind: 'later' }) }
    for (const item of [known, later, behind]) await log.append(item, signal)
    log.end()
    const got: string[] = []
    const read = async (): Promise<void> => {
      for await (const item of log.read(signal)) got.push(shownItem(item))
    }
    await expect(read()).rejects.toMatchObject({ code: 'LOG_UNKNOWN' })
    expect(got).not.toContain(shownItem(behind))
    await log.close()
  })

  test('a partition that ends before a record that is known to be written is a hole, and not waited for', async () => {
    const log = await open('short')
    for (const item of await items(1)) await log.append(item, signal)
    log.end()
    for await (const item of log.read(signal)) expect(item.kind).toBe('changes')
    await log.close()
    const fetcher = openClient(settings()).fetcher()
    await fetcher.connect()
    const reader = new PartitionReader(fetcher, 'short.transactions', 0, 0n, HEADER, {
      shortTries: 3,
      clock: systemClock,
    })
    await expect(reader.upTo(100n, signal)).rejects.toMatchObject({ code: 'LOG_HOLE' })
    await fetcher.disconnect()
  })

  test('commits that the source stamps hours ahead, or years ago, are taken; their times are kept', async () => {
    const log = await open('times')
    const times = [BigInt(Date.now()) * 1000n + 7_200_000_000n, 1_000_000_000_000_000n]
    const sent = (await items(2)).map((item, i) =>
      item.kind === 'changes' ? { ...item, head: { ...item.head, committedAt: times[i]! } } : item,
    )
    for (const item of sent) await log.append(item, signal)
    log.end()
    const got: bigint[] = []
    for await (const item of log.read(signal)) if (item.kind === 'changes') got.push(item.head.committedAt)
    expect(got).toEqual(times)
    await log.close()
  })

  test('a failure ends both sides with it', async () => {
    const log = await open('failure')
    const failure = new Error('the store is gone')
    const reading = log.read(signal)[Symbol.asyncIterator]().next()
    reading.catch(() => undefined)
    log.fail(failure)
    await expect(reading).rejects.toBe(failure)
    await expect(log.append((await items(1))[0]!, signal)).rejects.toBe(failure)
    await log.close()
  })
})

test('a mistake of ours is not taken for an outage', () => {
  expect(kafkaError(new TypeError('x is not a function'), 'a unit').code).toBe('INTERNAL')
  expect(kafkaError(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), 'a unit').code).toBe(
    'LOG_UNREACHABLE',
  )
  expect(kafkaError(new DOMException('stop', 'AbortError'), 'a unit').code).toBe('INTERRUPTED')
})

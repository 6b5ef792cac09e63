/** The ChangeLog contract, run by every adapter. */
import { startAt } from '../../services/core/ports/source.ts'
import { describe, expect, test } from 'vitest'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import type { ChangeLog } from '../../services/core/ports/change-log.ts'
import { ORIGIN, positionOf } from '../../services/core/position.ts'
import type { LogItem } from '../../services/core/transaction.ts'

const LOGS: Readonly<Record<string, (limitBytes: number) => ChangeLog>> = {
  direct: (limitBytes) => new DirectChangeLog(limitBytes),
}

/** Transactions of about 250 bytes each. */
async function items(count: number): Promise<LogItem[]> {
  const source = new MemorySource([{ oid: 16400, name: 't', columns: ['x'], identity: 'default' }])
  for (let id = 0; id < count; id++)
    source.commit([{ kind: 'insert', table: 't', id, values: ['x'.repeat(200)] }])
  const stop = new AbortController()
  const out: LogItem[] = []
  for await (const item of source.stream(startAt(ORIGIN), stop.signal)) {
    out.push(item)
    if (out.length === count) return out
  }
  return out
}

const signal = new AbortController().signal

describe.each(Object.keys(LOGS))('%s', (kind) => {
  test('items come out in the order in which they went in, and the end drains what is there', async () => {
    const log = LOGS[kind]!(1 << 20)
    const sent = await items(20)
    for (const item of sent) await log.append(item, signal)
    expect(log.waitingBytes).toBeGreaterThan(20 * 200)
    log.end()
    const got: LogItem[] = []
    for await (const item of log.read(signal)) got.push(item)
    expect(got).toEqual(sent)
    expect(log.waitingBytes).toBe(0)
  })

  test('a full log makes the writer wait until there is room', async () => {
    const log = LOGS[kind]!(1000)
    const sent = await items(10)
    let accepted = 0
    const writing = (async () => {
      for (const item of sent) {
        await log.append(item, signal)
        accepted++
      }
      log.end()
    })()
    await new Promise((resolve) => setImmediate(resolve))
    expect(accepted).toBeLessThan(10)
    const stalled = accepted
    let got = 0
    for await (const _ of log.read(signal)) got++
    await writing
    expect([stalled < 10, got]).toEqual([true, 10])
  })

  test('durable only grows, and every listener hears of it until it has left', () => {
    const log = LOGS[kind]!(1000)
    const heard: bigint[] = []
    const off = log.onAcknowledgeable((end) => heard.push(end))
    log.markDurable(positionOf(10n))
    log.markDurable(positionOf(5n))
    expect(log.durable).toBe(10n)
    log.markDurable(positionOf(20n))
    off()
    log.markDurable(positionOf(30n))
    expect(heard).toEqual([10n, 20n])
    expect(log.durable).toBe(30n)
  })

  test('a failure ends both sides with it', async () => {
    const log = LOGS[kind]!(600)
    const [first, second] = await items(2)
    const failure = new Error('the store is gone')
    await log.append(first!, signal)
    const waiting = log.append(second!, signal)
    waiting.catch(() => undefined)
    log.fail(failure)
    await expect(waiting).rejects.toBe(failure)
    await expect(log.append(first!, signal)).rejects.toBe(failure)
    await expect(log.read(signal)[Symbol.asyncIterator]().next()).rejects.toBe(failure)
  })

  test('the signal ends a wait on either side', async () => {
    const log = LOGS[kind]!(300)
    const stop = new AbortController()
    const reading = log.read(stop.signal)[Symbol.asyncIterator]().next()
    reading.catch(() => undefined)
    stop.abort(new DOMException('stop', 'AbortError'))
    await expect(reading).rejects.toThrow('stop')
    const [item] = await items(1)
    await expect(log.append(item!, stop.signal)).rejects.toThrow('stop')
  })
})

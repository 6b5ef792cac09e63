/** The Source contract, run by every adapter. */
import { startAt } from '../../services/core/ports/source.ts'
import { describe, expect, test } from 'vitest'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { openSource } from '../../services/app/wiring/compose.ts'
import { comparePositions, type Position } from '../../services/core/position.ts'
import type { Source } from '../../services/core/ports/source.ts'
import type { LogItem, TransactionPart } from '../../services/core/transaction.ts'
import { Backup, testedVersions } from '../support/backup.ts'

interface Bench extends AsyncDisposable {
  /** A source as a fresh process opens it. */
  open(): Source
  /** Nothing at or before this was committed when the slot was made. */
  readonly from: Position
  /** Commits these ids into the table t. */
  insert(ids: readonly number[]): Promise<void>
}

const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  memory: async () => {
    const source = new MemorySource([{ oid: 16400, name: 't', columns: ['v'], identity: 'default' }])
    return {
      open: () => source,
      from: await source.head(),
      insert: (ids) =>
        Promise.resolve(
          void source.commit(ids.map((id) => ({ kind: 'insert', table: 't', id, values: [`v${id}`] }))),
        ),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  },
  ...Object.fromEntries(
    testedVersions().map((version) => [
      `PostgreSQL ${version}`,
      async (): Promise<Bench> => {
        const backup = await Backup.prepare({
          version,
          setup: 'CREATE TABLE t (id bigint PRIMARY KEY, v text)',
        })
        await backup.init()
        const generation = (await backup.openRepository()).catalog.generation!
        return {
          open: () => openSource(backup.config, generation),
          from: generation.end,
          insert: async (ids) =>
            void (await backup.source.query(`INSERT INTO t SELECT i, 'v' || i FROM unnest($1::bigint[]) i`, [
              ids,
            ])),
          [Symbol.asyncDispose]: () => backup[Symbol.asyncDispose](),
        }
      },
    ]),
  ),
}

/** Reads until `wanted` says so. */
async function read(
  source: Source,
  from: Position,
  wanted: (items: readonly LogItem[]) => boolean,
): Promise<LogItem[]> {
  const stop = new AbortController()
  const items: LogItem[] = []
  const timer = setTimeout(() => stop.abort(new Error('nothing came')), 20_000)
  try {
    for await (const item of source.stream(startAt(from), stop.signal)) {
      items.push(item)
      if (wanted(items)) break
    }
    return items
  } finally {
    clearTimeout(timer)
    stop.abort(new DOMException('enough', 'AbortError'))
  }
}

const parts = (items: readonly LogItem[]): TransactionPart[] =>
  items.filter((item) => item.kind === 'changes')
/** Before 15 a server also sends transactions without rows: a vacuum that runs by itself is one. */
const whole = (items: readonly LogItem[]): TransactionPart[] =>
  parts(items).filter((part) => part.end !== undefined && part.changes.count > 0)
const rows = (items: readonly LogItem[]): number =>
  parts(items).reduce((sum, part) => sum + part.changes.count, 0)

describe.each(Object.keys(BENCHES))('%s', (kind) => {
  test('whole transactions in commit order; what ended at or before the start never comes again', async () => {
    await using bench = await BENCHES[kind]!()
    await bench.insert([1])
    await bench.insert([2, 3])
    await bench.insert([4])
    const source = bench.open()
    const items = await read(source, bench.from, (got) => whole(got).length === 3)
    expect(whole(items).map((part) => part.changes.count)).toEqual([1, 2, 1])
    for (const [i, part] of whole(items).entries()) {
      if (i > 0)
        expect(comparePositions(part.head.position, whole(items)[i - 1]!.head.position)).toBeGreaterThan(0)
      expect(comparePositions(part.end!, part.head.position)).toBeGreaterThan(0)
    }
    await source.close()
    const again = bench.open()
    const later = await read(again, whole(items)[0]!.end!, (got) => whole(got).length === 2)
    expect(rows(later)).toBe(3)
    await again.close()
  })

  test('only an acknowledgement moves the start, and it never goes back', async () => {
    await using bench = await BENCHES[kind]!()
    await bench.insert([1])
    await bench.insert([2])
    const source = bench.open()
    let ends: Position[] = []
    await read(source, bench.from, (got) => {
      ends = whole(got).map((part) => part.end!)
      if (ends.length < 2) return false
      source.acknowledge(ends[0]!)
      source.acknowledge(bench.from)
      return true
    })
    const deadline = performance.now() + 60_000
    while (comparePositions((await source.held())!.confirmed, ends[0]!) < 0 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    expect((await source.held())!.confirmed).toBe(ends[0])
    await source.close()
  })

  test('reading from further on acknowledges nothing: a log may be ahead of the store', async () => {
    await using bench = await BENCHES[kind]!()
    await bench.insert([1])
    await bench.insert([2])
    const first = bench.open()
    const items = await read(first, bench.from, (got) => whole(got).length === 2)
    await first.close()
    const source = bench.open()
    const before = (await source.held())!.confirmed
    await bench.insert([3])
    // The server answers a heartbeat behind our own status.
    const asking = setInterval(() => source.wantHeartbeat(), 20)
    await read(
      source,
      whole(items)[1]!.end!,
      (got) => whole(got).length === 1 && got.some((item) => item.kind === 'heartbeat'),
    )
    clearInterval(asking)
    await source.close()
    const again = bench.open()
    expect((await again.held())!.confirmed).toBe(before)
    expect(rows(await read(again, bench.from, (got) => whole(got).length === 3))).toBe(3)
    await again.close()
  })

  test('a snapshot has exactly what commits below its point', async () => {
    await using bench = await BENCHES[kind]!()
    await bench.insert([1, 2, 3])
    const source = bench.open()
    const snapshot = await source.snapshot({ signal: new AbortController().signal })
    await bench.insert([4])
    await bench.insert([5])
    const table = snapshot.tables.find((t) => t.version.name === 't')!
    let copied = 0
    for (const part of table.parts) {
      const result = await snapshot.copy(
        table,
        part,
        (_, count) => void (copied += count),
        new AbortController().signal,
      )
      expect(result).toEqual({ kind: 'copied', rows: copied })
    }
    expect(copied).toBe(3)
    await snapshot.close()
    const items = await read(source, bench.from, (got) => rows(got) >= 5)
    const below = whole(items).filter(
      (part) => comparePositions(part.head.position, snapshot.consistentPoint) < 0,
    )
    expect(below.reduce((sum, part) => sum + part.changes.count, 0)).toBe(3)
    await source.close()
  })

  test('a moment lies behind what was committed before it, and before what is committed later', async () => {
    await using bench = await BENCHES[kind]!()
    const source = bench.open()
    try {
      await bench.insert([1])
      const moment = await source.moment()
      await bench.insert([2])
      const [first, second] = whole(
        await read(source, bench.from, (got) => whole(got).length === 2),
      ) as TransactionPart[]
      expect(first!.head.committedAt <= moment.time && moment.time <= second!.head.committedAt).toBe(true)
      expect(comparePositions(first!.end!, moment.at)).toBeLessThanOrEqual(0)
      expect(comparePositions(moment.at, second!.head.position)).toBeLessThanOrEqual(0)
    } finally {
      await source.close()
    }
  })

  test('a heartbeat comes when it is asked for, behind everything that came before it', async () => {
    await using bench = await BENCHES[kind]!()
    await bench.insert([1])
    const source = bench.open()
    const asking = setInterval(() => source.wantHeartbeat(), 50)
    try {
      const items = await read(
        source,
        bench.from,
        (got) => got.some((item) => item.kind === 'heartbeat') && whole(got).length === 1,
      )
      const beat = items.findLast((item) => item.kind === 'heartbeat')!
      if (items.indexOf(beat) > items.indexOf(whole(items)[0]!))
        expect(comparePositions(beat.at, whole(items)[0]!.end!)).toBeGreaterThanOrEqual(0)
    } finally {
      clearInterval(asking)
      await source.close()
    }
  })

  test('the signal ends the stream', async () => {
    await using bench = await BENCHES[kind]!()
    const source = bench.open()
    const stop = new AbortController()
    const reading = (async () => {
      for await (const item of source.stream(startAt(bench.from), stop.signal))
        expect(item.kind).not.toBe('gap')
    })()
    reading.catch(() => undefined)
    setTimeout(() => stop.abort(new DOMException('stop', 'AbortError')), 100)
    await expect(reading).rejects.toThrow('stop')
    await source.close()
  })
})

/** The Target contract, run by every adapter. */
import { describe, expect, test } from 'vitest'
import { MemoryTarget } from '../../services/engines/memory/memory-target.ts'
import { openPostgresTarget } from '../../services/engines/postgres/target/answering-target.ts'
import { tableKey, type Target } from '../../services/core/ports/target.ts'
import type { SchemaStatement } from '../../services/core/transaction.ts'
import { Backup, testedVersions } from '../support/backup.ts'

interface Bench extends AsyncDisposable {
  /** The same database, as a fresh process opens it. */
  open(): Target
}

const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  memory: () => {
    const target = new MemoryTarget()
    return Promise.resolve({ open: () => target, [Symbol.asyncDispose]: () => Promise.resolve() })
  },
  ...Object.fromEntries(
    testedVersions().map((version) => [
      `PostgreSQL ${version}`,
      async (): Promise<Bench> => {
        const backup = await Backup.prepare({ version })
        const url = await backup.emptyDatabase()
        return {
          open: () =>
            openPostgresTarget({
              url,
              source: {
                origin: { systemId: 'another', databaseOid: 1 },
                encoding: 'UTF8',
                serverVersion: 180000,
              },
            }),
          [Symbol.asyncDispose]: () => backup[Symbol.asyncDispose](),
        }
      },
    ]),
  ),
}

const signal = new AbortController().signal
const T = { schema: 'public', name: 't', columns: ['id', 'v'] }
const CREATE: SchemaStatement = {
  sql: 'CREATE TABLE public.t (id bigint NOT NULL, v text)',
  phase: 'before',
  rank: 20,
  objects: [{ kind: 'table', schema: 'public', name: 't' }],
}

async function* chunks(...lines: string[]): AsyncIterable<Buffer> {
  for (const line of lines) yield Buffer.from(line)
}

async function* broken(): AsyncIterable<Buffer> {
  yield Buffer.from('1\tone\n')
  throw new Error('the backup could not be read')
}

describe.each(Object.keys(BENCHES))('%s', (kind) => {
  test('an empty target takes a restore; run again it knows what it has; a finished one is refused', async () => {
    await using bench = await BENCHES[kind]!()
    const first = bench.open()
    expect(await first.check('r1')).toBe('empty')
    expect((await first.begin('r1')).size).toBe(0)
    await first.run([CREATE], 0, () => undefined, signal)
    expect(await first.load(T, 'text', chunks('1\tone\n2\t', '\\N\n'), signal)).toBe(2)
    await first.close()
    const second = bench.open()
    expect(await second.check('r1')).toBe('resume')
    await expect(second.check('r2')).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
    expect([...(await second.begin('r1'))]).toEqual([[tableKey(T), 2]])
    let steps = 0
    await second.run([CREATE], 0, () => steps++, signal)
    expect(steps).toBe(1)
    await second.finish()
    await second.close()
    const third = bench.open()
    await expect(third.check('r1')).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
    await third.close()
  })

  test('a table is loaded whole or not at all', async () => {
    await using bench = await BENCHES[kind]!()
    const target = bench.open()
    await target.begin('r1')
    await target.run([CREATE], 0, () => undefined, signal)
    await expect(target.load(T, 'text', broken(), signal)).rejects.toThrow()
    expect((await target.begin('r1')).size).toBe(0)
    const stop = new AbortController()
    stop.abort(new DOMException('stop', 'AbortError'))
    await expect(target.load(T, 'text', chunks('1\tone\n'), stop.signal)).rejects.toThrow()
    expect((await target.digest([T]))[0]!.rows).toBe(0n)
    expect(await target.load(T, 'text', chunks('3\tthree\n'), signal)).toBe(1)
    expect((await target.digest([T]))[0]!.rows).toBe(1n)
    await target.close()
  })

  test('digests do not depend on the order of rows, and see every difference', async () => {
    const digest = async (...lines: string[]): Promise<string> => {
      await using bench = await BENCHES[kind]!()
      const target = bench.open()
      await target.begin('r')
      await target.run([CREATE], 0, () => undefined, signal)
      await target.load(T, 'text', chunks(...lines), signal)
      const [found] = await target.digest([T])
      await target.close()
      return `${found!.rows} ${found!.digest}`
    }
    const one = await digest('1\ta\n', '2\tb\n')
    expect(await digest('2\tb\n1\ta\n')).toBe(one)
    expect(await digest('1\ta\n2\t\\N\n')).not.toBe(one)
    expect(await digest('1\ta\n2\tb\n2\tb\n')).not.toBe(one)
  })

  test('what was remembered is there for the next try', async () => {
    await using bench = await BENCHES[kind]!()
    const first = bench.open()
    await first.begin('r1')
    await first.remember('one')
    await first.remember('two')
    await first.close()
    const second = bench.open()
    await second.begin('r1')
    expect(await second.remembered()).toEqual(['one', 'two'])
    await second.close()
  })
})

describe.each(Object.keys(BENCHES).filter((kind) => kind !== 'memory'))('%s', (kind) => {
  test('a refused statement is given back, and those behind it are run', async () => {
    await using bench = await BENCHES[kind]!()
    const target = bench.open()
    await target.begin('r1')
    const broken = { ...CREATE, sql: 'CREATE TABLE public.broken (id public.nothing)' }
    const [refusal, ...others] = await target.run([broken, CREATE], 0, () => undefined, signal)
    expect([refusal, others]).toEqual([{ statement: broken, state: '42704', reason: expect.any(String) }, []])
    expect(await target.missingTypes(['public.nothing', 'integer'])).toEqual(new Set(['public.nothing']))
    await expect(
      target.load(T, 'text', chunks('one\tone\n'), signal),
      'the table is empty and can be loaded again',
    ).rejects.toMatchObject({ name: 'TidemarkError', state: '22P02' })
    expect(await target.load(T, 'text', chunks('1\tone\n'), signal)).toBe(1)
    await target.close()
  })

  test('a lane that is the first to be used does not keep the target from closing', async () => {
    await using bench = await BENCHES[kind]!()
    const target = bench.open()
    await target.begin('r1')
    await target.run([CREATE], 2, () => undefined, signal)
    await target.close()
    await target.close()
  })
})

/** Which store a reader reads: the furthest, then the fastest, an archive last. */
import { expect, test } from 'vitest'
import { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { chooseToRead } from '../../services/app/wiring/store-set.ts'
import { TidemarkError } from '../../services/core/errors.ts'

const [a, b, c] = [new MemoryStore(), new MemoryStore(), new MemoryStore()]
const end = (number: bigint, lineage = 1): { lineage: number; number: bigint } => ({ lineage, number })
const away = new TidemarkError('STORE_UNREACHABLE', 'away')

function choose(...asked: Parameters<typeof chooseToRead>[0]): {
  readonly store: unknown
  readonly said: readonly string[]
} {
  const said: string[] = []
  return { store: chooseToRead(asked, { say: (line) => void said.push(line) }), said }
}

test('the one that reaches furthest, whatever it takes', () => {
  const { store, said } = choose(
    { store: a, isArchive: false, answer: { end: end(5n), ms: 1 } },
    { store: b, isArchive: true, answer: { end: end(9n), ms: 900 } },
  )
  expect(store).toBe(b)
  expect(said).toEqual([expect.stringContaining('ends at ledger entry 5')])
  expect(
    choose(
      { store: a, isArchive: false, answer: { end: end(50n), ms: 1 } },
      { store: b, isArchive: false, answer: { end: end(9n, 2), ms: 9 } },
    ).store,
  ).toBe(b)
})

test('of equals the fastest, an archive only where there is nothing else', () => {
  const archive = { store: c, isArchive: true, answer: { end: end(5n), ms: 1 } }
  expect(
    choose(
      archive,
      { store: a, isArchive: false, answer: { end: end(5n), ms: 80 } },
      { store: b, isArchive: false, answer: { end: end(5n), ms: 20 } },
    ),
  ).toEqual({ store: b, said: [] })
  const { store, said } = choose(archive, { store: a, isArchive: false, answer: { error: away } })
  expect(store).toBe(c)
  expect(said).toEqual([expect.stringContaining('STORE_UNREACHABLE: away')])
})

test('without any answer the first failure is the answer', () => {
  expect(() => choose({ store: a, isArchive: false, answer: { error: away } })).toThrow('away')
})

/** How far another store has to reach before one may let go of what lies below a floor; and how old a base is. */
import { expect, test } from 'vitest'
import type { NumberedEntry } from '../../services/formats/ledger-entry.ts'
import { Catalog } from '../../services/repository/catalog.ts'
import { parseFloor } from '../../services/repository/floor.ts'
import { chooseBeginning, lastBelow } from '../../services/lifecycle/retention.ts'
import { GENERATION } from '../support/ledger-bench.ts'

const gone = '5f0f7f9e-54c3-4b6e-8d8e-0d6a4a3c9f10'
const base = '0c6f64e1-7d5d-4b93-b1c6-3f1f3ff3d6aa'
const floor = (pages: string): ReturnType<typeof parseFloor> =>
  parseFloor({
    generation: 1,
    base,
    before: '0/500',
    schemasFrom: '0/400',
    gone: [gone],
    roots: '0',
    pages,
    ddl: null,
  })
const table = (id: string): NumberedEntry<'table'> =>
  ({ body: { base: id } }) as unknown as NumberedEntry<'table'>
const schema = (number: bigint, at: string): NumberedEntry<'schema'> =>
  ({ number, body: { at } }) as unknown as NumberedEntry<'schema'>

test('behind the base there may be segments from before it, and copies that are gone', () => {
  const empty = { tables: new Map(), schemas: [] }
  expect(lastBelow(empty, { number: 10n }, floor('5'))).toBe(10n)
  // The stream was behind while the base was copied: its older segments have later numbers.
  expect(lastBelow(empty, { number: 10n }, floor('31'))).toBe(30n)
  expect(
    lastBelow(
      {
        tables: new Map([
          [40n, table(gone)],
          [50n, table(base)],
        ]),
        schemas: [],
      },
      { number: 10n },
      floor('31'),
    ),
  ).toBe(40n)
  expect(
    lastBelow(
      { tables: new Map(), schemas: [schema(60n, '0/3FF'), schema(70n, '0/400')] },
      { number: 10n },
      floor('31'),
    ),
  ).toBe(60n)
})

const DAY = 24 * 3_600_000
const NOW = Date.parse('2026-06-30T00:00:00.000Z')
const daysAgo = (days: number): string => new Date(NOW - days * DAY).toISOString()

/** A ledger of bases, each finished on a day; `others` are entries between them. */
function bases(...days: readonly (readonly [days: number, isBase: boolean])[]): Catalog {
  const catalog = new Catalog(() => Promise.resolve([]))
  catalog.apply({ number: 1n, writtenAt: daysAgo(400), body: GENERATION })
  for (const [i, [age, isBase]] of days.entries()) {
    const common = { number: BigInt(i + 2), writtenAt: daysAgo(age) }
    const id = `00000000-0000-4000-8000-00000000000${i}`
    catalog.apply(
      isBase
        ? {
            ...common,
            body: {
              kind: 'base',
              generation: 1,
              base: id,
              from: '0/100',
              closing: '0/100',
              tables: [],
              dropped: [],
              rows: '0',
              bytes: '0',
            },
          }
        : { ...common, body: { kind: 'marker', generation: 1, at: '0/100', name: 'm' } },
    )
  }
  return catalog
}

const begins = (catalog: Catalog): bigint | undefined =>
  chooseBeginning(catalog, { keepMs: 30 * DAY, bases: 1 }, NOW).begin?.base.number

test('a base is as old as the ledger lets it be, whatever its writer says', () => {
  expect(begins(bases([60, true], [40, true], [1, true]))).toBe(3n)
  // Dated back by whoever took the writer's key: the entry before it was written an hour ago.
  expect(begins(bases([60, true], [0.04, false], [40, true]))).toBeUndefined()
  // A clock that was ahead: such a base has no age, and those that come after it have theirs.
  expect(begins(bases([60, true], [-300, true]))).toBeUndefined()
  expect(begins(bases([60, true], [-300, true], [40, true], [1, true]))).toBe(4n)
})

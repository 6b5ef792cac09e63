/** How far another store has to reach before one may let go of what lies below a floor. */
import { expect, test } from 'vitest'
import type { NumberedEntry } from '../../services/formats/ledger-entry.ts'
import { parseFloor } from '../../services/repository/floor.ts'
import { lastBelow } from '../../services/repository/retention.ts'

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

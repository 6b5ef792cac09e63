/** The chain of units: what is missing, made anew or written by an older writer is a hole, and nothing else is. */
import { expect, test } from 'vitest'
import { UnitChain } from '../../services/adapters/kafka/reading/unit-chain.ts'
import type { Unit } from '../../services/adapters/kafka/records/unit.ts'

const unit = (term: number, number: number, previous: string, generation = 1): Unit => ({
  generation,
  term,
  unit: number,
  previous,
  entries: [],
  partitions: [],
  full: false,
  bytes: 0,
  ddl: [],
  stream: '',
})
const chain = (
  over: { since?: number; at?: bigint; unit?: string; isPart?: boolean; isTrimmed?: boolean } = {},
): UnitChain =>
  new UnitChain({
    topic: 't',
    generation: 1,
    since: 0,
    at: 0n,
    unit: '',
    isPart: false,
    isTrimmed: false,
    ...over,
  })

function read(of: UnitChain, units: readonly Unit[], from = 0n): void {
  for (const [i, one] of units.entries()) of.check(one, from + BigInt(i))
}

test('units that follow each other, over writers', () => {
  read(chain(), [unit(5, 1, ''), unit(5, 2, '5.1'), unit(9, 1, '5.2'), unit(9, 2, '9.1')])
  // Who reads a part of the log begins in the middle.
  read(chain({ isPart: true }), [unit(5, 2, '5.1'), unit(5, 3, '5.2')], 7n)
})

test.each([
  ['one that is missing', [unit(5, 1, ''), unit(5, 3, '5.2')]],
  ['a beginning that is gone before anything was read', [unit(5, 2, '5.1'), unit(5, 3, '5.2')]],
  ['a topic that was made anew while it was read', [unit(5, 1, ''), unit(9, 1, '')]],
  ['an older writer behind a newer one', [unit(9, 1, ''), unit(5, 1, '9.1')]],
])('%s is a hole', (_, units) => {
  expect(() => read(chain(), units)).toThrow(expect.objectContaining({ code: 'LOG_HOLE' }) as Error)
})

test('the unit at the place that the ledger names has to be there', () => {
  read(chain({ at: 3n, unit: '5.4' }), [unit(5, 3, '5.2'), unit(5, 4, '5.3'), unit(5, 5, '5.4')], 2n)
  expect(() => read(chain({ at: 3n, unit: '5.4' }), [unit(5, 3, '5.2'), unit(5, 9, '5.3')], 2n)).toThrow(
    expect.objectContaining({ code: 'LOG_HOLE' }) as Error,
  )
  expect(() => read(chain({ at: 3n, unit: '5.4' }), [unit(5, 3, '5.2'), unit(5, 4, '5.3')], 3n)).toThrow(
    expect.objectContaining({ code: 'LOG_HOLE' }) as Error,
  )
})

test('what came before the log began anew, and other generations, do not count', () => {
  const anew = chain({ since: 20 })
  expect(anew.counts(unit(5, 1, ''))).toBe(false)
  // The old writer's last units, then the new one, which may have seen them or not.
  read(anew, [unit(5, 7, '5.6'), unit(5, 8, '5.7'), unit(21, 1, '5.8'), unit(21, 2, '21.1')])
  read(chain({ since: 20 }), [unit(5, 7, '5.6'), unit(21, 1, ''), unit(21, 2, '21.1')])
  expect(() => read(chain({ since: 20 }), [unit(21, 1, ''), unit(30, 1, '')])).toThrow(
    expect.objectContaining({ code: 'LOG_HOLE' }) as Error,
  )
  read(chain(), [unit(3, 1, '', 0), unit(3, 2, 'nothing', 0), unit(5, 1, '3.2')])
})

test('where the unit at the place is gone, what is read first follows it', () => {
  const trimmed = { at: 3n, unit: '5.4', isTrimmed: true }
  read(chain(trimmed), [unit(5, 5, '5.4'), unit(9, 1, '5.5')], 7n)
  expect(() => read(chain(trimmed), [unit(5, 6, '5.5')], 7n)).toThrow(
    expect.objectContaining({ code: 'LOG_HOLE' }) as Error,
  )
  expect(() => read(chain(trimmed), [unit(9, 1, '')], 7n)).toThrow(
    expect.objectContaining({ code: 'LOG_HOLE' }) as Error,
  )
})

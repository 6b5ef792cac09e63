/** Samples have the names of their own moment; at a point they stand for what was called so there. */
import { expect, test } from 'vitest'
import { type Position, positionOf } from '../../services/core/position.ts'
import { mergeSamples, type SampledSequences, sequenceKey } from '../../services/core/transaction.ts'
import { parseDdlRecord } from '../../services/engines/postgres/dialect/ddl-record.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'
import { SequenceNames } from '../../services/history/sequence-names.ts'
import type { PlacedRecord } from '../../services/core/ports/dialect.ts'

function named(at: number, oid: number, name: string, command = 'ALTER SEQUENCE'): PlacedRecord {
  const facts = {
    oid,
    schema: 'public',
    name,
    owner: 'o',
    type: 'bigint',
    ownedBy: null,
    start: '1',
    increment: '1',
    min: '1',
    max: '9',
    cache: '1',
    cycle: false,
  }
  const row = { id: String(at), xid: String(at), command, kind: 'sequence', oid: String(oid) }
  return {
    position: positionOf(BigInt(at)),
    ordinal: 0,
    record: parseDdlRecord({ ...row, facts: JSON.stringify(facts) }),
  }
}

function sample(at: number, values: Record<string, readonly [oid: number, value: number]>): SampledSequences {
  return {
    at: positionOf(BigInt(at)),
    extent: 'full',
    samples: Object.entries(values).map(([name, [oid, value]]) => ({
      schema: 'public',
      name,
      oid,
      lastValue: String(value),
      isCalled: true,
    })),
  }
}

const shown = ({ samples }: SampledSequences): string[] =>
  samples.map(({ name, oid, lastValue }) => `${name} ${oid} ${lastValue}`).sort()
const point = (at: number): Position => positionOf(BigInt(at))

// a becomes b, and another a is made; c and d change their names.
const RECORDS = [
  named(20, 1, 'b'),
  named(21, 2, 'a', 'CREATE SEQUENCE'),
  named(22, 3, 'x'),
  named(23, 4, 'c'),
  named(24, 3, 'd'),
]
const BEFORE = sample(10, { a: [1, 7], c: [3, 1000], d: [4, 5] })
const AFTER = sample(30, { a: [2, 1], b: [1, 9], c: [4, 6], d: [3, 1001] })

test('a sample behind the point has the names of the point, and nothing that was made later', () => {
  const names = new SequenceNames(postgresDialect.records, RECORDS, point(15), point(40))
  names.learn([BEFORE])
  expect(shown(names.then(AFTER))).toEqual(['a 1 9', 'c 3 1001', 'd 4 6'])
  expect([...names.altered].sort()).toEqual(
    ['a', 'b', 'c', 'd', 'x'].map((name) => sequenceKey({ schema: 'public', name })),
  )
})

test('a sample of before has the names of the point, and what got another one is not gone', () => {
  const names = new SequenceNames(postgresDialect.records, RECORDS, point(35), undefined)
  expect(shown(names.then(BEFORE))).toEqual(['b 1 7', 'c 4 5', 'd 3 1000'])
  expect(names.isAnyAltered).toBe(false)
  const { oid, ...rest } = AFTER.samples.find(({ name }) => name === 'b')!
  const later = { at: AFTER.at, extent: 'changes' as const, samples: [{ oid: oid!, ...rest }] }
  const gone = [{ schema: 'public', name: 'a', oid: 1 }]
  const merged = mergeSamples(names.then(BEFORE), names.then({ ...later, gone }))
  expect(shown(merged)).toEqual(['b 1 9', 'c 4 5', 'd 3 1000'])
})

test('without OIDs a sample stays as it is', () => {
  const bare = { ...AFTER, samples: AFTER.samples.map(({ oid: _, ...rest }) => rest) }
  const names = new SequenceNames(postgresDialect.records, RECORDS, point(15), undefined)
  names.learn([bare])
  expect(names.then(bare)).toEqual(bare)
})

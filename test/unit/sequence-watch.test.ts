/** Samples of sequences: what changed, all of them now and then, and how fast each one moves. */
import { expect, test } from 'vitest'
import { LIMITS } from '../../services/core/limits.ts'
import { positionOf } from '../../services/core/position.ts'
import { mergeSamples, type SampledSequences, type SequenceReading } from '../../services/core/transaction.ts'
import { SequenceWatch } from '../../services/replicator/sequence-watch.ts'

const DAY_MS = 86_400_000
let now = 0
const clock = { now: () => now, elapsed: () => now, sleep: () => Promise.resolve() }
const reading = (name: string, value: number, isCalled = true, increment = '1'): SequenceReading => ({
  schema: 'public',
  name,
  lastValue: String(value),
  isCalled,
  increment,
})

test('samples hold what changed; merged, they are what the sequences say', () => {
  now = 0
  const watch = new SequenceWatch(clock)
  const rounds: SequenceReading[][] = [
    [reading('a', 1, false), reading('b', 5)],
    [reading('a', 1), reading('b', 5)],
    [reading('a', 51, false), reading('b', 9)],
    [reading('a', 51, false), reading('c', 9)],
    [reading('a', 51, false), reading('c', 9), reading('b', 1, false)],
  ]
  let held: SampledSequences | undefined
  const sizes: number[] = []
  for (const [i, readings] of rounds.entries()) {
    const sample = watch.sample(positionOf(BigInt(i + 1)), readings)
    sizes.push(sample.samples.length)
    held = held === undefined ? sample : mergeSamples(held, sample)
    const states = held.samples.map(({ name, lastValue, isCalled }) => `${name} ${lastValue} ${isCalled}`)
    expect(states.sort()).toEqual(readings.map((r) => `${r.name} ${r.lastValue} ${r.isCalled}`).sort())
    expect(held.extent).toBe('full')
  }
  expect(sizes).toEqual([2, 1, 2, 1, 1])
  const extents = Array.from(
    { length: LIMITS.fullSampleEvery },
    (_, i) => watch.sample(positionOf(BigInt(i + 10)), rounds[0]!).extent,
  )
  expect(extents.filter((extent) => extent === 'full')).toHaveLength(1)
})

test('two samples of one cut are merged without losing what only the first one has', () => {
  const first: SampledSequences = {
    at: positionOf(1n),
    extent: 'changes',
    samples: [{ schema: 's', name: 'a', lastValue: '1', isCalled: true }],
    gone: [{ schema: 's', name: 'b' }],
  }
  const second: SampledSequences = {
    at: positionOf(2n),
    extent: 'changes',
    samples: [{ schema: 's', name: 'b', lastValue: '1', isCalled: false }],
    gone: [{ schema: 's', name: 'c' }],
  }
  expect(mergeSamples(first, second)).toEqual({
    at: 2n,
    extent: 'changes',
    samples: [...first.samples, ...second.samples],
    gone: [{ schema: 's', name: 'c' }],
  })
})

test('what was set back or began anew says so, in a merged sample too', () => {
  now = 0
  const watch = new SequenceWatch(clock)
  const sample = (...readings: SequenceReading[]): SampledSequences => watch.sample(positionOf(1n), readings)
  const setBack = ({ samples }: SampledSequences): string[] =>
    samples.filter((one) => one.setBack).map(({ name }) => name)
  const first = [
    reading('up', 50),
    reading('down', -50, true, '-1'),
    { ...reading('anew', 1, false), file: '1' },
  ]
  expect(setBack(sample(...first))).toEqual([])
  expect(setBack(sample(reading('up', 60), reading('down', -60, true, '-1'), first[2]!))).toEqual([])
  const back = sample(reading('up', 3), reading('down', 5, true, '-1'), { ...first[2]!, file: '2' })
  expect(setBack(back)).toEqual(['up', 'down', 'anew'])
  const on = sample(reading('up', 4), reading('down', 5, true, '-1'), { ...first[2]!, file: '2' })
  expect(setBack(on)).toEqual([])
  expect(setBack(mergeSamples(back, on)).sort()).toEqual(['anew', 'down', 'up'])
})

test('the greatest advance of the last day, in the direction of the sequence', () => {
  now = 0
  const watch = new SequenceWatch(clock)
  const advance = (...readings: SequenceReading[]): (string | undefined)[] =>
    watch.sample(positionOf(1n), readings).samples.map((sample) => sample.advance)
  expect(advance(reading('up', 10), reading('down', -10, true, '-5'))).toEqual([undefined, undefined])
  expect(advance(reading('up', 60), reading('down', -40, true, '-5'))).toEqual(['50', '30'])
  // Set back by somebody: no advance.
  expect(advance(reading('up', 1), reading('down', 0, true, '-5'))).toEqual(['50', '30'])
  now += DAY_MS
  expect(advance(reading('up', 3), reading('down', -5, true, '-5'))).toEqual(['50', '30'])
  now += DAY_MS
  expect(advance(reading('up', 4), reading('down', -10, true, '-5'))).toEqual(['2', '5'])
})

test('sequences that change names are told from each other by their OIDs', () => {
  now = 0
  const watch = new SequenceWatch(clock)
  const of = (oid: number, name: string, value: number): SequenceReading => ({ ...reading(name, value), oid })
  watch.sample(positionOf(1n), [of(1, 'a', 50), of(2, 'b', 5)])
  const swapped = watch.sample(positionOf(2n), [of(1, 'b', 50), of(2, 'a', 9)])
  expect(swapped).toMatchObject({ extent: 'changes', gone: [] })
  expect(
    swapped.samples.map(({ name, oid, lastValue, advance, setBack }) => [
      name,
      oid,
      lastValue,
      advance,
      setBack,
    ]),
  ).toEqual([
    ['b', 1, '50', undefined, undefined],
    ['a', 2, '9', '4', undefined],
  ])
  expect(watch.sample(positionOf(3n), [of(1, 'b', 50)]).gone).toEqual([
    { schema: 'public', name: 'a', oid: 2 },
  ])
})

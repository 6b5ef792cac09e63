/**
 * Turns readings of all sequences into samples: what changed alone, and everything from time to time, so that no restore
 * has to look far back. Remembers how fast each one moves, for the margin of a restore that has no later sample.
 */
import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Position } from '../core/position.ts'
import {
  type SampledSequences,
  sequenceIdentity,
  sequenceKey,
  type SequenceReading,
  type SequenceSample,
} from '../core/transaction.ts'

const DAY_MS = 86_400_000

interface Advance {
  /** Of this day and of the day before it: together at least the last 24 hours. */
  today: bigint
  before: bigint
}

export class SequenceWatch {
  readonly #clock: Clock
  #known = new Map<string, SequenceReading>()
  readonly #advances = new Map<string, Advance>()
  #dayBegan: number
  #sinceFull: number = LIMITS.fullSampleEvery

  constructor(clock: Clock) {
    this.#clock = clock
    this.#dayBegan = clock.elapsed()
  }

  /** @param readings every sequence that can be read, taken after everything up to `at` was received */
  sample(at: Position, readings: readonly SequenceReading[]): SampledSequences {
    this.#turnDay()
    const now = new Map(readings.map((reading) => [sequenceIdentity(reading), reading]))
    const changed: SequenceReading[] = []
    const setBack = new Set<string>()
    for (const [key, reading] of now) {
      const before = this.#known.get(key)
      if (before === undefined) changed.push(reading)
      else if (isOther(before, reading)) {
        if (isSetBack(before, reading)) setBack.add(key)
        this.#see(key, before, reading)
        changed.push(reading)
      }
    }
    const names = new Set(readings.map(sequenceKey))
    const gone = [...this.#known.values()]
      .filter((before) => !names.has(sequenceKey(before)))
      .map(({ schema, name, oid }) => ({ schema, name, ...(oid === undefined ? {} : { oid }) }))
    for (const key of this.#known.keys()) if (!now.has(key)) this.#advances.delete(key)
    this.#known = now
    if (++this.#sinceFull >= LIMITS.fullSampleEvery) {
      this.#sinceFull = 0
      return { at, extent: 'full', samples: readings.map((reading) => this.#sampleOf(reading, setBack)) }
    }
    return {
      at,
      extent: 'changes',
      samples: changed.map((reading) => this.#sampleOf(reading, setBack)),
      gone,
    }
  }

  #see(key: string, before: SequenceReading, after: SequenceReading): void {
    const moved = BigInt(after.lastValue) - BigInt(before.lastValue)
    const advance = BigInt(after.increment) < 0n ? -moved : moved
    if (advance <= 0n) return
    const held = this.#advances.get(key)
    if (held === undefined) this.#advances.set(key, { today: advance, before: 0n })
    else if (advance > held.today) held.today = advance
  }

  #turnDay(): void {
    const now = this.#clock.elapsed()
    if (now - this.#dayBegan < DAY_MS) return
    this.#dayBegan = now
    for (const advance of this.#advances.values()) {
      advance.before = advance.today
      advance.today = 0n
    }
  }

  #sampleOf(reading: SequenceReading, setBack: ReadonlySet<string>): SequenceSample {
    const { schema, name, oid, lastValue, isCalled } = reading
    const held = this.#advances.get(sequenceIdentity(reading))
    const advance = held === undefined ? 0n : held.today > held.before ? held.today : held.before
    return {
      schema,
      name,
      ...(oid === undefined ? {} : { oid }),
      lastValue,
      isCalled,
      ...(advance === 0n ? {} : { advance: String(advance) }),
      ...(setBack.has(sequenceIdentity(reading)) ? { setBack: true as const } : {}),
    }
  }
}

function isOther(before: SequenceReading, after: SequenceReading): boolean {
  return (
    sequenceKey(before) !== sequenceKey(after) ||
    before.lastValue !== after.lastValue ||
    before.isCalled !== after.isCalled ||
    before.file !== after.file
  )
}

/** A value set downwards, RESTART, TRUNCATE … RESTART IDENTITY, a new round of CYCLE: none of them has a record. */
function isSetBack(before: SequenceReading, after: SequenceReading): boolean {
  const moved = BigInt(after.lastValue) - BigInt(before.lastValue)
  const isBack = BigInt(after.increment) < 0n ? moved > 0n : moved < 0n
  return isBack || before.file !== after.file || (before.isCalled && !after.isCalled)
}

/** Which reading of the schema the store has: DDL records that it does not show have to stay. */
import { expect, test } from 'vitest'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { type Position, positionOf } from '../../services/core/position.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { SchemaLog } from '../../services/replicator/schema-log.ts'

const at = (n: bigint): Position => positionOf(n)

test('a reading is durable once the store has what the log took after it', async () => {
  const signal = new AbortController().signal
  let read = 0
  const source = Object.assign(new MemorySource([]), {
    schema: () =>
      Promise.resolve({
        reading: `r${++read}`,
        snapshot: `${read}:${read}:`,
        ddlSeen: ['7'],
        statements: [],
        notes: [],
      }),
  })
  const schema = new SchemaLog({
    source,
    log: new DirectChangeLog(),
    schemaMs: 1,
    reading: { reading: 'r0', snapshot: '0:0:', digest: '', head: '0/1' },
    clock: systemClock,
    randomness: systemRandomness,
  })
  const reads = async (): Promise<void> => {
    schema.want(at(1n))
    await schema.settle(signal)
  }
  schema.passes(at(10n))
  await reads()
  // Nothing came after it: the store may have all up to here without it.
  schema.passes(at(10n))
  expect(schema.durableReading(at(10n))).toBe('0:0:')
  schema.passes(at(12n))
  await reads()
  expect(schema.durableReading(at(11n))).toBe('0:0:')
  schema.passes(at(20n))
  expect(schema.durableReading(at(12n))).toBe('1:1:')
  expect(schema.durableReading(at(19n))).toBe('1:1:')
  expect(schema.durableReading(at(20n))).toBe('2:2:')
})

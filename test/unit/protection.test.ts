/** When changes that came count as not protected. */
import { expect, test } from 'vitest'
import { protection, WaitingChanges } from '../../services/app/operations/protection.ts'
import { positionOf } from '../../services/core/position.ts'
import type { Generation } from '../../services/repository/generation.ts'

test('waiting counts from the oldest change that is not durable, never from one that is', () => {
  const waiting = new WaitingChanges()
  waiting.see(positionOf(10n), positionOf(10n), 0)
  expect(waiting.sinceMs(5_000)).toBe(0)
  waiting.see(positionOf(20n), positionOf(10n), 6_000)
  waiting.see(positionOf(30n), positionOf(10n), 9_000)
  expect(waiting.sinceMs(10_000)).toBe(4_000)
  // The first of the two is durable.
  waiting.see(positionOf(30n), positionOf(20n), 11_000)
  expect(waiting.sinceMs(12_000)).toBe(3_000)
  waiting.see(positionOf(40n), positionOf(40n), 13_000)
  expect(waiting.sinceMs(14_000)).toBe(0)
})

const AT = Date.parse('2026-01-01T00:00:00Z')
const generation = {
  base: {},
  bases: [{ entry: { closedAt: '2026-01-01T00:00:00.000000Z' }, writtenAt: '2026-01-01T00:00:00.000Z' }],
  segments: {},
  asOf: '2026-01-01T00:01:00.000000Z',
} as unknown as Generation

test('too long without being durable, or without any word of the source, is not protected', () => {
  const found = {
    sourceNow: AT + 60_000,
    waitingMs: 0,
    rollMs: 5_000,
    trouble: undefined,
    unfit: undefined,
    damaged: 0,
  }
  expect(protection(undefined, found)).toMatchObject({ ok: false, reason: 'no base is durable yet' })
  expect(protection(generation, found)).toEqual({
    ok: true,
    reason: undefined,
    knownUntil: '2026-01-01T00:01:00.000000Z',
  })
  expect(protection(generation, { ...found, waitingMs: 35_000 }).ok).toBe(true)
  expect(protection(generation, { ...found, waitingMs: 35_001, trouble: 'STORE_FULL: full' }).reason).toBe(
    'changes that came 35 s ago are not durable; STORE_FULL: full',
  )
  expect(protection(generation, { ...found, sourceNow: AT + 155_000 }).ok).toBe(true)
  expect(protection(generation, { ...found, sourceNow: AT + 155_001 }).reason).toMatch(
    /^nothing behind 2026-01-01T00:01:00.000000Z is known: that was 95 s ago$/,
  )
  expect(protection(generation, { ...found, unfit: 'EVENT_TRIGGERS: gone' })).toMatchObject({
    ok: false,
    reason: 'tidemark up runs, and would not start again: EVENT_TRIGGERS: gone',
  })
  expect(protection(generation, { ...found, damaged: 2 })).toMatchObject({
    ok: false,
    reason: 'the newest points cannot be restored: 2 objects are damaged in every store (tidemark doctor)',
  })
})

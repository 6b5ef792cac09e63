/** What comes again from the slot must be what is stored. */
import { expect, test } from 'vitest'
import { HistoryProof } from '../../services/engines/postgres/source/history-proof.ts'
import { type Position, positionOf } from '../../services/core/position.ts'

const at = (n: number): Position => positionOf(BigInt(n))
/** Commits at 10, 20, … 60, in cuts of two; a heartbeat says that nothing came up to 100. */
const cut = (
  from: number,
): {
  from: Position
  to: Position
  transactions: bigint
  firstCommittedAt: bigint
  lastCommittedAt: bigint
} => ({
  from: at(from),
  to: at(from + 20),
  transactions: 2n,
  firstCommittedAt: BigInt(from + 10),
  lastCommittedAt: BigInt(from + 20),
})
const stored = { from: at(0), end: at(100), cuts: [cut(0), cut(20), cut(40)] }

function play(
  confirmed: number,
  commits: readonly (readonly [lsn: number, time?: number])[],
  reached = 100,
): string {
  const proof = new HistoryProof(stored, at(confirmed))
  try {
    for (const [lsn, time = lsn] of commits)
      proof.see({ timeline: 1, position: at(lsn), transactionId: 1, committedAt: BigInt(time) })
    proof.passed(at(reached))
  } catch (error) {
    return (error as { code: string }).code
  }
  return proof.isComplete ? 'proven' : 'not yet'
}

test('the same transactions again, from wherever the slot stands', () => {
  const all = [10, 20, 30, 40, 50, 60].map((lsn) => [lsn] as const)
  expect(play(0, all)).toBe('proven')
  expect(play(25, all.slice(2))).toBe('proven')
  expect(play(35, all.slice(3))).toBe('proven')
  expect(play(61, [])).toBe('proven')
  expect(play(100, [])).toBe('proven')
  expect(play(25, all.slice(2), 99)).toBe('not yet')
})

test('others in their place', () => {
  const rest = [30, 40, 50, 60].map((lsn) => [lsn] as const)
  // Missing, more, elsewhere, at another time, where nothing was.
  expect(play(25, rest.slice(0, 3))).toBe('SOURCE_DIVERGED')
  expect(play(25, [])).toBe('SOURCE_DIVERGED')
  expect(play(25, [...rest.slice(0, 2), [45], ...rest.slice(2)])).toBe('SOURCE_DIVERGED')
  expect(play(25, [[31, 30], ...rest.slice(1, 3), [61, 60]])).toBe('SOURCE_DIVERGED')
  expect(play(25, [...rest.slice(0, 3), [60, 61]])).toBe('SOURCE_DIVERGED')
  expect(play(20, [[30, 31], ...rest.slice(1)])).toBe('SOURCE_DIVERGED')
  expect(play(25, [...rest, [70]])).toBe('SOURCE_DIVERGED')
})

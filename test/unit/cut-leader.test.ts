/** The leader's orders: an answer counts whenever it comes, and what fails is ordered again. */
import { expect, test } from 'vitest'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { positionOf } from '../../services/core/position.ts'
import type { CutBoard } from '../../services/core/ports/cut-board.ts'
import { CutLeader } from '../../services/compactor/cut-leader.ts'
import { type CutAnswer, openOrder } from '../../services/compactor/cut-order.ts'
import type { OpenCut } from '../../services/compactor/open-cut.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

const place = { log: 'l', from: 0n, at: 3n, since: 0, unit: '' }
const cut = {
  from: positionOf(1n),
  firstPlace: place,
  place,
  transactions: [{ position: positionOf(9n) }],
} as unknown as OpenCut
const made = {
  objects: [],
  index: { name: 'i', bytes: '1', sha256: 'a'.repeat(64), key: 'k' },
  bytes: 1,
  transactions: 1,
  changes: 1,
}

async function orders(
  post: (leader: CutLeader, answer: (over?: Partial<CutAnswer>) => CutAnswer, count: number) => void,
): Promise<number[]> {
  const { repository } = await MemoryPipeline.create([])
  const lanes: number[] = []
  const answer = (over: Partial<CutAnswer> = {}): CutAnswer => ({
    kind: 'answer',
    stream: repository.catalog.stream,
    term: 2,
    number: 1,
    made,
    error: null,
    ...over,
  })
  const board = {
    lanes: 3,
    post: (body: Buffer) => {
      lanes.push(openOrder(repository, body)!.lane)
      if (lanes.length > 20) throw new Error('it asks for ever')
      post(leader, answer, lanes.length)
      return Promise.resolve()
    },
  } as unknown as CutBoard
  // Time flies: patience and pauses are over at once, behind what is already there.
  const clock = {
    ...systemClock,
    elapsed: () => 0,
    now: () => 0,
    sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
  }
  const leader: CutLeader = new CutLeader({
    board,
    repository,
    generation: 1,
    term: 2,
    segmentBytes: 1,
    clock,
    randomness: systemRandomness,
  })
  await expect(leader.build(cut, AbortSignal.timeout(60_000))).resolves.toMatchObject({ changes: 1 })
  return lanes
}

test('without an answer the next lane is asked', async () => {
  expect(await orders((leader, answer, count) => count === 3 && leader.see(answer()))).toEqual([1, 2, 0])
})

test('an answer that comes while the order is posted again counts, though the post fails', async () => {
  const lanes = await orders((leader, answer, count) => {
    if (count !== 2) return
    leader.see(answer())
    throw new TidemarkError('LOG_UNREACHABLE', 'away')
  })
  expect(lanes.length).toBeLessThanOrEqual(3)
})

test('answers of another term, and errors that may pass, are not taken for the cut', async () => {
  const lanes = await orders((leader, answer, count) => {
    if (count === 1) leader.see(answer({ term: 1 }))
    if (count === 2) leader.see(answer({ made: null, error: { code: 'STORE_UNREACHABLE', message: 'away' } }))
    if (count === 3) leader.see(answer())
  })
  expect(lanes.length).toBe(3)
})

test("an answer that comes while another member's error is waited out counts: its member does not build it again", async () => {
  const lanes = await orders((leader, answer, count) => {
    if (count !== 1) return
    leader.see(answer({ made: null, error: { code: 'STORE_UNREACHABLE', message: 'away' } }))
    // In the pause, which is over one turn later.
    setImmediate(() => leader.see(answer()))
  })
  expect(lanes.length).toBeLessThanOrEqual(2)
})

test('a leader that another one has followed does not wait for ever for those who build', async () => {
  const { repository } = await MemoryPipeline.create([])
  const term = await repository.claim(0)
  let posts = 0
  const board = {
    lanes: 3,
    post: async () => {
      if (++posts > 20) throw new Error('it asks for ever')
      if (posts > 1) return
      await repository.append({ kind: 'claim', lane: 0, term: term + 1, writer: systemRandomness.uuid() })
    },
  } as unknown as CutBoard
  const clock = {
    ...systemClock,
    elapsed: () => 0,
    sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
  }
  const leader = new CutLeader({
    board,
    repository,
    generation: 1,
    term,
    segmentBytes: 1,
    clock,
    randomness: systemRandomness,
  })
  await expect(leader.build(cut, AbortSignal.timeout(60_000))).rejects.toMatchObject({
    code: 'WRITER_FENCED',
  })
})

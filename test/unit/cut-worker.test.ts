/** Which orders a member builds: those of the claim in the ledger, whatever else lies on the board. */
import { expect, test } from 'vitest'
import { CutWorker, type OrderedRange } from '../../services/compactor/cut-worker.ts'
import type { CutOrder } from '../../services/compactor/cut-order.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import type { CutBoard } from '../../services/core/ports/cut-board.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

test("orders of other terms hold nothing up: an earlier leader's, and a higher one's of a ledger that was rolled back", async () => {
  const { repository } = await MemoryPipeline.create([])
  await repository.claim(0)
  const term = await repository.claim(0)
  const order = (of: number, number: number): CutOrder => ({
    kind: 'order',
    stream: repository.catalog.stream,
    term: of,
    number,
    generation: 1,
    lane: number % 2,
    from: '0',
    first: String(100 * of + number),
    last: '9',
    since: 0,
    after: '0/0',
    to: 'F/FFFFFFFF',
    segmentBytes: 1,
  })
  const built: string[] = []
  const stop = new AbortController()
  const enough = Promise.withResolvers<void>()
  const board = { lanes: 2, post: () => Promise.resolve() } as unknown as CutBoard
  const parts = (range: OrderedRange): AsyncIterable<never> => {
    built.push(String(range.first))
    if (built.length === 3) enough.resolve()
    throw new Error('enough')
  }
  const worker = new CutWorker({
    board,
    repository,
    generation: 1,
    parts,
    clock: systemClock,
    randomness: systemRandomness,
  })
  worker.lanes = [0, 1]
  for (const number of [1, 2, 3]) worker.see(order(term + 40, number))
  worker.see(order(term - 1, 4))
  for (const number of [1, 2]) worker.see(order(term, number))
  const working = worker.work(stop.signal, stop.signal)
  setTimeout(() => worker.see(order(term, 3)), 20)
  await enough.promise
  stop.abort(new DOMException('enough', 'AbortError'))
  await working
  expect(built.sort()).toEqual([1, 2, 3].map((number) => String(100 * term + number)))
})

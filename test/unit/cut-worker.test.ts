/** Which orders a member builds: those of the claim in the ledger, whatever else lies on the board; and what becomes of those it builds. */
import { startAt } from '../../services/core/ports/source.ts'
import { expect, test } from 'vitest'
import { CutWorker, type CutWorkerOptions } from '../../services/compactor/cut-worker.ts'
import { type CutOrder, openAnswer } from '../../services/compactor/cut-order.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import type { CutBoard } from '../../services/core/ports/cut-board.ts'
import { ORIGIN } from '../../services/core/position.ts'
import type { TransactionPart } from '../../services/core/transaction.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

const TABLE = { oid: 16400, name: 'a', columns: ['x'], identity: 'default' } as const

interface Member {
  readonly pipeline: MemoryPipeline
  readonly worker: CutWorker
  readonly working: Promise<void>
  order(term: number, number: number, lane?: number): CutOrder
  /** Stops it; resolves once it has ended. */
  end(): Promise<void>
}

/** A member that has both lanes. */
async function member(
  parts: (pipeline: MemoryPipeline) => CutWorkerOptions['parts'],
  post: (body: Buffer, pipeline: MemoryPipeline) => Promise<void> = () => Promise.resolve(),
): Promise<Member> {
  const pipeline = await MemoryPipeline.create([TABLE])
  const { repository } = pipeline
  const stop = new AbortController()
  const worker = new CutWorker({
    board: { lanes: 2, post: (body: Buffer) => post(body, pipeline) } as unknown as CutBoard,
    repository,
    generation: 1,
    parts: parts(pipeline),
    clock: systemClock,
    randomness: systemRandomness,
  })
  worker.lanes = [0, 1]
  const working = worker.work(stop.signal, stop.signal)
  return {
    pipeline,
    worker,
    working,
    order: (term, number, lane = number % 2) => ({
      kind: 'order',
      stream: repository.catalog.stream,
      term,
      number,
      generation: 1,
      lane,
      from: '0',
      first: String(100 * term + number),
      last: '9',
      since: 0,
      after: '0/0',
      to: 'F/FFFFFFFF',
      segmentBytes: 1000,
    }),
    end: () => {
      stop.abort(new DOMException('enough', 'AbortError'))
      return working
    },
  }
}

/** The source's first transaction, and no more. */
function firstOf(pipeline: MemoryPipeline): CutWorkerOptions['parts'] {
  return async function* (_, signal): AsyncIterable<TransactionPart> {
    for await (const item of pipeline.source.stream(startAt(ORIGIN), signal))
      if (item.kind === 'changes') {
        yield item
        return
      }
  }
}

test("orders of other terms hold nothing up: an earlier leader's, and a higher one's of a ledger that was rolled back", async () => {
  const built: string[] = []
  const enough = Promise.withResolvers<void>()
  const { pipeline, worker, order, end } = await member(() => (range) => {
    built.push(String(range.first))
    if (built.length === 3) enough.resolve()
    throw new Error('enough')
  })
  await pipeline.repository.claim(0)
  const term = await pipeline.repository.claim(0)
  for (const number of [1, 2, 3]) worker.see(order(term + 40, number))
  worker.see(order(term - 1, 4))
  for (const number of [1, 2]) worker.see(order(term, number))
  setTimeout(() => worker.see(order(term, 3)), 20)
  await enough.promise
  await end()
  expect(built.sort()).toEqual([1, 2, 3].map((number) => String(100 * term + number)))
})

test('what is built for a leader that another one has followed is left, and what waits behind it goes on', async () => {
  const begun = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<number>()
  const { pipeline, worker, order, end } = await member(
    (of) => (range, signal) => {
      if (range.first >= 200n) return firstOf(of)(range, signal)
      return (async function* (): AsyncIterable<TransactionPart> {
        begun.resolve()
        // What the log has no more never comes.
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        yield* firstOf(of)(range, signal)
      })()
    },
    (body, { repository }) => {
      answered.resolve(openAnswer(repository, body)!.term)
      return Promise.resolve()
    },
  )
  pipeline.source.commit([{ kind: 'insert', table: 'a', id: 1, values: ['x'] }])
  const earlier = await pipeline.repository.claim(0)
  expect(earlier).toBe(1)
  for (const number of [1, 2]) worker.see(order(earlier, number))
  await begun.promise
  const term = await pipeline.repository.claim(0)
  worker.see(order(term, 1))
  await expect(answered.promise).resolves.toBe(term)
  await end()
})

test('a cut that is ordered again is built once, and answered again: the board may have lost the answer', async () => {
  const answers: number[] = []
  let built = 0
  const posted = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const { pipeline, worker, order, end } = await member(
    (of) => (range, signal) => {
      built++
      return firstOf(of)(range, signal)
    },
    (body, { repository }) => {
      const answer = openAnswer(repository, body)!
      expect(answer.made?.transactions).toBe(1)
      posted[answers.push(answer.number) - 1]?.resolve()
      return Promise.resolve()
    },
  )
  pipeline.source.commit([{ kind: 'insert', table: 'a', id: 1, values: ['x'] }])
  const term = await pipeline.repository.claim(0)
  worker.see(order(term, 7, 0))
  await posted[0]!.promise
  worker.see(order(term, 7, 1))
  await posted[1]!.promise
  await end()
  expect(answers).toEqual([7, 7])
  expect(built).toBe(1)
})

test('a board that refuses answers for good ends the work with what it says', async () => {
  const { pipeline, worker, order, working } = await member(firstOf, () =>
    Promise.reject(new TidemarkError('LOG_REFUSED', 'not allowed to write')),
  )
  pipeline.source.commit([{ kind: 'insert', table: 'a', id: 1, values: ['x'] }])
  worker.see(order(await pipeline.repository.claim(0), 1))
  await expect(working).rejects.toMatchObject({ code: 'LOG_REFUSED' })
})

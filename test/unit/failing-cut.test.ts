/** A cut that fails ends the compactor with what it says, whatever the cuts beside it wait for; nothing of it goes on afterwards. */
import { startAt } from '../../services/core/ports/source.ts'
import { expect, test } from 'vitest'
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { ORIGIN } from '../../services/core/position.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'

const TABLE = { oid: 16400, name: 'a', columns: ['x'], identity: 'default' } as const

test.each([
  ['while the log is read', 1, 3],
  ['while there is no room for another cut', 1, 2],
  ['while the last cuts are stored', 2, 9],
])('%s', async (_, cuts, cutsInFlight) => {
  const { repository, source } = await MemoryPipeline.create([TABLE])
  const log = new DirectChangeLog()
  const begun: string[] = []
  const left: string[] = []
  const failing = Promise.withResolvers<void>()
  const running = new Compactor({
    log,
    repository,
    generation: 1,
    term: await repository.claim(0),
    // Each transaction is a cut.
    policy: { segmentBytes: 1, ageMs: 3_600_000 },
    clock: systemClock,
    randomness: systemRandomness,
    events: {},
    cutsInFlight,
    build: async (cut, signal) => {
      const to = String(cut.transactions.at(-1)!.transactionId)
      // The first one is answered by nobody.
      if (begun.push(to) <= cuts) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        left.push(to)
        signal.throwIfAborted()
      }
      await failing.promise
      throw new TidemarkError('LOG_HOLE', 'units are gone')
    },
  }).run(new AbortController().signal)
  running.catch(() => undefined)
  const stream = new AbortController()
  for (let id = 0; id <= cuts; id++) source.commit([{ kind: 'insert', table: 'a', id, values: ['x'] }])
  let count = 0
  for await (const item of source.stream(startAt(ORIGIN), stream.signal)) {
    await log.append(item, stream.signal)
    if (++count > cuts) break
  }
  if (cutsInFlight === 9) log.end()
  failing.resolve()
  await expect(running).rejects.toMatchObject({ code: 'LOG_HOLE' })
  expect(begun.length).toBe(cuts + 1)
  expect(left).toEqual(begun.slice(0, cuts))
})

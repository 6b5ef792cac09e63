/** What metrics say of the source: never older than is told, and no wait of its own. */
import { expect, test } from 'vitest'
import { SourceGauge } from '../../services/app/daemon/source-gauge.ts'
import { Supervisor } from '../../services/app/daemon/supervisor.ts'
import { type Clock, systemRandomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { LIMITS } from '../../services/core/limits.ts'
import type { HeldLog } from '../../services/core/ports/source.ts'
import { ORIGIN, type Position, positionOf } from '../../services/core/position.ts'

/** Time passes only in the waits between the questions. */
class SteppedClock implements Clock {
  #at = 0
  readonly #stop: AbortController
  #left: number
  constructor(stop: AbortController, waits: number) {
    this.#stop = stop
    this.#left = waits
  }
  now(): number {
    return this.#at
  }
  elapsed(): number {
    return this.#at
  }
  pass(ms: number): void {
    this.#at += ms
  }
  sleep(ms: number): Promise<void> {
    this.#at += ms
    if (--this.#left <= 0) this.#stop.abort(new DOMException('enough', 'AbortError'))
    return Promise.resolve()
  }
}

const SLOT: HeldLog = {
  name: 's',
  confirmed: ORIGIN,
  active: true,
  state: 'reserved',
  isLost: false,
  safeBytes: 5_000,
}

function source(heads: readonly (Position | Promise<Position> | Error)[]) {
  let at = 0
  return {
    head: () => {
      const next = heads[Math.min(at++, heads.length - 1)]!
      return next instanceof Error ? Promise.reject(next) : Promise.resolve(next)
    },
    moment: () => Promise.resolve({ at: positionOf(1n), time: 5_000_000n }),
    held: () => Promise.resolve(SLOT),
  }
}

/** Asks until it is told to end. */
async function follow(
  gauge: SourceGauge,
  clock: Clock,
  asked: Parameters<SourceGauge['task']>[0],
  stop: AbortSignal,
) {
  await new Supervisor({ tasks: [gauge.task(asked)], clock, randomness: systemRandomness }).run(stop)
}

test('two answers give the rate, over the time between them', async () => {
  const stop = new AbortController()
  const clock = new SteppedClock(stop, 2)
  const gauge = new SourceGauge(clock)
  const asked = source([positionOf(1_000n), positionOf(3_000n)])
  await follow(gauge, clock, () => asked, stop.signal)
  expect(gauge.reading).toMatchObject({ head: 3_000n, safeBytes: 5_000, walBytesPerSecond: 2_000 })
})

test('figures of a source that says nothing any more are not told for long', async () => {
  const stop = new AbortController()
  const clock = new SteppedClock(stop, 9)
  const gauge = new SourceGauge(clock)
  const asked = source([positionOf(1_000n), new Promise<Position>(() => undefined)])
  const following = follow(gauge, clock, () => asked, stop.signal)
  while (gauge.reading === undefined) await Promise.resolve()
  clock.pass(LIMITS.sourceGauge.trustMs + 1)
  expect(gauge.reading).toBeUndefined()
  // Told to end, it ends, although the question is still open.
  stop.abort(new DOMException('stop', 'AbortError'))
  await following
})

test('an outage leaves no figures, a mistake of ours ends it', async () => {
  const stop = new AbortController()
  const clock = new SteppedClock(stop, 2)
  const gauge = new SourceGauge(clock)
  const out = source([positionOf(1_000n), new TidemarkError('SOURCE_UNREACHABLE', 'out')])
  await follow(gauge, clock, () => out, stop.signal)
  expect(gauge.reading).toBeUndefined()
  const wrong = source([new TypeError('ours')])
  const other = new AbortController()
  const otherClock = new SteppedClock(other, 2)
  await expect(
    follow(new SourceGauge(otherClock), otherClock, () => wrong, other.signal),
  ).rejects.toMatchObject({ code: 'INTERNAL' })
})

test('a source that is closed between two questions is not asked the second', async () => {
  const stop = new AbortController()
  const clock = new SteppedClock(stop, 1)
  const gauge = new SourceGauge(clock)
  let isThere = true
  let slots = 0
  const closing = {
    head: () => {
      isThere = false
      return Promise.resolve(positionOf(1n))
    },
    moment: () => Promise.resolve({ at: positionOf(1n), time: 0n }),
    held: () => {
      slots++
      return Promise.resolve(SLOT)
    },
  }
  await follow(gauge, clock, () => (isThere ? closing : undefined), stop.signal)
  expect(slots).toBe(0)
})

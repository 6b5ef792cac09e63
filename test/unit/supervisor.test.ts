/** Tasks beside each other, under a clock that moves when everybody waits: when they run, what their failures mean, and how they stop. */
import { expect, test } from 'vitest'
import { Supervisor, type Task, whileOutage } from '../../services/app/daemon/supervisor.ts'
import type { Clock, Randomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'

const away = new TidemarkError('STORE_UNREACHABLE', 'away')
const refused = new TidemarkError('LOG_REFUSED', 'refused')
const never = new AbortController().signal
/** Jitter in the middle: pauses are what the limits say. */
const randomness: Randomness = { bytes: () => Buffer.from([127]), uuid: () => '' }

/** Each wait is over in the order of the times that they end at; time passes once nobody has anything else to do. */
class WaitingClock implements Clock {
  #at = 0
  readonly #waits = new Set<{ readonly until: number; readonly end: () => void }>()
  #isMoving = false

  now(): number {
    return this.#at
  }
  elapsed(): number {
    return this.#at
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error)
        return
      }
      const wait = { until: this.#at + ms, end: resolve }
      this.#waits.add(wait)
      signal?.addEventListener('abort', () => {
        this.#waits.delete(wait)
        reject(signal.reason as Error)
      })
      this.#move()
    })
  }
  #move(): void {
    if (this.#isMoving) return
    this.#isMoving = true
    setImmediate(() => {
      this.#isMoving = false
      const next = [...this.#waits].sort((a, b) => a.until - b.until)[0]
      if (next === undefined) return
      this.#waits.delete(next)
      this.#at = next.until
      next.end()
      if (this.#waits.size > 0) this.#move()
    })
  }
}

/** Until it is told to end. */
function idle(signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => {
    const end = (): void => reject(signal.reason as Error)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end)
  })
}

function supervise(tasks: readonly Task[], clock = new WaitingClock()) {
  const supervisor = new Supervisor({ tasks, clock, randomness, bounds: { drainMs: 1_000, leaveMs: 500 } })
  return { supervisor, clock }
}

/** Ends everything once it was told so often. */
function times(count: number): { readonly main: Task; readonly tell: () => void } {
  const over = Promise.withResolvers<void>()
  let left = count
  return {
    main: { name: 'main', isMain: true, drains: true, run: () => over.promise },
    tell: () => void (--left <= 0 && over.resolve()),
  }
}

test('each runs when it is due, and not while what it needs is not so', async () => {
  const { main, tell } = times(4)
  const ran: string[] = []
  const clock = new WaitingClock()
  const mark = (name: string) => async () => {
    ran.push(`${name} ${clock.now()}`)
    tell()
  }
  const tasks: Task[] = [
    main,
    { name: 'a', due: { firstMs: 10, everyMs: 100 }, run: mark('a') },
    { name: 'b', due: { everyMs: 100 }, needs: { are: () => clock.now() >= 40, lookMs: 25 }, run: mark('b') },
    { name: 'once', run: mark('once') },
  ]
  expect(await supervise(tasks, clock).supervisor.run(never)).toBe(true)
  expect(ran).toEqual(['once 0', 'a 10', 'b 50', 'a 110'])
})

test('an outage is tried again behind pauses that grow, and begin short once it got on', async () => {
  const clock = new WaitingClock()
  const pauses: number[] = []
  let runs = 0
  const task: Task = {
    name: 'stream',
    isMain: true,
    async run({ gotOn }) {
      if (++runs === 4) gotOn()
      if (runs < 6) throw away
    },
    failed: whileOutage,
    onPause: (error, ms) => void pauses.push(error === away ? Math.round(ms / 100) : -1),
  }
  await supervise([task], clock).supervisor.run(never)
  expect(pauses).toEqual([2, 4, 8, 2, 4])
})

test('what is reported is tried when it is due again, and disturbs nobody', async () => {
  const { main, tell } = times(3)
  const at: number[] = []
  const clock = new WaitingClock()
  const task: Task = {
    name: 'upkeep',
    due: { everyMs: 10, reportedMs: 70 },
    async run() {
      at.push(clock.now())
      tell()
      if (at.length === 1) throw refused
    },
    failed: () => ({ meaning: 'reported' }),
  }
  expect(await supervise([main, task], clock).supervisor.run(never)).toBe(true)
  expect(at).toEqual([0, 70, 80])
})

test('a failure that nobody expects ends everything, and is thrown once all have left', async () => {
  let hasLeft = false
  const told: unknown[] = []
  const tasks: Task[] = [
    {
      name: 'main',
      isMain: true,
      drains: true,
      async run({ signal }) {
        await idle(signal).catch(() => undefined)
        hasLeft = true
        throw away
      },
      failed: whileOutage,
    },
    { name: 'beside', due: { firstMs: 5, everyMs: 5 }, run: () => Promise.reject(new TypeError('ours')) },
  ]
  const clock = new WaitingClock()
  const onFailure = (error: unknown): void => void told.push(hasLeft, (error as TidemarkError).code)
  await expect(new Supervisor({ tasks, clock, randomness, onFailure }).run(never)).rejects.toMatchObject({
    code: 'INTERNAL',
    cause: { message: 'ours' },
  })
  expect(hasLeft).toBe(true)
  expect(told).toEqual([false, 'INTERNAL'])
})

test('a drain lets those finish that drain, sends the others away, and runs what comes last', async () => {
  const finish = Promise.withResolvers<void>()
  const done: string[] = []
  const tasks: Task[] = [
    {
      name: 'main',
      isMain: true,
      drains: true,
      async run({ signal, draining }) {
        await idle(draining).catch(() => undefined)
        await finish.promise
        done.push(`finished ${signal.aborted}`)
      },
    },
    {
      name: 'beside',
      async run({ signal }) {
        await idle(signal).catch(() => undefined)
        done.push('left')
        finish.resolve()
        throw refused
      },
    },
    {
      name: 'anchors',
      due: { firstMs: 9e9, everyMs: 1, andLast: true },
      run: async () => void done.push('last'),
    },
  ]
  const { supervisor } = supervise(tasks)
  const running = supervisor.run(never)
  expect(supervisor.isStopping).toBe(false)
  supervisor.drain()
  supervisor.drain()
  expect(supervisor.isStopping).toBe(true)
  expect(await running).toBe(true)
  expect(done).toEqual(['left', 'finished false', 'last'])
})

test('what the main task needs to finish goes on through a drain, and no longer', async () => {
  const answered: string[] = []
  const enough = Promise.withResolvers<void>()
  let isDraining = false
  const tasks: Task[] = [
    {
      name: 'builder',
      isMain: true,
      drains: true,
      async run({ draining }) {
        await idle(draining).catch(() => undefined)
        isDraining = true
        await enough.promise
      },
    },
    {
      name: 'board',
      serves: true,
      due: { everyMs: 10 },
      async run({ signal }) {
        if (isDraining) answered.push(`answered ${signal.aborted}`)
        if (answered.length === 2) enough.resolve()
      },
    },
  ]
  const { supervisor } = supervise(tasks)
  const running = supervisor.run(never)
  supervisor.drain()
  expect(await running).toBe(true)
  expect(answered).toEqual(['answered false', 'answered false'])
})

test('told to drain before it runs, it begins nothing', async () => {
  let runs = 0
  const { supervisor } = supervise([
    { name: 'main', isMain: true, drains: true, run: async () => void runs++ },
  ])
  supervisor.drain()
  expect(await supervisor.run(never)).toBe(true)
  expect(runs).toBe(0)
})

test('a stop is bounded: a drain that takes too long becomes leaving, and who does not leave is left behind', async () => {
  const stubborn: Task = {
    name: 'stubborn',
    isMain: true,
    drains: true,
    run: () => new Promise(() => undefined),
  }
  let told = 0
  const clock = new WaitingClock()
  const slow: Task = {
    name: 'slow',
    drains: true,
    run: ({ signal }) => idle(signal).catch(() => void (told = clock.now())),
  }
  const { supervisor } = supervise([stubborn, slow], clock)
  const running = supervisor.run(never)
  supervisor.drain()
  expect(await running).toBe(false)
  expect(told).toBe(1_000)
  expect(clock.now()).toBe(1_500)
})

test('with a failure that drains, the others finish first', async () => {
  const done: string[] = []
  const tasks: Task[] = [
    {
      name: 'compactor',
      isMain: true,
      drains: true,
      run: ({ draining, signal }) =>
        idle(draining).catch(() => void done.push(signal.aborted ? 'cut off' : 'finished')),
    },
    { name: 'replicator', run: () => Promise.reject(refused), failed: () => ({ meaning: 'drains' }) },
  ]
  await expect(supervise(tasks).supervisor.run(never)).rejects.toBe(refused)
  expect(done).toEqual(['finished'])
})

test('an error that stands for another is the one that is waited for, and a mistake in judging ends it', async () => {
  const judged = (failed: NonNullable<Task['failed']>) =>
    supervise([{ name: 'main', isMain: true, run: () => Promise.reject(refused), failed }]).supervisor.run(
      never,
    )
  await expect(judged(() => ({ meaning: 'ends', error: away }))).rejects.toBe(away)
  await expect(judged(() => Promise.reject(new RangeError('judge')))).rejects.toThrow('judge')
})

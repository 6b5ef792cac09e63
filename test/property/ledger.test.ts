/**
 * The ledger under a model: random interleavings of writers, lost and late answers, litter, refreshes, checkpoints, keepers, copies and crashes.
 * Whatever happens, the ledger opens, everything that was acknowledged is in it once, and everybody reads the same.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Fate } from '../support/faulty-store.ts'
import { type Task, World, type WorldOptions } from '../support/ledger-world.ts'

const isSoak = process.env['TIDEMARK_TEST_SCOPE'] === 'soak'
const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const PATH = process.env['TIDEMARK_PATH']
const RUNS = Number(process.env['TIDEMARK_HISTORIES'] ?? (isSoak ? 10_000 : 60))

type Step =
  | { readonly kind: 'task'; readonly process: number; readonly task: Task }
  | { readonly kind: 'crash'; readonly process: number }
  | { readonly kind: 'land' | 'settle' | 'litter' }

const processes = fc.nat(2)
const task = fc.constantFrom<Task>(
  ...Array.from({ length: 5 }, () => 'segments' as const),
  'heartbeat',
  'audit',
  'audit',
  'refresh',
  'refresh',
  'checkpoint',
  'base',
  'gap',
  'close-gap',
  'retire',
  'undo',
  'remove',
)
const steps = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: fc.record({ kind: fc.constant('task' as const), process: processes, task }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), process: processes }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constantFrom('land' as const, 'settle' as const, 'litter' as const) }),
    },
  ),
  { minLength: 3, maxLength: 40 },
)
const faults = fc.record({
  fates: fc.array(fc.constantFrom<Fate>('pass', 'pass', 'pass', 'pass', 'lose', 'late', 'refuse'), {
    maxLength: 60,
  }),
  reads: fc.array(fc.nat(150), { maxLength: 8 }),
  synchronous: fc.boolean(),
})

async function history(
  taken: readonly Step[],
  options: Pick<WorldOptions, 'fates' | 'reads' | 'synchronous'>,
  scheduler: fc.Scheduler,
): Promise<void> {
  const world = await World.create({
    ...options,
    turn: (what) => scheduler.schedule(Promise.resolve(), what),
  })
  for (const step of taken) {
    if (step.kind === 'task') world.begin(step.process, step.task)
    else if (step.kind === 'crash') world.crash(step.process)
    else if (step.kind === 'land') world.tape.land()
    else if (step.kind === 'litter') {
      await world.litter()
    } else await scheduler.waitFor(world.settled())
  }
  await scheduler.waitFor(world.settled())
  await scheduler.waitFor(world.check())
  world.tape.land()
  await scheduler.waitFor(world.check())
}

test(`whatever is lost on the way, the ledger says what was acknowledged (TIDEMARK_SEED=${SEED})`, {
  timeout: isSoak ? 3_000_000 : 120_000,
}, async () => {
  await fc.assert(fc.asyncProperty(steps, faults, fc.scheduler(), history), {
    seed: SEED,
    numRuns: RUNS,
    ...(PATH === undefined ? {} : { path: PATH }),
    endOnFailure: isSoak,
  })
  expect(RUNS).toBeGreaterThan(0)
})

/** Cases that are much alike and dear: a few of them each time, others the next time. */
import { random } from './dice.ts'

/** Another one for each run; TIDEMARK_SEED repeats one. */
const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/**
 * As many of the cases as are named, in their order. All of them in a soak. The seed is printed with what it chose, so
 * that a run can be repeated.
 */
export function byTurns<T>(what: string, cases: readonly T[], count: number): T[] {
  if (process.env['TIDEMARK_TEST_SCOPE'] === 'soak') return [...cases]
  const next = random(SEED)
  const left = cases.map((_, index) => index)
  const taken = new Set(Array.from({ length: count }, () => left.splice(next(left.length), 1)[0]))
  const chosen = cases.filter((_, index) => taken.has(index))
  console.log(`${what}: ${count} of ${cases.length}, ${chosen.join(', ')} (TIDEMARK_SEED=${SEED})`)
  return chosen
}

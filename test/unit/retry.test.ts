/** Trying again, under a clock that stands until a pause moves it. */
import { expect, test } from 'vitest'
import type { Clock, Randomness } from '../../services/core/clock.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { evenPauses, growingPauses, isOutage, pausesWithin, retrying } from '../../services/core/retry.ts'

const away = new TidemarkError('STORE_UNREACHABLE', 'away')
const refused = new TidemarkError('LOG_REFUSED', 'refused')

/** @param onPause what happens during one */
function fakeClock(onPause: (ms: number) => void = () => undefined): Clock & { readonly slept: number[] } {
  const slept: number[] = []
  return {
    slept,
    now: () => 0,
    elapsed: () => slept.reduce((sum, ms) => sum + ms, 0),
    sleep: async (ms, signal) => {
      slept.push(ms)
      onPause(ms)
      signal?.throwIfAborted()
    },
  }
}

/** Throws each of these once, one after the other, and then returns how often it was called. */
function failing(...errors: readonly unknown[]): () => Promise<number> {
  let calls = 0
  return async () => {
    if (calls++ < errors.length) throw errors[calls - 1]
    return calls
  }
}

const bytes = (value: number): Randomness => ({ bytes: () => Buffer.from([value]), uuid: () => '' })

test('goes on until it works, and says each error once its pause is over', async () => {
  const clock = fakeClock()
  const said: string[] = []
  const onAgain = (error: TidemarkError) => said.push(`${error.code} after ${clock.slept.at(-1)}`)
  const options = { clock, pauses: [10, 20, 30], passes: isOutage, onAgain }
  expect(await retrying(failing(away, away), options)).toBe(3)
  expect(said).toEqual(['STORE_UNREACHABLE after 10', 'STORE_UNREACHABLE after 20'])
})

test('throws the last error where the pauses end, and at once what does not pass', async () => {
  const clock = fakeClock()
  const last = new TidemarkError('STORE_UNREACHABLE', 'the last one')
  const options = { clock, pauses: evenPauses(5, 2), passes: isOutage }
  await expect(retrying(failing(away, away, last), options)).rejects.toBe(last)
  expect(clock.slept).toEqual([5, 5])
  await expect(retrying(failing(refused), options)).rejects.toBe(refused)
  expect(clock.slept).toEqual([5, 5])
})

test('a mistake is asked about as the code that it has, and thrown as that', async () => {
  const asked: string[] = []
  const passes = (error: TidemarkError): boolean => {
    asked.push(error.code)
    return isOutage(error)
  }
  const tried = retrying(failing(new TypeError('ours')), { clock: fakeClock(), pauses: [1], passes })
  await expect(tried).rejects.toMatchObject({ code: 'INTERNAL' })
  expect(asked).toEqual(['INTERNAL'])
})

test('a signal ends a pause, and a try that fails meanwhile is the last', async () => {
  const stop = new AbortController()
  const why = new DOMException('stopped', 'AbortError')
  const { signal } = stop
  const inPause = fakeClock(() => stop.abort(why))
  const options = { clock: inPause, pauses: [1, 1], passes: isOutage, signal }
  await expect(retrying(failing(away, away), options)).rejects.toBe(why)
  expect(inPause.slept).toEqual([1])
  const clock = fakeClock()
  await expect(retrying(failing(away), { ...options, clock })).rejects.toBe(why)
  expect(clock.slept).toEqual([])
  // One that works is not thrown away.
  expect(await retrying(failing(), { ...options, clock })).toBe(1)
})

test('growing pauses double up to the longest, a quarter either way', () => {
  const first = (value: number): number[] => {
    const pauses = growingPauses(bytes(value), [100, 350])
    return Array.from({ length: 4 }, () => pauses.next().value)
  }
  expect(first(0)).toEqual([75, 150, 262.5, 262.5])
  expect(first(255)).toEqual([125, 250, 437.5, 437.5])
})

test('pauses within a time end with it, tries included', async () => {
  const clock = fakeClock()
  const slow = async (): Promise<never> => {
    await clock.sleep(30)
    throw away
  }
  const pauses = pausesWithin(clock, 10, 100)
  await expect(retrying(slow, { clock, pauses, passes: isOutage })).rejects.toBe(away)
  expect(clock.slept).toEqual([30, 10, 30, 10, 30])
})

/** One refusal names all tables that a point does not have. */
import { expect, test } from 'vitest'
import { TidemarkError } from '../../services/core/errors.ts'
import { UnreadableTables } from '../../services/rebuild/unreadable-tables.ts'

function refusal(names: readonly string[]): TidemarkError | undefined {
  const tables = new UnreadableTables()
  for (const name of names) tables.add(name, 'has a gap from 0/10: why')
  try {
    tables.refuse(() => ['--at 0/F'])
    return undefined
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
}

test('nothing is refused where every table can be read', () => {
  expect(refusal([])).toBeUndefined()
})

test('one table, however many gaps it has', () => {
  const error = refusal(['a.t', 'a.t'])
  expect(error?.code).toBe('GAP')
  expect(error?.message).toBe('a.t has a gap from 0/10: why')
  expect(error?.next).toBe('--at 0/F, or the same with --except-table a.t')
})

test('the next command leaves out all of them at once', () => {
  const error = refusal(['a.t', 'a.u', 'a.v'])
  expect(error?.message).toBe('a.t has a gap from 0/10: why; and 2 other tables')
  expect(error?.next).toBe(
    '--at 0/F, or the same with --except-table a.t --except-table a.u --except-table a.v',
  )
  const many = refusal(Array.from({ length: 130 }, (_, i) => `a.t${i}`))
  expect(many?.next.match(/--except-table /g)).toHaveLength(100)
  expect(many?.next).toMatch(/, and 30 more of which the next try tells$/)
})

test('a name that a shell would take apart is in quotes', () => {
  const error = refusal(['public.we ird.Ta ble', "public.it's", 'public.$(id)'])
  expect(error?.next).toMatch(
    / --except-table 'public\.we ird\.Ta ble' --except-table 'public\.it'\\''s' --except-table 'public\.\$\(id\)'$/,
  )
})

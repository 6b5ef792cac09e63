/** The table of errors is one, whoever declares a code, and what scripts rely on stays. */
import { expect, test } from 'vitest'
import { allCodes, CODES, factsOf, isErrorCode } from '../../services/core/error-codes.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { POSTGRES_CODES } from '../../services/engines/postgres/session/postgres-codes.ts'

test('what an engine declares is in the table, and replaces nothing', () => {
  const declared = Object.keys(POSTGRES_CODES)
  expect(declared.filter((code) => Object.hasOwn(CODES, code))).toEqual([])
  expect(allCodes().map(([code]) => code)).toEqual(expect.arrayContaining(declared))
  expect(allCodes().length).toBe(Object.keys(CODES).length + declared.length)
  expect(isErrorCode('SLOT_LOST')).toBe(true)
  expect(isErrorCode('toString')).toBe(false)
})

test('an error with such a code means what it meant', () => {
  const taken = new TidemarkError('SLOT_TAKEN', 'taken')
  expect([taken.exitCode, taken.retry]).toEqual([3, 'again'])
  expect(factsOf('SLOT_AHEAD')).toMatchObject({ exit: 3, retry: 'person' })
  expect([...new Set(Object.values(POSTGRES_CODES).map(({ exit }) => exit))]).toEqual([3])
})

/** `doctor` ends with the code of what it found, not with one for everything. */
import { expect, test } from 'vitest'
import { refusalOf } from '../../services/app/operations/refusal.ts'

const finding = (code: string, level: 'warn' | 'refuse' = 'refuse') => ({
  level,
  code,
  what: `what ${code}`,
  fix: 'fix',
})

test('faults of store and keys keep their codes', () => {
  expect(refusalOf([finding('SLOT', 'warn')])).toBeUndefined()
  const store = refusalOf([finding('SLOT', 'warn'), finding('STORE_UNREACHABLE'), finding('WAL_LEVEL')])
  expect(store).toMatchObject({ code: 'STORE_UNREACHABLE', exitCode: 4, next: 'fix' })
  expect(store?.means).not.toContain('source is unchanged')
  expect(refusalOf([finding('WAL_LEVEL')])).toMatchObject({
    code: 'SOURCE_UNSUITABLE',
    means: 'Nothing was changed.',
  })
})

/** Which minor versions are warned of. */
import { expect, test } from 'vitest'
import { serverFaults } from '../../services/engines/postgres/admin/server-faults.ts'

test.each([
  [140017, '14.19'],
  [150012, '15.14'],
  [160008, '16.10'],
  [170004, '17.6'],
])('%i is told to become %s', (version, settled) => {
  expect(serverFaults(version)).toMatchObject([
    { level: 'warn', fix: expect.stringContaining(`to ${settled} `) as string },
  ])
  expect(serverFaults(version + 1)).toEqual([])
})

test('versions that never had it', () => {
  for (const version of [180000, 180006, 190000]) expect(serverFaults(version)).toEqual([])
})

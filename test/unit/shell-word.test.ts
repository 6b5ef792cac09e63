/** Names in advised command lines, as a shell itself reads them. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { leavingOut, shellWord } from '../../services/core/shell-word.ts'

test.each([
  'public.t',
  'public.we ird.Ta ble',
  "a'b''c",
  'a"b\\c',
  '$(id)`id`',
  '*',
  '',
  '~',
  '#x',
  '-n',
  'a\nb',
  'größe',
  'x=1',
])('%j is one word', (name) => {
  const told = execFileSync('sh', ['-c', `printf '%s|' ${shellWord(name)}`], { encoding: 'utf8' })
  expect(told).toBe(`${name}|`)
})

test('what needs no quotes has none', () => {
  expect(shellWord('public.messages')).toBe('public.messages')
  expect(shellWord('0/18FD218@2')).toBe('0/18FD218@2')
  expect(leavingOut(['public.a', 'public.b c'])).toBe("--except-table public.a --except-table 'public.b c'")
})

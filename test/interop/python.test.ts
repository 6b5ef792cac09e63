/** Another implementation opens what we wrote: Python's aws-encryption-sdk and fastavro, where Python and PyPI are there. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Backup } from '../support/backup.ts'

const PACKAGES = [
  'aws-encryption-sdk==4.0.7',
  'fastavro==1.13.1',
  'zstandard==0.25.0',
  'backports.zstd==1.8.0',
]

/** Installed once by name, outside the checkout; undefined where that cannot be. */
function pythonPath(): string | undefined {
  const cache = join(
    process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
    'tidemark',
    'python-interop-1',
  )
  if (existsSync(join(cache, 'aws_encryption_sdk')) && existsSync(join(cache, 'fastavro'))) return cache
  try {
    mkdirSync(cache, { recursive: true })
    execFileSync(
      'python3',
      ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', cache, ...PACKAGES],
      { stdio: 'ignore', timeout: 100_000 },
    )
    return cache
  } catch {
    return undefined
  }
}

test('Python opens epoch keys and segments and reads every value', async (context) => {
  const path = pythonPath()
  if (path === undefined) {
    context.skip('no Python with pip, or PyPI is out of reach')
    return
  }
  await using backup = await Backup.start({
    setup: `CREATE TABLE v (id bigint PRIMARY KEY, t text, d date, z timestamptz, b bytea, f float8, "user-id" int);
      INSERT INTO v VALUES (9223372036854775807, 'base 😀', 'infinity', '4713-01-02 00:00:00+00 BC', '\\x00ff', 'NaN', 1)`,
  })
  await backup.source.query(
    `INSERT INTO v VALUES (-9223372036854775808, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i), '2020-02-29', '2024-01-01 00:00:00.5+00', NULL, '-Infinity', 2)`,
  )
  await backup.source.query('UPDATE v SET "user-id" = 3')
  await backup.source.query('DELETE FROM v WHERE "user-id" = 3 AND id > 0')
  await backup.durable()
  const output = execFileSync(
    'python3',
    [new URL('./open_backup.py', import.meta.url).pathname, backup.storeUrl, join(backup.keys, 'restore')],
    { env: { ...process.env, PYTHONPATH: path }, maxBuffer: 1 << 28 },
  ).toString()
  const lines = output
    .trim()
    .split('\n')
    .map(
      (line) =>
        JSON.parse(line) as {
          kind: string
          row: Record<string, unknown> & {
            operation?: string
            new?: Record<string, unknown>
            old?: Record<string, unknown>
          }
        },
    )
  const base = lines.find((line) => line.kind === 'base' && 't' in line.row)!.row
  expect(base).toMatchObject({ t: 'base 😀', d: 'infinity', z: '4713-01-02 00:00:00+00 BC', b: '00ff' })
  expect(output).toContain('9223372036854775807')
  const changes = lines
    .filter(
      (line) =>
        line.kind === 'segment' && (line.row.new?.['t'] !== undefined || line.row.old?.['d'] !== undefined),
    )
    .map((line) => line.row)
  expect(changes.map((row) => row.operation)).toEqual(['insert', 'update', 'update', 'delete'])
  expect(changes[0]!.new).toMatchObject({ d: '2020-02-29', b: null })
  // Unchanged (TOASTed) and absent (outside the old key) are states of their own.
  expect(changes.some((row) => row.operation === 'update' && row.new!['t'] === 'unchanged')).toBe(true)
  expect(changes[3]!.old!['t']).toBe('absent')
})

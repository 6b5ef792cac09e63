/**
 * Where a command can write nothing: a reader that stops, as `head` does, a full disk behind standard output, a folder that is not
 * to be written. Each ends by itself, with a code and without a stack.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Backup } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { tidemark } from '../support/cli.ts'

const ENTRY = new URL('../../services/entry/tidemark.cjs', import.meta.url).pathname

let backup: Backup
/** A database without Tidemark. */
let fresh: string

beforeAll(async () => {
  backup = await Backup.start({
    setup: "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (0, 'a')",
  })
  await backup.source.query(`INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 2000) g`)
  await backup.durable()
  await backup.stop()
  fresh = await backup.emptyDatabase()
}, 120_000)

afterAll(async () => {
  await backup[Symbol.asyncDispose]()
})

/** With arguments that do no harm; where a command needs more than this test has, its refusal is what it says. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  init: [],
  uninstall: [],
  doctor: [],
  up: ['--bogus'],
  replicator: ['--bogus'],
  compactor: ['--bogus'],
  status: [],
  windows: [],
  backup: ['base', '--bogus'],
  mark: [],
  find: [],
  read: ['--table', 'public.t', '--from', 'latest', '--to', 'latest'],
  restore: ['--at', 'latest', '--dry-run'],
  verify: [],
  copy: [],
  promote: [],
  scrub: [],
  prune: ['--bogus'],
  hold: ['list'],
  keys: ['list'],
  demo: ['--bogus'],
  help: [],
}

/** For want of arguments or consent. */
const REFUSED: ReadonlySet<string> = new Set(
  Object.entries(COMMANDS).flatMap(([name, args]) =>
    args.includes('--bogus') || ['init', 'uninstall', 'mark', 'copy', 'promote'].includes(name) ? [name] : [],
  ),
)

interface Ended {
  readonly code: number | null
  readonly stderr: string
}

async function run(
  args: readonly string[],
  where: { readonly cwd?: string; readonly stdout?: 'closed' | number } = {},
): Promise<Ended> {
  const { stdout } = where
  const child = spawn(process.execPath, [ENTRY, ...args], {
    cwd: where.cwd ?? backup.folder,
    stdio: ['ignore', typeof stdout === 'number' ? stdout : 'pipe', 'pipe'],
  })
  if (stdout === 'closed') child.stdout?.destroy()
  else child.stdout?.resume()
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  expect(stderr).not.toMatch(/EPIPE|INTERNAL|\n\s+at /)
  return { code, stderr }
}

/** What root cannot write either: a folder of the system's own. */
const UNWRITABLE = process.getuid?.() === 0 && existsSync('/sys/kernel') ? '/sys' : '/'

/** Of the commands that make something where they run. */
const MAKES: Readonly<Record<string, (folder: string) => readonly string[]>> = {
  init: (folder) => ['--source', fresh, '--store', join(folder, 'unused'), '--name', 'unused', '--yes'],
  demo: () => [],
}

describe('nothing can be written', () => {
  test('the table has every command', async () => {
    const { stdout } = await tidemark(['--help'], backup.folder)
    const names = [...stdout.matchAll(/^ {2}([a-z]+)(?:\|\S+)? .*/gm)].map(([, name]) => name)
    expect(names.length).toBeGreaterThan(15)
    expect(names.filter((name) => !Object.hasOwn(COMMANDS, name!))).toEqual([])
  })

  const makes = Object.keys(MAKES)
  const others = Object.keys(COMMANDS).filter((name) => !makes.includes(name))
  test.each([...makes, ...byTurns('commands', others, 7)])('%s', async (name) => {
    const args = [name, ...COMMANDS[name]!]
    const full = existsSync('/dev/full') ? openSync('/dev/full', 'w') : undefined
    const elsewhere = MAKES[name]?.(backup.folder)
    const [closed, onFull, unwritable] = await Promise.all([
      run(args, { stdout: 'closed' }),
      full === undefined ? undefined : run(args, { stdout: full }),
      run(elsewhere === undefined ? [...args, '--config', backup.configPath] : [name, ...elsewhere], {
        cwd: UNWRITABLE,
      }),
    ])
    // 1 is what nobody foresaw; a refusal keeps its own.
    const refused = REFUSED.has(name) ? 2 : 0
    expect(closed.code, closed.stderr).toBe(refused)
    if (onFull !== undefined && refused === 0) {
      expect(onFull.code, onFull.stderr).toBe(1)
      expect(onFull.stderr).toContain('error OUTPUT_FAILED: standard output cannot be written: ENOSPC')
    } else if (onFull !== undefined) expect(onFull.code, onFull.stderr).toBe(2)
    expect(unwritable.code, unwritable.stderr).toBe(elsewhere === undefined ? refused : 2)
    if (elsewhere !== undefined) expect(unwritable.stderr).toContain('error FILE_REFUSED')
  })

  test('init that may not write here has made nothing anywhere', async () => {
    expect(existsSync(join(backup.folder, 'unused', 'ledger'))).toBe(false)
    const { rows } = await backup.source.query(`SELECT FROM pg_replication_slots WHERE slot_name = 'unused'`)
    expect(rows).toEqual([])
  })

  test('up goes on while standard output is full', {
    skip: !existsSync('/dev/full'),
    timeout: 180_000,
  }, async () => {
    const child = spawn(process.execPath, [ENTRY, 'up', '--http-port', '0'], {
      cwd: backup.folder,
      stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
    })
    const ended = once(child, 'close')
    try {
      await backup.source.query(`INSERT INTO t VALUES (5000, 'under a full disk')`)
      const head = await backup.head()
      const isDurable = async (): Promise<boolean> =>
        (await backup.openRepository()).catalog.generation!.end >= head
      await expect.poll(isDurable, { timeout: 120_000, interval: 500 }).toBe(true)
    } finally {
      child.kill('SIGTERM')
    }
    expect(await ended).toEqual([1, null])
  })
})

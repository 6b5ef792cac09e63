/** `tidemark … | head`: whoever reads the output may stop, and the command ends as it would have, without a stack. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Backup } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

const ENTRY = new URL('../../services/entry/tidemark.cjs', import.meta.url).pathname

let backup: Backup

beforeAll(async () => {
  backup = await Backup.start({
    setup: "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (0, 'a')",
  })
  await backup.source.query(`INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 2000) g`)
  await backup.durable()
  await backup.stop()
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

async function closedAtOnce(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [ENTRY, ...args], {
    cwd: backup.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.destroy()
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stderr }
}

describe('standard output that nobody reads', () => {
  test('the table has every command', async () => {
    const { stdout } = await tidemark(['--help'], backup.folder)
    const names = [...stdout.matchAll(/^ {2}([a-z]+)(?:\|\S+)? .*/gm)].map(([, name]) => name)
    expect(names.length).toBeGreaterThan(15)
    expect(names.filter((name) => !Object.hasOwn(COMMANDS, name!))).toEqual([])
  })

  test.each(Object.keys(COMMANDS))('%s', async (name) => {
    const { code, stderr } = await closedAtOnce([name, ...COMMANDS[name]!])
    expect(stderr).not.toMatch(/EPIPE|\n\s+at /)
    // 1 is what nobody foresaw; a refusal keeps its own.
    expect(code, stderr).toBe(REFUSED.has(name) ? 2 : 0)
  })
})

/** The table of commands: every command is found by its name, and a start loads what its command needs, no more. */
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { COMMANDS, registersFor } from '../../services/cli/command-table.ts'

const ENTRY = new URL('../../services/entry/tidemark.ts', import.meta.url).pathname

test('each name is registered by what the table names for it', async () => {
  for (const { names, load } of COMMANDS) {
    const program = new Command()
    const register = await load()
    register(program, () => Promise.resolve())
    expect(program.commands.map((command) => command.name())).toEqual(names)
  }
})

test('a name loads its own command, anything else all of them', async () => {
  const registered = async (...args: string[]): Promise<number> => (await registersFor(args)).length
  expect(await registered('--config', 'other.yaml', 'status', '--json')).toBe(1)
  expect(await registered('status', '--keys', 'keys')).toBe(2)
  for (const args of [[], ['--help'], ['help', 'status'], ['staus']])
    expect(await registered(...args)).toBe(COMMANDS.length)
})

test('status loads neither the HTTP server, nor the jobs, nor what rebuilds', () => {
  const hook = `import { registerHooks } from 'node:module'
    const load = (url, context, next) => (console.log(url), next(url, context))
    registerHooks({ load })`
  const { stdout } = spawnSync(
    process.execPath,
    [`--import=data:text/javascript,${encodeURIComponent(hook)}`, ENTRY, 'status', '--keys', 'none'],
    { cwd: tmpdir(), encoding: 'utf8' },
  )
  const loaded = stdout.split('\n')
  const of = (place: string): string[] => loaded.filter((url) => url.includes(place))
  expect(of('services/cli/commands/status.ts')).toHaveLength(1)
  for (const place of [
    'fastify',
    'prom-client',
    'services/rebuild/fold',
    'services/replicator',
    'services/compactor',
  ])
    expect(of(place)).toEqual([])
})

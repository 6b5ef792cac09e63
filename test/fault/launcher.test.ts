/**
 * `tidemark up` as people start it: by npx, or by the command under whatever Node the machine has. Whatever ends what
 * they started ends the process that holds the slot and the port as well, after it drained.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readConfig } from '../../services/app/config/config.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { tidemark } from '../support/cli.ts'

const ROOT = new URL('../..', import.meta.url).pathname

interface Started {
  readonly child: ChildProcess
  readonly said: (text: string) => Promise<void>
  readonly closed: Promise<string>
}

/** Closed: every process that holds the output has ended. */
function start(command: string, args: readonly string[]): Started {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  let output = ''
  const heard = new Set<() => void>()
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    for (const look of heard) look()
  })
  const closed = new Promise<string>((done, reject) => {
    child.once('error', reject)
    child.once('close', () => done(output))
  })
  const said = (text: string): Promise<void> =>
    new Promise((done, reject) => {
      const look = (): void => {
        if (!output.includes(text)) return
        heard.delete(look)
        done()
      }
      heard.add(look)
      look()
      closed.then(() => reject(new Error(`ended without saying ${text}:\n${output}`)), reject)
    })
  return { child, said, closed }
}

async function slotIsFree(backup: Backup): Promise<void> {
  for (;;) {
    const found = await backup.source.query<{ active: boolean }>(
      'SELECT active FROM pg_replication_slots WHERE database = current_database() AND NOT temporary',
    )
    if (found.rows.length === 1 && found.rows[0]?.active === false) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function prepared(): Promise<Backup> {
  const backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY)' })
  await backup.init()
  const config = await readFile(backup.configPath, 'utf8')
  await writeFile(backup.configPath, config.replace('age: 5s', 'age: 60s'))
  return backup
}

const ways: readonly {
  readonly what: string
  readonly command: readonly string[]
  readonly end: (child: ChildProcess) => void
}[] = [
  {
    what: 'kill -9 of the command',
    command: ['node', join(ROOT, 'services/entry/tidemark.cjs')],
    end: (child) => void child.kill('SIGKILL'),
  },
  {
    what: 'SIGTERM to the command and all that it started',
    command: ['node', join(ROOT, 'services/entry/tidemark.cjs')],
    end: (child) => void process.kill(-child.pid!, 'SIGTERM'),
  },
  { what: 'SIGTERM to npx', command: ['npx', 'tidemark'], end: (child) => void child.kill('SIGTERM') },
]

test.each(ways)(
  '$what: what was received is durable, and slot and port are free',
  async ({ what, command, end }) => {
    await using backup = await prepared()
    const up = start(command[0]!, [
      ...command.slice(1),
      'up',
      '--json',
      '--http-port',
      '0',
      '--config',
      backup.configPath,
    ])
    await up.said('"streaming"')
    await backup.source.query('INSERT INTO t SELECT generate_series(1, 100)')
    end(up.child)
    const output = await up.closed
    await slotIsFree(backup)
    // A Node that runs the command itself dies with it.
    const direct = Number((await nodeVersion()).split('.')[0]) >= 24 && what.startsWith('kill')
    if (!direct) expect(output).toContain('"drained":true')
    await backup.up()
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
  },
)

test('a port in use is said with what to do, and two halves on one machine do not meet', async () => {
  await using backup = await prepared()
  const other = createServer()
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
  try {
    const { port } = other.address() as AddressInfo
    const refused = await tidemark(
      ['up', '--json', '--http-port', String(port), '--config', backup.configPath],
      backup.folder,
    )
    expect(refused.last.error?.code).toBe('PORT_TAKEN')
    expect(refused.last.error?.message).toContain(`127.0.0.1:${port}`)
    expect(refused.code).toBe(2)
    const wrong = await tidemark(
      ['up', '--json', '--http-port', 'x', '--config', backup.configPath],
      backup.folder,
    )
    expect(wrong.last.error?.code).toBe('USAGE')
  } finally {
    other.close()
  }
  const { http } = readConfig(backup.configPath)
  expect(http.compactorPort).not.toBe(http.port)
})

/** Of the `node` that PATH names, which may be older than the one that runs this test. */
async function nodeVersion(): Promise<string> {
  const child = spawn('node', ['-p', 'process.versions.node'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of child.stdout) text += String(chunk)
  return text.trim()
}

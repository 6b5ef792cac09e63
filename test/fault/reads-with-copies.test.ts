/**
 * Where the first store refuses or says nothing, every command that only reads takes a copy, soon. The commands are those of the table: a
 * new one has to be told apart here.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createSilent, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LIMITS } from '../../services/core/limits.ts'
import { Backup } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { tidemark } from '../support/cli.ts'
import { commands } from '../support/commands.ts'

const ENTRY = new URL('../../services/entry/tidemark.cjs', import.meta.url).pathname

/** What else they are asked with; `doctor` examines the first store itself. */
const READS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  status: [[]],
  windows: [[]],
  find: [[]],
  read: [[]],
  restore: [['--dry-run']],
  verify: [[], ['--chain']],
  'hold list': [[]],
  'keys list': [[]],
}
const OTHERS =
  /^(init|uninstall|doctor|up|replicator|compactor|backup base|mark|copy|promote|scrub|prune|hold (add|release)|keys (?!list))/

let backup: Backup
let copy: string
const servers: Server[] = []

async function listening(server: Server): Promise<string> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `s3://bucket/prefix?style=path&endpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const FIRST: Readonly<Record<string, () => Promise<string>>> = {
  'refuses the credentials': () =>
    listening(
      createServer((_, answer) => {
        answer.writeHead(403, { 'content-type': 'application/xml' })
        answer.end('<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>')
      }),
    ),
  'says nothing': () => listening(createSilent(() => undefined)),
}

beforeAll(async () => {
  process.env['AWS_ACCESS_KEY_ID'] ??= 'nobody'
  process.env['AWS_SECRET_ACCESS_KEY'] ??= 'nothing'
  backup = await Backup.start({ setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)' })
  await backup.source.query('INSERT INTO t VALUES (2)')
  await backup.durable()
  await backup.stop()
  copy = join(backup.folder, 'copy')
  expect((await tidemark(['copy', '--to', copy, '--json'], backup.folder)).code).toBe(0)
}, 120_000)

afterAll(async () => {
  for (const server of servers) server.close()
  await backup[Symbol.asyncDispose]()
})

test.each(byTurns('first stores', Object.keys(FIRST), 1))(
  'the first store %s',
  { timeout: 600_000 },
  async (name) => {
    const store = await FIRST[name]!()
    const wanted = (await commands()).flatMap((words) => {
      const [one, two] = words
      const known = READS[one!] ?? READS[`${one} ${two}`]
      if (known === undefined) expect(words.join(' ')).toMatch(OTHERS)
      return (known ?? []).map((more) => [...words, ...more])
    })
    expect(wanted.length).toBeGreaterThan(8)
    const wrong: string[] = []
    const worker = async (): Promise<void> => {
      for (let words = wanted.shift(); words !== undefined; words = wanted.shift()) {
        const from = performance.now()
        const args = [...words, '--json', '--store', store, '--copy', copy, '--keys', backup.keys]
        const { code, last } = await tidemark(args, backup.folder)
        const ms = performance.now() - from
        // Once the limit of a request, for whatever is asked, would be over already.
        if (code !== 0 || ms > LIMITS.storeSilenceMs)
          wrong.push(`${words.join(' ')}: ${code} after ${Math.round(ms)} ms, ${JSON.stringify(last.error)}`)
      }
    }
    await Promise.all([worker(), worker(), worker()])
    expect(wrong).toEqual([])
  },
)

test('a signal ends a reader that waits for its only store', { timeout: 120_000 }, async () => {
  const store = await FIRST['says nothing']!()
  const args = ['restore', '--at', 'latest', '--dry-run', '--json', '--store', store, '--keys', backup.keys]
  const child = spawn(process.execPath, [ENTRY, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(servers.at(-1)!, 'connection')
  const from = performance.now()
  child.kill('SIGTERM')
  await once(child, 'close')
  expect(performance.now() - from).toBeLessThan(15_000)
  expect(said).toContain('"INTERRUPTED"')
})

test('a first store without a ledger, while a copy has the backup: nobody is told to begin anew', async () => {
  for (const store of [join(backup.folder, 'gone'), join(backup.folder, 'no-such', 'place')]) {
    const where = ['--json', '--store', store, '--copy', copy, '--keys', backup.keys]
    for (const words of [['status'], ['keys', 'rotate', '--yes']]) {
      const { code, last } = await tidemark([...words, ...where], backup.folder)
      expect([code, last.error?.code], words.join(' ')).toEqual([6, 'COPY_AHEAD'])
      expect(last.error?.message).toContain(copy)
      expect(last.error?.next).toMatch(/tidemark promote/)
      expect(last.error?.next).not.toMatch(/init/)
    }
    const read = await tidemark(['windows', ...where], backup.folder)
    expect(read.code).toBe(0)
  }
})

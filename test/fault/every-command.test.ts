/**
 * Every command, on every path that something keeps from its end: it ends by itself soon after its last line, with a coded error. The
 * commands are those of the table, with the arguments that they require: a new one is tried without being named here.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, chmodSync, readFileSync } from 'node:fs'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isErrorCode } from '../../services/core/error-codes.ts'
import { Backup } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { commands } from '../support/commands.ts'

const ENTRY = new URL('../../services/entry/tidemark.cjs', import.meta.url).pathname
/** Five, and what a busy machine takes of them: what lingered did so for half a minute and more. */
const LINGERS_MS = 15_000
/** Without a word: of those that try again for ever this is asked to stop. */
const SILENT_MS = 3_000

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly lingeredMs: number
}

async function run(
  args: readonly string[],
  where: { readonly cwd: string; readonly account?: Account | undefined },
): Promise<Ended> {
  const child = spawn(process.execPath, [ENTRY, ...args], {
    ...where.account,
    cwd: where.cwd,
    env: { ...process.env, ...(where.account === undefined ? {} : { HOME: where.cwd, TMPDIR: where.cwd }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  let last = performance.now()
  child.stdout.on('data', (chunk: Buffer) => ((stdout += chunk.toString()), (last = performance.now())))
  child.stderr.on('data', (chunk: Buffer) => ((stderr += chunk.toString()), (last = performance.now())))
  const stop = setInterval(() => lookAt(child, stdout + stderr, performance.now() - last), 200)
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  clearInterval(stop)
  return { code, signal, stdout, stderr, lingeredMs: performance.now() - last }
}

/** What tries again until somebody stops it says so; whatever has said its last word and stays, or has none, is ended. */
function lookAt(child: ChildProcess, said: string, silentMs: number): void {
  if (silentMs > LINGERS_MS && /"ok":(?:true|false)/.test(said)) child.kill('SIGKILL')
  else if (silentMs > SILENT_MS && said.includes('"retry"')) child.kill('SIGTERM')
  else if (silentMs > 60_000) child.kill('SIGKILL')
}

interface Account {
  readonly uid: number
  readonly gid: number
}

/** An account without rights, where there is one that can enter this checkout. */
function nobody(): Account | undefined {
  const fields = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((text) => text.split(':'))
    .find(([name]) => name === 'nobody')
  if (process.getuid?.() !== 0 || fields === undefined) return undefined
  const account = { uid: Number(fields[2]), gid: Number(fields[3]) }
  return spawnSync(process.execPath, [ENTRY, '--version'], { ...account, cwd: '/' }).status === 0
    ? account
    : undefined
}

const NOBODY = nobody()
/** Each command meets two of the four paths, and all of them in a soak. */
const TURNS = byTurns('paths of each command', [0, 1, 2, 3], 2)
let backup: Backup

beforeAll(async () => {
  backup = await Backup.start({ setup: 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)' })
  await backup.durable()
  await backup.stop()
}, 120_000)

afterAll(async () => {
  await backup[Symbol.asyncDispose]()
})

/** A folder to stand in, with settings that lead to somewhere else in one respect. */
async function place(name: string, change: (settings: string) => string): Promise<string> {
  const folder = join(backup.folder, name)
  await mkdir(folder)
  const settings = await readFile(backup.configPath, 'utf8')
  await writeFile(join(folder, 'tidemark.yaml'), change(settings))
  return folder
}

const PATHS: Readonly<Record<string, () => Promise<{ cwd: string; account?: Account | undefined }>>> = {
  'store gone': async () => ({
    cwd: await place('store-gone', (text) => text.replace(backup.storeUrl, join(backup.folder, 'no-store'))),
  }),
  'source gone': async () => ({
    cwd: await place('source-gone', (text) =>
      text.replace(/^( +url: )postgresql:.*$/m, '$1postgresql://postgres@127.0.0.1:9/x'),
    ),
  }),
  'keys missing': async () => ({
    cwd: await place('keys-missing', (text) => text.replace(backup.keys, join(backup.folder, 'no-keys'))),
  }),
  'another account': async () => {
    const cwd = await place('another', (text) =>
      text.replace(backup.keys, join(backup.folder, 'another', 'keys')),
    )
    await cp(backup.keys, join(cwd, 'keys'), { recursive: true })
    spawnSync('chown', ['-R', `${NOBODY?.uid}:${NOBODY?.gid}`, cwd])
    chmodSync(backup.folder, 0o755)
    chownSync(cwd, NOBODY?.uid ?? 0, NOBODY?.gid ?? 0)
    return { cwd, account: NOBODY }
  },
}

describe('every command ends', () => {
  test.each(Object.keys(PATHS))('%s', { timeout: 600_000 }, async (name) => {
    if (name === 'another account' && NOBODY === undefined) {
      console.warn('no other account can enter this checkout: not tried')
      return
    }
    const where = await PATHS[name]!()
    const all = await commands()
    expect(all.length).toBeGreaterThan(25)
    const wrong: string[] = []
    const waiting = all.filter((_, index) => TURNS.includes((index + Object.keys(PATHS).indexOf(name)) % 4))
    const worker = async (): Promise<void> => {
      for (let words = waiting.shift(); words !== undefined; words = waiting.shift()) {
        const port = ['up', 'replicator', 'compactor'].includes(words[0]!) ? ['--http-port', '0'] : []
        const ended = await run([...words, '--json', ...port], where)
        wrong.push(...faults(ended).map((fault) => `${words?.join(' ')}: ${fault}`))
      }
    }
    await Promise.all([worker(), worker(), worker(), worker()])
    expect(wrong).toEqual([])
  })
})

function faults({ code, signal, stdout, stderr, lingeredMs }: Ended): string[] {
  const line = stdout.trim().split('\n').at(-1) ?? ''
  const said = `${line.slice(0, 300)} ${stderr.slice(-300)}`
  if (signal !== null) return [`had to be killed: ${said}`]
  const found: string[] = []
  if (lingeredMs > LINGERS_MS) found.push(`lingers for ${Math.round(lingeredMs)} ms`)
  if (/\n\s+at /.test(stderr)) found.push(`a stack: ${stderr.slice(0, 500)}`)
  let last: { readonly ok?: boolean; readonly error?: { readonly code?: string } } = {}
  try {
    last = JSON.parse(line) as typeof last
  } catch {
    return [...found, `no answer: ${said}`]
  }
  const { ok, error } = last
  if (ok === true) return code === 0 ? found : [...found, `ok, and exit ${code}`]
  if (error?.code === undefined || !isErrorCode(error.code) || error.code === 'INTERNAL')
    found.push(`not coded: ${said}`)
  if (code === 0) found.push(`exit 0 after ${error?.code}`)
  return found
}

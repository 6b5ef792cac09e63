/** fake-gcs-server, which speaks the JSON interface of Google Cloud Storage; built once by its Go module's name and kept outside the checkout. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { CACHE } from './maven.ts'

const run = promisify(execFile)

export interface GoProgram {
  readonly name: string
  readonly module: string
  readonly version: string
}

const FAKE_GCS: GoProgram = { name: 'fake-gcs-server', module: 'github.com/fsouza/fake-gcs-server', version: 'v1.56.1' }

/** Why a program cannot be had here; undefined where it can. */
export function whyNoProgram(program: GoProgram): string | undefined {
  if (existsSync(binaryOf(program))) return undefined
  return spawnSync('go', ['version']).status === 0 ? undefined : `there is no Go to build ${program.name} with`
}

function binaryOf({ name, version }: GoProgram): string {
  return join(CACHE, `${name}-${version}`, name)
}

export async function buildProgram(program: GoProgram): Promise<string> {
  const binary = binaryOf(program)
  if (existsSync(binary)) return binary
  const folder = join(CACHE, `${program.name}-${program.version}`)
  const work = `${folder}.${process.pid}`
  console.log(`building ${program.name} (once; kept in ${folder})`)
  await mkdir(work, { recursive: true })
  await run('go', ['install', '-trimpath', '-ldflags', '-s -w', `${program.module}@${program.version}`], { env: { ...process.env, GOBIN: work, GOTOOLCHAIN: 'local' }, maxBuffer: 1 << 26 })
  await rename(work, folder).catch(async (error: unknown) => {
    if (!existsSync(binary)) throw error
    await rm(work, { recursive: true, force: true })
  })
  return binary
}

/** Starts a program and waits until it answers. */
export async function startProgram(program: GoProgram, args: readonly string[], options: { readonly folder: string; readonly url: string; readonly env?: Readonly<Record<string, string>> }): Promise<ChildProcess> {
  const binary = await buildProgram(program)
  await mkdir(options.folder, { recursive: true })
  const log = openSync(join(options.folder, 'log'), 'a')
  const child = spawn(binary, [...args], { cwd: options.folder, env: { ...process.env, ...options.env }, stdio: ['ignore', log, log] })
  child.unref()
  for (const deadline = performance.now() + 30_000; ; ) {
    try {
      await fetch(options.url)
      return child
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${program.name} did not start; its log is in ${options.folder}`, { cause: error })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

export async function stopProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.ref()
  child.kill('SIGKILL')
  await exited
}

export const NO_GCS = whyNoProgram(FAKE_GCS)
if (NO_GCS !== undefined) console.log(`Google Cloud Storage is not tested here: ${NO_GCS}`)

export interface GcsBench extends AsyncDisposable {
  readonly endpoint: string
  bucket(options?: { readonly versioning?: boolean }): Promise<{ readonly name: string; readonly url: string }>
}

export async function startGcs(folder: string): Promise<GcsBench> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const child = await startProgram(FAKE_GCS, ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-public-host', `127.0.0.1:${port}`, '-backend', 'memory'], { folder, url: `${endpoint}/_internal/healthcheck` })
  let made = 0
  return {
    endpoint,
    async bucket(options = {}) {
      const name = `b${process.pid}-${++made}`
      const answer = await fetch(`${endpoint}/storage/v1/b?project=test`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name, versioning: { enabled: options.versioning === true } }) })
      if (!answer.ok) throw new Error(await answer.text())
      return { name, url: `gs://${name}/chat?endpoint=${encodeURIComponent(endpoint)}` }
    },
    [Symbol.asyncDispose]: () => stopProgram(child),
  }
}

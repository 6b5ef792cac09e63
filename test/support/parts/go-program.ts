/** Servers that are built once by their Go module's name, and kept outside the checkout. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CACHE } from './maven.ts'

const run = promisify(execFile)

export interface GoProgram {
  readonly name: string
  readonly module: string
  readonly version: string
}

/** Why a program cannot be had here; undefined where it can. */
export function whyNoProgram(program: GoProgram): string | undefined {
  if (existsSync(binaryOf(program))) return undefined
  return spawnSync('go', ['version']).status === 0
    ? undefined
    : `there is no Go to build ${program.name} with`
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
  await run('go', ['install', '-trimpath', '-ldflags', '-s -w', `${program.module}@${program.version}`], {
    env: { ...process.env, GOBIN: work, GOTOOLCHAIN: 'local' },
    maxBuffer: 1 << 26,
  })
  await rename(work, folder).catch(async (error: unknown) => {
    if (!existsSync(binary)) throw error
    await rm(work, { recursive: true, force: true })
  })
  return binary
}

/** Starts a program and waits until it answers. */
export async function startProgram(
  program: GoProgram,
  args: readonly string[],
  options: { readonly folder: string; readonly url: string; readonly env?: Readonly<Record<string, string>> },
): Promise<ChildProcess> {
  const binary = await buildProgram(program)
  await mkdir(options.folder, { recursive: true })
  const log = openSync(join(options.folder, 'log'), 'a')
  const child = spawn(binary, [...args], {
    cwd: options.folder,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log],
  })
  child.unref()
  for (const deadline = performance.now() + 90_000; ; ) {
    try {
      await fetch(options.url)
      return child
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`${program.name} did not start; its log is in ${options.folder}`, { cause: error })
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

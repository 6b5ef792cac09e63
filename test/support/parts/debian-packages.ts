/** Programs out of Debian's packages, unpacked by name into a folder outside the checkout: nothing is installed, and nobody has to be root. */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CACHE } from './maven.ts'

const run = promisify(execFile)

/** Why Debian's packages cannot be had here; undefined where they can. */
export function whyNoDebian(): string | undefined {
  for (const command of ['apt-get', 'dpkg'])
    if (spawnSync(command, ['--version']).status !== 0) return `there is no ${command}`
  return undefined
}

/** @returns the folder that stands for `/` in them */
export async function fetchDebian(name: string, packages: readonly string[]): Promise<string> {
  const folder = join(CACHE, name)
  const root = join(folder, 'root')
  if (existsSync(root)) return root
  const work = `${folder}.${process.pid}`
  console.log(`fetching ${packages.join(', ')} (once; kept in ${folder})`)
  await mkdir(join(work, 'state', 'lists', 'partial'), { recursive: true })
  await mkdir(join(work, 'cache', 'archives', 'partial'), { recursive: true })
  // Lists of its own: the machine's may be old, and are root's.
  const own = [
    ...['-o', `Dir::State=${join(work, 'state')}`],
    ...['-o', 'Dir::State::status=/var/lib/dpkg/status'],
    ...['-o', `Dir::Cache=${join(work, 'cache')}`],
    ...['-o', 'APT::Sandbox::User='],
  ]
  await run('apt-get', [...own, '-qq', 'update'], { cwd: work, maxBuffer: 1 << 26 })
  await run('apt-get', [...own, '-qq', 'download', ...packages], { cwd: work, maxBuffer: 1 << 26 })
  for (const file of await readdir(work))
    if (file.endsWith('.deb')) await run('dpkg', ['-x', join(work, file), join(work, 'root')])
  for (const left of ['state', 'cache']) await rm(join(work, left), { recursive: true, force: true })
  await rename(work, folder).catch(async (error: unknown) => {
    if (!existsSync(root)) throw error
    await rm(work, { recursive: true, force: true })
  })
  return root
}

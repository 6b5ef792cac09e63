/** Programs from PyPI, installed once by their names into a folder outside the checkout. */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CACHE } from './maven.ts'

const run = promisify(execFile)

export function whyNoPython(): string | undefined {
  return spawnSync('python3', ['-m', 'pip', '--version']).status === 0
    ? undefined
    : 'there is no Python with pip'
}

/** @returns the folder for PYTHONPATH */
export async function fetchPython(name: string, packages: readonly string[]): Promise<string> {
  const folder = join(CACHE, name)
  if (existsSync(folder)) return folder
  const work = `${folder}.${process.pid}`
  console.log(`fetching ${packages.join(', ')} (once; kept in ${folder})`)
  await mkdir(work, { recursive: true })
  await run(
    'python3',
    ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', work, ...packages],
    { maxBuffer: 1 << 26 },
  )
  await rename(work, folder).catch(async (error: unknown) => {
    if (!existsSync(folder)) throw error
    await rm(work, { recursive: true, force: true })
  })
  return folder
}

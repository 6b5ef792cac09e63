/** Programs from the npm registry, installed once by their names into a folder outside the checkout. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CACHE } from './maven.ts'

const run = promisify(execFile)

/** @returns the package's own folder */
export async function fetchNpm(name: string, version: string): Promise<string> {
  const folder = join(CACHE, `${name}-${version}`)
  const own = join(folder, 'node_modules', name)
  if (existsSync(join(own, 'package.json'))) return own
  const work = `${folder}.${process.pid}`
  console.log(`fetching ${name} ${version} (once; kept in ${folder})`)
  await mkdir(work, { recursive: true })
  await run(
    'npm',
    [
      'install',
      '--prefix',
      work,
      '--no-save',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      `${name}@${version}`,
    ],
    { maxBuffer: 1 << 26 },
  )
  await rename(work, folder).catch(async (error: unknown) => {
    if (!existsSync(own)) throw error
    await rm(work, { recursive: true, force: true })
  })
  return own
}

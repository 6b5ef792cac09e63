/**
 * The README's two commands, in a folder that nobody but its owner may enter: root's own home on most machines and in
 * containers, and a normal user's. `npm ci` is left out (the packages are linked in); .ci/run does it for real.
 */
import { spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { byTurns } from '../support/by-turns.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const IS_ROOT = process.getuid?.() === 0
const made: string[] = []

afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true })
})

interface Account {
  readonly uid: number
  readonly gid: number
}

/** An account without rights that every Linux and macOS has. */
function nobody(): Account {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((text) => text.split(':'))
    .find((fields) => fields[0] === 'nobody')
  return { uid: Number(line?.[2]), gid: Number(line?.[3]) }
}

/** Not where the run has its temporary files: that may be another file system than the checkout's. */
const PLACE = existsSync('/tmp') ? '/tmp' : tmpdir()

/** The checkout with its packages as hard links where the file system allows them: some 700 MB otherwise. */
function privateCheckout(owner: Account | undefined): string {
  const folder = mkdtempSync(join(PLACE, 'tidemark-first-run-'))
  made.push(folder)
  const checkout = join(folder, 'checkout')
  mkdirSync(checkout)
  const copy = (flag: string): number | null =>
    spawnSync('cp', [flag, join(ROOT, 'node_modules'), checkout], { stdio: 'ignore' }).status
  if (copy('-al') !== 0) {
    rmSync(join(checkout, 'node_modules'), { recursive: true, force: true })
    expect(copy('-a')).toBe(0)
  }
  for (const name of ['services', 'schemas', 'test', 'infra', 'package.json', 'README.md']) {
    expect(spawnSync('cp', ['-r', join(ROOT, name), checkout]).status).toBe(0)
  }
  // The folders that are written to; the packages in them are the same files as those of this checkout.
  if (owner !== undefined) {
    rmSync(join(checkout, 'node_modules', '.vite-temp'), { recursive: true, force: true })
    for (const path of [folder, checkout, join(checkout, 'node_modules'), join(checkout, 'test')])
      chownSync(path, owner.uid, owner.gid)
  }
  return checkout
}

async function npm(args: readonly string[], cwd: string, account: Account | undefined): Promise<string> {
  const home = join(cwd, '..')
  const child = spawn('npm', args, {
    cwd,
    env: { PATH: process.env['PATH'], HOME: home, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...account,
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number | null>((done, reject) =>
    child.once('error', reject).once('close', done),
  )
  return `${output}\nexit ${code}`
}

const who = IS_ROOT ? byTurns('accounts', ['root', 'a normal user'], 1) : ['this user']

describe.each(who)('in a folder of %s alone', (name) => {
  const account = name === 'a normal user' ? nobody() : undefined
  test('npm start proves its restore, and npm test finds its servers', { timeout: 600_000 }, async () => {
    const checkout = privateCheckout(account)
    const started = await npm(['start'], checkout, account)
    expect(started).toMatch(/\nexit 0$/)
    const tested = await npm(['test', '--', 'test/unit/retention.test.ts'], checkout, account)
    expect(tested).toMatch(/\n\d+ passed, 0 failed, 0 skipped\n/)
    expect(tested).toMatch(/\nexit 0$/)
  })
})

test('npm says nothing about packages that ask for a newer Node', () => {
  // `npm ci` under Node 20 had 65 lines of it, before the first line that matters.
  expect(readFileSync(join(ROOT, '.npmrc'), 'utf8')).toMatch(/^loglevel=error$/m)
})

/** PostgreSQL's regression suite and a server of the very same version, by package name, kept outside the checkout. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { installation } from '../support/postgres-tools.ts'

/** The source package of each version, and the Debian suite that has it. */
export const VERSIONS = {
  '15': { source: 'postgresql-15', release: 'bookworm', upstream: '15.18' },
  '18': { source: 'postgresql-18', release: 'sid', upstream: '18.6' },
} as const

export type SuiteVersion = keyof typeof VERSIONS

/** Another account runs the server where this one is root: it has to be let in. */
function cacheFolder(): string {
  const caches =
    process.getuid?.() === 0 ? '/var/cache' : (process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'))
  const folder = join(caches, 'tidemark')
  mkdirSync(folder, { recursive: true })
  return folder
}

/** apt-get with lists of its own: nothing of the machine's is changed. */
function apt(folder: string, release: string, kind: 'deb' | 'deb-src', args: readonly string[]): void {
  const lists = join(folder, `apt-${release}-${kind}`)
  mkdirSync(join(lists, 'lists', 'partial'), { recursive: true })
  mkdirSync(join(lists, 'cache', 'archives', 'partial'), { recursive: true })
  writeFileSync(join(lists, 'sources.list'), `${kind} http://deb.debian.org/debian ${release} main\n`)
  const options = [
    `Dir::Etc::sourcelist=${join(lists, 'sources.list')}`,
    'Dir::Etc::sourceparts=/dev/null',
    `Dir::State::lists=${join(lists, 'lists')}`,
    `Dir::Cache=${join(lists, 'cache')}`,
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option])
  const run = (more: readonly string[]): void => {
    execFileSync('apt-get', ['-qq', ...options, ...more], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  run(['update'])
  run(args)
}

/**
 * src/test/regress of the version.
 *
 * @throws where apt-get or the package is not to be had
 */
export function regressionSuite(version: SuiteVersion): string {
  const { source, release, upstream } = VERSIONS[version]
  const folder = join(cacheFolder(), 'regress')
  const suite = join(folder, `postgresql-${upstream}`, 'src', 'test', 'regress')
  if (existsSync(join(suite, 'parallel_schedule'))) return suite
  mkdirSync(folder, { recursive: true })
  apt(folder, release, 'deb-src', ['source', '--download-only', source])
  const archive = readdirSync(folder).find(
    (name) => name.startsWith(`${source}_${upstream}`) && name.includes('.orig.tar'),
  )
  if (archive === undefined) throw new Error(`Debian's ${source} is not ${upstream} any more`)
  const fresh = join(folder, `unpack-${process.pid}`)
  mkdirSync(fresh)
  execFileSync('tar', ['-xf', join(folder, archive), '-C', fresh, `postgresql-${upstream}/src/test/regress`])
  renameSync(join(fresh, `postgresql-${upstream}`), join(folder, `postgresql-${upstream}`))
  rmSync(fresh, { recursive: true })
  return suite
}

/**
 * The folder with initdb, postgres, psql, pg_dump and pg_config of the version.
 *
 * @throws where the package is not to be had
 */
export function serverOf(version: SuiteVersion): string {
  if (version === '18') return join(installation(), 'bin')
  const { release } = VERSIONS[version]
  const folder = join(cacheFolder(), `server-${version}`)
  const bin = join(folder, 'usr', 'lib', 'postgresql', version, 'bin')
  if (existsSync(join(bin, 'psql')) && existsSync(join(bin, 'postgres'))) return bin
  mkdirSync(folder, { recursive: true })
  apt(folder, release, 'deb', [
    'download',
    `postgresql-${version}`,
    `postgresql-client-${version}`,
    `postgresql-server-dev-${version}`,
    'libpq5',
    'libpq-dev',
  ])
  for (const name of readdirSync(folder))
    if (name.endsWith('.deb')) execFileSync('dpkg', ['-x', join(folder, name), folder])
  return bin
}

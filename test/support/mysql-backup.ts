/** A backup of MariaDB or MySQL by the command line: an own server, a database, a store, and the job. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type mysql from 'mysql2/promise'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import type { SharedKafka } from './kafka-desk.ts'
import { type Answer, Running, tidemark } from './cli.ts'
import { type Flavour, type MysqlBench, startMysql } from './parts/mysql.ts'

/** No two backups share a prefix. */
let kafkas = 0

export class MysqlBackup implements AsyncDisposable {
  readonly folder: string
  readonly bench: MysqlBench
  readonly source: string
  readonly connection: mysql.Connection
  #targets = 0

  private constructor(folder: string, bench: MysqlBench, source: string, connection: mysql.Connection) {
    this.folder = folder
    this.bench = bench
    this.source = source
    this.connection = connection
  }

  /** @param setup run in the new database `chat` */
  static async prepare(flavour: Flavour, setup: readonly string[]): Promise<MysqlBackup> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
    const bench = await startMysql(flavour, join(folder, 'server'))
    const source = await bench.database('chat')
    const { connection } = await connect(source, "SET sql_mode = '', time_zone = '+00:00'")
    const backup = new MysqlBackup(folder, bench, source, connection)
    await backup.run(...setup)
    return backup
  }

  async run(...statements: readonly string[]): Promise<void> {
    for (const sql of statements) await this.connection.query(sql)
  }

  /** @throws with what it said where it fails */
  async tidemark(...args: readonly string[]): Promise<Answer['last']> {
    return okay(await tidemark([...args, '--json'], this.folder))
  }

  /** @param kafka through it; else in one process */
  async init(kafka?: SharedKafka): Promise<void> {
    const store = join(this.folder, 'store')
    const throughKafka =
      kafka === undefined
        ? []
        : [
            '--kafka',
            kafka.kafka.bootstrap.join(','),
            '--registry',
            kafka.registry.url,
            '--prefix',
            `mysql-${process.pid}-${kafkas++}`,
            '--replication-factor',
            '1',
          ]
    await this.tidemark(
      'init',
      '--source',
      this.source,
      '--store',
      store,
      '--name',
      'chat',
      '--yes',
      ...throughKafka,
    )
    const config = join(this.folder, 'tidemark.yaml')
    await writeFile(config, (await readFile(config, 'utf8')).replace('age: 5s', 'age: 300ms'))
  }

  async up(): Promise<Running> {
    const running = new Running(['up', '--json'], { cwd: this.folder })
    await running.said('"streaming"')
    return running
  }

  /** Until everything that is in the source by now is in the store, and every gap is closed. @returns where that ends */
  async caughtUp(): Promise<string> {
    for (const deadline = performance.now() + 60_000; ; ) {
      const { lag, gaps, window } = (await this.tidemark('status')) as unknown as {
        lag: { bytes: number } | null
        gaps: { to: string | null }[]
        window: { to: string }
      }
      if (lag?.bytes === 0 && gaps.every((gap) => gap.to !== null)) return window.to
      if (performance.now() > deadline) throw new Error(`still behind: ${JSON.stringify({ lag, gaps })}`)
    }
  }

  async restore(at: string): Promise<{ readonly into: string; readonly report: Answer['last'] }> {
    const into = await this.bench.database(`back_${++this.#targets}`)
    return { into, report: await this.tidemark('restore', '--at', at, '--into', into) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Running.killAll()
    await this.connection.end().catch(() => undefined)
    await this.bench[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }
}

export function okay({ code, last, stdout, stderr }: Answer): Answer['last'] {
  if (code === 0) return last
  throw new Error(`ended with ${code}: ${stdout.slice(-1500)} ${stderr.slice(-800)}`)
}

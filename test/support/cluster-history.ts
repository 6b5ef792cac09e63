/**
 * Random histories on a real broker: several backups share it, each with processes of its own as users start them. They are killed,
 * stopped and drained; the broker is killed and comes back with an older copy of its disk or a shortened one; operators trim and delete
 * topics and change settings. At the end what is restored equals the source, or what is missing is told.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import kafkajs, { type Admin } from 'kafkajs'
import { expect } from 'vitest'
import { parse, stringify } from 'yaml'
import { Backup, digests, shown } from './backup.ts'
import { BrokerDisk } from './broker-disk.ts'
import { Running } from './cli.ts'
import type { Dice } from './random-changes.ts'
import { type KafkaBench, kafkaSection, kafkaSettings } from './kafka-bench.ts'

const SETUP = `CREATE TABLE a (id bigint PRIMARY KEY, body text); CREATE TABLE b (id bigint, body text); CREATE TABLE c (id bigint PRIMARY KEY, body text)`
const STEPS = 24
const PARTITIONS = 2
/** A guard against a hang: a busy machine takes several times as long as a quiet one. */
const SETTLE_MS = 900_000
const COMPRESSIONS = ['producer', 'gzip', 'snappy', 'lz4', 'zstd', 'uncompressed']
/** What ends a process as it should: it was fenced, or an operator's setting is named. */
const KNOWN = [
  'LOG_FENCED',
  'WRITER_FENCED',
  'LOG_REFUSED',
  'SLOT_AHEAD',
  'SLOT_IN_USE',
  'SOURCE_UNREACHABLE',
]

type Role = 'up' | 'replicator' | 'compactor'

interface One {
  readonly role: Role
  readonly running: Running
  isStopped: boolean
  isOver: boolean
}

interface Side {
  readonly backup: Backup
  readonly prefix: string
  readonly acknowledge: 'segment' | 'log'
  isApart: boolean
  readonly processes: Set<One>
  id: number
}

export class ClusterHistory implements AsyncDisposable {
  readonly #next: Dice
  readonly #bench: KafkaBench
  readonly #disk: BrokerDisk
  readonly #sides: Side[] = []
  readonly #copies: string[] = []
  readonly #admin: Admin
  /** What was done, for whoever looks for a fault. */
  readonly told: string[] = []
  readonly codes = new Map<string, number>()

  private constructor(next: Dice, bench: KafkaBench) {
    this.#next = next
    this.#bench = bench
    this.#disk = new BrokerDisk(bench.kafka.folder)
    this.#admin = new kafkajs.Kafka({
      brokers: [...bench.kafka.bootstrap],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin()
  }

  /** @param name of its topics: no other history's */
  static async begin(next: Dice, bench: KafkaBench, name: string, count: number): Promise<ClusterHistory> {
    const history = new ClusterHistory(next, bench)
    await history.#admin.connect()
    for (let i = 0; i < count; i++) {
      const backup = await Backup.prepare({ setup: SETUP })
      const prefix = `${name}-${i}`
      const side: Side = {
        backup,
        prefix,
        acknowledge: next(4) === 0 ? 'log' : 'segment',
        isApart: next(2) === 0,
        processes: new Set(),
        id: 1,
      }
      history.#sides.push(side)
      await backup.init()
      const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
      const kafka = kafkaSettings(bench, prefix, { partitions: PARTITIONS, acknowledge: side.acknowledge })
      await writeFile(
        backup.configPath,
        stringify({
          ...settings,
          log: 'kafka',
          kafka: kafkaSection(kafka),
          roll: { age: '300ms', size: '256KiB' },
          http: { port: 0 },
        }),
      )
      history.#start(side)
      history.told.push(`${prefix}: ${backup.database}, acknowledge: ${side.acknowledge}`)
    }
    return history
  }

  async run(): Promise<void> {
    const steps = this.#weighed()
    for (let step = 0; step < STEPS; step++) {
      for (const side of this.#sides) await this.#commit(side)
      const [name, act] = steps[this.#next(steps.length)]!
      const side = this.#sides[this.#next(this.#sides.length)]!
      this.told.push(`${name} (${side.prefix})`)
      await this.#tolerant(() => act(side))
      for (const one of this.#sides) this.#revive(one)
      await pause(this.#next(1500))
    }
  }

  /** Everything is good again, and processes that know nothing of it are started. */
  async check(): Promise<void> {
    await this.#bench.kafka.start()
    for (const side of this.#sides) {
      await this.#killAll(side)
      this.#start(side)
    }
    await Promise.all(this.#sides.map((side) => this.#settle(side)))
    await Promise.all(this.#sides.map((side) => this.#equals(side)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const side of this.#sides) {
      await this.#killAll(side)
      await side.backup[Symbol.asyncDispose]()
      // A broker with thousands of topics starts slowly.
      const topics = await this.#topics(side).catch(() => [])
      if (topics.length > 0) await this.#admin.deleteTopics({ topics }).catch(() => undefined)
    }
    await this.#admin.disconnect().catch(() => undefined)
    for (const folder of this.#copies) await rm(folder, { recursive: true, force: true })
  }

  #weighed(): readonly (readonly [string, (side: Side) => unknown])[] {
    const steps: readonly (readonly [number, string, (side: Side) => unknown])[] = [
      [4, 'write much', (side) => this.#much(side)],
      [2, 'migrate', (side) => this.#migrate(side)],
      [4, 'kill -9', (side) => this.#any(side)?.running.child.kill('SIGKILL')],
      [3, 'SIGSTOP', (side) => this.#stop(side)],
      [3, 'SIGCONT', (side) => this.#goOn(side)],
      [2, 'drain', (side) => this.#any(side)?.running.child.kill('SIGTERM')],
      [1, 'one process or two', (side) => this.#changeOver(side)],
      [1, 'another compactor', (side) => side.isApart && this.#startOne(side, 'compactor')],
      [3, 'trim', (side) => this.#trim(side)],
      [2, 'delete a topic', (side) => this.#delete(side)],
      [3, 'settings', (side) => this.#set(side)],
      [2, 'kill the broker', () => this.#broker(() => Promise.resolve())],
      [2, 'shorten', (side) => this.#shorten(side)],
      [2, 'copy the disk', () => this.#copy()],
      [2, 'restore the disk', () => this.#restore()],
    ]
    return steps.flatMap(([weight, name, act]) => Array.from({ length: weight }, () => [name, act] as const))
  }

  // Processes.

  #start(side: Side): void {
    const roles: readonly Role[] = side.isApart ? ['replicator', 'compactor'] : ['up']
    for (const role of roles) this.#startOne(side, role)
  }

  #startOne({ backup, processes }: Side, role: Role, more: readonly string[] = []): void {
    if (processes.size >= 4) return
    const args = [role, '--json', '--config', backup.configPath, ...more]
    const one: One = {
      role,
      running: new Running(args, { cwd: backup.folder }),
      isStopped: false,
      isOver: false,
    }
    processes.add(one)
    void one.running.finished.then(({ last }) => {
      one.isOver = true
      processes.delete(one)
      const code = last.error?.code
      if (code === undefined) return
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
      this.told.push(`${role} of ${backup.database} ended: ${code} ${last.error?.message ?? ''}`)
    })
  }

  /** As a supervisor does. */
  #revive(side: Side): void {
    const alive = [...side.processes].filter(({ isStopped }) => !isStopped)
    for (const role of side.isApart ? (['replicator', 'compactor'] as const) : (['up'] as const))
      if (!alive.some((one) => one.role === role)) this.#startOne(side, role)
  }

  #any({ processes }: Side): One | undefined {
    return [...processes][this.#next(Math.max(1, processes.size))]
  }

  #stop(side: Side): void {
    const one = this.#any(side)
    if (one === undefined) return
    one.running.child.kill('SIGSTOP')
    one.isStopped = true
  }

  #goOn({ processes }: Side): void {
    for (const one of processes) {
      if (one.isStopped) one.running.child.kill('SIGCONT')
      one.isStopped = false
    }
  }

  async #changeOver(side: Side): Promise<void> {
    await this.#killAll(side)
    side.isApart = !side.isApart
  }

  async #killAll({ processes }: Side): Promise<void> {
    const all = [...processes]
    for (const { running } of all) running.child.kill('SIGKILL')
    await Promise.all(all.map(({ running }) => running.finished))
    for (const one of all) processes.delete(one)
  }

  // The source.

  async #commit(side: Side): Promise<void> {
    const { source } = side.backup
    for (let left = 1 + this.#next(4); left > 0; left--) {
      const id = side.id++
      const some = 1 + this.#next(id)
      await source.query(
        `BEGIN; INSERT INTO a VALUES (${id}, md5('${id}')); INSERT INTO b VALUES (${id % 7}, 'x'); INSERT INTO c SELECT ${id} * 100 + g, repeat(md5(g::text), 5) FROM generate_series(1, ${1 + this.#next(20)}) g; UPDATE a SET body = body || '+' WHERE id = ${some}; DELETE FROM c WHERE id = ${some * 100 + 1}; COMMIT`,
      )
    }
    if (this.#next(12) === 0) await source.query('TRUNCATE b')
  }

  async #much(side: Side): Promise<void> {
    const first = 1_000_000 * side.id++
    await side.backup.source.query(
      `INSERT INTO a SELECT ${first} + g, repeat(md5(g::text), 30) FROM generate_series(1, ${200 + this.#next(2000)}) g`,
    )
  }

  async #migrate(side: Side): Promise<void> {
    const name = `n${side.id++}`
    await side.backup.source.query(
      this.#next(2) === 0
        ? `ALTER TABLE a ADD COLUMN ${name} text DEFAULT 'd'; UPDATE a SET ${name} = 'u' WHERE id % 2 = 0`
        : `CREATE TABLE ${name} (id int PRIMARY KEY, body text); INSERT INTO ${name} SELECT g, 'new' FROM generate_series(1, 20) g`,
    )
  }

  // The operator.

  async #topics({ prefix }: Side): Promise<string[]> {
    return (await this.#admin.listTopics()).filter((topic) => topic.startsWith(`${prefix}.`)).sort()
  }

  async #topic(side: Side): Promise<string | undefined> {
    const all = await this.#topics(side)
    // Half of the time the one that says what is complete.
    if (this.#next(2) === 0) return all.find((topic) => topic.endsWith('.transactions'))
    return all[this.#next(Math.max(1, all.length))]
  }

  async #trim(side: Side): Promise<void> {
    const topic = await this.#topic(side)
    if (topic === undefined) return
    const share = this.#next(101)
    const partitions = (await this.#admin.fetchTopicOffsets(topic)).map(({ partition, low, high }) => ({
      partition,
      offset: String(Number(low) + Math.floor(((Number(high) - Number(low)) * share) / 100)),
    }))
    await this.#admin.deleteTopicRecords({ topic, partitions })
  }

  async #delete(side: Side): Promise<void> {
    const topic = await this.#topic(side)
    if (topic !== undefined) await this.#admin.deleteTopics({ topics: [topic] })
  }

  async #set(side: Side): Promise<void> {
    const topic = await this.#topic(side)
    if (topic === undefined) return
    const value = COMPRESSIONS[this.#next(COMPRESSIONS.length)]!
    await this.#admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topic, configEntries: [{ name: 'compression.type', value }] }],
    })
  }

  /** Dead, something done to its disk, and up again after a while. */
  async #broker(act: () => Promise<void>): Promise<void> {
    await this.#bench.kafka.kill()
    try {
      await act()
      await pause(this.#next(3000))
    } finally {
      await this.#bench.kafka.start()
    }
  }

  async #shorten(side: Side): Promise<void> {
    const topic = await this.#topic(side)
    if (topic === undefined) return
    const ends = await this.#admin.fetchTopicOffsets(topic)
    const { partition, low, high } = ends[this.#next(ends.length)]!
    const from = Number(high) - 1 - this.#next(10)
    if (from <= Number(low)) return
    await this.#broker(() => this.#disk.shorten(topic, partition, from))
  }

  async #copy(): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-disk-'))
    await this.#bench.kafka.stop()
    try {
      await this.#disk.copyTo(folder)
      this.#copies.push(folder)
    } finally {
      await this.#bench.kafka.start()
    }
  }

  async #restore(): Promise<void> {
    const folder = this.#copies[this.#next(Math.max(1, this.#copies.length))]
    if (folder !== undefined) await this.#broker(() => this.#disk.restoreFrom(folder))
  }

  /** What an operator's command met on a broker that had just started is no fault of anybody's. */
  async #tolerant(act: () => unknown): Promise<void> {
    try {
      await act()
    } catch (error) {
      if (!(error instanceof kafkajs.KafkaJSError) && !/nothing from offset|ENOENT/.test(String(error)))
        throw error
      this.told.push(`  came to nothing: ${String(error).slice(0, 120)}`)
    }
  }

  // The end.

  async #settle(side: Side): Promise<void> {
    const { backup } = side
    const head = await backup.head()
    const reader = await backup.openRepository()
    for (const deadline = performance.now() + SETTLE_MS; ; ) {
      await backup.source.query(`INSERT INTO b VALUES (-1, 'more')`)
      await reader.ledger.refresh()
      const { generation } = reader.catalog
      if (generation!.end >= head && generation!.base !== undefined) break
      this.#revive(side)
      if (performance.now() > deadline)
        throw new Error(
          `${side.prefix} stands at ${generation!.end}, and ${head} is to come: ${[...side.processes].map(({ role, running }) => `${role}: ${running.output.slice(-1500)}`).join('\n---\n')}`,
        )
      await pause(500)
    }
    const last = await backup.head()
    for (const deadline = performance.now() + SETTLE_MS; reader.catalog.generation!.end < last; ) {
      if (performance.now() > deadline) throw new Error(`${side.prefix} does not come to its end`)
      this.#revive(side)
      await pause(300)
      await reader.ledger.refresh()
    }
    await this.#killAll(side)
  }

  async #equals(side: Side): Promise<void> {
    const { backup, acknowledge } = side
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url)), side.prefix).toEqual(shown(await digests(backup.sourceUrl)))
    const { catalog } = await backup.openRepository()
    // The source had it all as long as the store did not: nothing may be missing.
    if (acknowledge === 'segment') {
      expect(catalog.gaps.filter(({ scope }) => scope.kind === 'stream')).toEqual([])
      expect(catalog.generations.length).toBe(1)
    }
    const unknown = [...this.codes.keys()].filter((code) => !KNOWN.includes(code))
    expect(unknown, this.told.join('\n')).toEqual([])
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Three brokers: leaders that die, and one partition that stands still while the others go on. */
import { readFile, writeFile } from 'node:fs/promises'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { Running } from '../support/cli.ts'
import { type KafkaBench, kafkaSection, kafkaSettings, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'

let bench: KafkaBench

const SETUP = `CREATE TABLE parent (id bigint PRIMARY KEY, name text); CREATE TABLE child (id bigint PRIMARY KEY, parent bigint NOT NULL REFERENCES parent, body text)`

describe.skipIf(NO_KAFKA !== undefined)('three brokers', () => {
  beforeAll(async () => {
    bench = await startKafka({ brokers: 3 })
  }, 300_000)
  afterEach(() => Running.killAll())
  afterAll(async () => {
    await bench[Symbol.asyncDispose]()
  })

  const write = (backup: Backup, id: number): Promise<unknown> =>
    backup.source.query(
      `BEGIN; INSERT INTO parent VALUES (${id}, 'p'); INSERT INTO child SELECT ${id} * 1000 + g, ${id}, repeat(md5(g::text), 20) FROM generate_series(1, 30) g; UPDATE child SET id = -id WHERE id = ${id} * 1000 + 1; COMMIT`,
    )

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  /** The broker (from 0) that leads a partition. */
  async function leaderOf(topic: string, partition: number): Promise<number> {
    const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    try {
      const found = (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions.find(
        (p) => p.partitionId === partition,
      )
      return found!.leader - 1
    } finally {
      await admin.disconnect()
    }
  }

  test('the brokers that lead the topics are killed one after the other and come back', {
    timeout: 240_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafkaSettings(bench, 'leaders', { replicationFactor: 3 }) })
    let id = 1
    for (const topic of ['leaders.transactions', 'leaders.public.child']) {
      for (let i = 0; i < 20; i++) await write(backup, id++)
      await backup.durable()
      const broker = bench.kafka.brokers[await leaderOf(topic, 0)]!
      await broker.process.kill()
      for (let i = 0; i < 20; i++) {
        await write(backup, id++)
        await backup.guard(new Promise((resolve) => setTimeout(resolve, 50)))
      }
      // Two of three are enough.
      await backup.durable(90_000)
      await bench.kafka.start()
    }
    await write(backup, id++)
    await backup.durable(90_000)
    await equalToSource(backup)
    expect(backup.repository.catalog.gaps).toEqual([])
  })

  test('one partition stands still: nothing behind it is shown, no child without its parent', {
    timeout: 240_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    const config: KafkaConfig = kafkaSettings(bench, 'paused', { partitions: 6 })
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(
      backup.configPath,
      stringify({
        ...settings,
        log: 'kafka',
        kafka: kafkaSection(config),
        roll: { age: '200ms', size: '64KiB' },
        http: { port: 0 },
      }),
    )
    const start = (name: string): Running =>
      new Running([name, '--json', '--config', backup.configPath], { cwd: backup.folder })
    const replicator = start('replicator')
    const compactors = [start('compactor')]
    await compactors[0]!.said('"streaming"')
    let id = 1
    for (let i = 0; i < 20; i++) await write(backup, id++)
    const end = async (): Promise<bigint> => (await backup.openRepository()).catalog.generation!.end
    const until = async (condition: () => Promise<boolean>): Promise<void> => {
      const deadline = performance.now() + 60_000
      while (!(await condition())) {
        if (performance.now() > deadline)
          throw new Error([replicator, ...compactors].map((one) => one.output.slice(-1500)).join('\n---\n'))
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
    const written = await backup.head()
    await until(async () => (await end()) >= written)
    for (const one of compactors) one.child.kill('SIGTERM')
    await Promise.all(compactors.map((one) => one.ended()))
    // A broker that leads partitions of parents and not the transactions is stopped in the middle, with changes on it that nobody has read.
    const transactions = await leaderOf('paused.transactions', 0)
    const still = (
      await Promise.all([0, 1, 2, 3, 4, 5].map((partition) => leaderOf('paused.public.parent', partition)))
    ).find((leader) => leader !== transactions)!
    for (let i = 0; i < 60; i++) await write(backup, id++)
    const before = await backup.head()
    await replicator.said('"streaming"')
    await new Promise((resolve) => setTimeout(resolve, 1500))
    bench.kafka.brokers[still]!.process.signal('SIGSTOP')
    try {
      compactors.push(start('compactor'), start('compactor'))
      for (let i = 0; i < 5; i++) {
        await new Promise((resolve) => setTimeout(resolve, 2500))
        const restored = await backup.restore('latest')
        const counts = await backup.source.query<{ parents: string; children: string }>(
          `SELECT (SELECT count(*) FROM parent) AS parents, (SELECT count(*) FROM child) AS children`,
        )
        const rows = new Map(restored.result!.tables.map((table) => [table.name, table.rows]))
        // Foreign keys are made at the end of every restore: a child without its parent could not be loaded.
        expect(rows.get('child')).toBe(30 * rows.get('parent')!)
        expect(rows.get('parent')).toBeLessThanOrEqual(Number(counts.rows[0]!.parents))
      }
    } finally {
      bench.kafka.brokers[still]!.process.signal('SIGCONT')
    }
    await write(backup, id++)
    await until(async () => {
      await backup.source.query('UPDATE parent SET name = name WHERE id = 1')
      return (await end()) >= before
    })
    const last = await backup.head()
    await until(async () => {
      await backup.source.query('UPDATE parent SET name = name WHERE id = 1')
      return (await end()) >= last
    })
    for (const one of [replicator, ...compactors.slice(1)]) one.child.kill('SIGTERM')
    for (const answer of await Promise.all([replicator, ...compactors.slice(1)].map((one) => one.ended())))
      expect(answer.last.ok, answer.stdout.slice(-800) + answer.stderr).toBe(true)
    await equalToSource(backup)
    expect((await backup.openRepository()).catalog.gaps).toEqual([])
  })
})

/** Backups that share a cluster, and logs that an older version wrote: no row of one ends up in another, and none is lost. */
import { readFile, writeFile } from 'node:fs/promises'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Registry } from '../../services/adapters/kafka/registry/registry.ts'
import { examineLog, openSource } from '../../services/app/wiring/compose.ts'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import { type Position, positionText } from '../../services/core/position.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { Running } from '../support/cli.ts'
import { kafkaSection, kafkaSettings, NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { writeOlder } from '../support/older-writer.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, 'old' FROM generate_series(1, 20) g`
let bench: SharedKafka

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
  }, 300_000)

  async function prepare(): Promise<Backup> {
    const backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    return backup
  }

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  const insert = async (backup: Backup, first: number, count: number): Promise<void> => {
    for (let id = first; id < first + count; id++)
      await backup.source.query(`INSERT INTO m VALUES (${id}, '${backup.database}')`)
  }

  test('a second backup is refused topics that another one writes, and the first goes on', {
    timeout: 300_000,
  }, async () => {
    await using first = await prepare()
    await using second = await prepare()
    const kafka = kafkaSettings(bench, 'one-prefix')
    await first.up({ kafka })
    await insert(first, 1000, 20)
    await first.durable()
    await expect(second.up({ kafka })).rejects.toMatchObject({ code: 'LOG_FOREIGN' })
    await insert(first, 2000, 5)
    await first.durable()
    await second.up({ kafka: kafkaSettings(bench, 'another-prefix') })
    await insert(second, 1000, 10)
    await second.durable()
    for (const backup of [first, second]) {
      await equalToSource(backup)
      await backup.stop()
    }
  })

  test('clients that register the same new subject at the same moment get one id', async () => {
    const schema = JSON.stringify({ type: 'record', name: 'r', fields: [{ name: 'x', type: 'long' }] })
    for (let round = 0; round < 5; round++) {
      const ids = await Promise.all(
        Array.from({ length: 6 }, () =>
          new Registry({ url: bench.registry.url }).register(`at-once-${round}-value`, schema),
        ),
      )
      expect(new Set(ids).size).toBe(1)
    }
  })

  test('two that began on the same topics at the same moment: each restores its own rows', {
    timeout: 300_000,
  }, async () => {
    await using first = await prepare()
    await using second = await prepare()
    const kafka = kafkaSettings(bench, 'same-moment')
    await Promise.all([first.up({ kafka }), second.up({ kafka })])
    for (let i = 0; i < 10; i++) {
      await insert(first, 1000 + 2 * i, 2)
      await insert(second, 1000 + i, 1)
    }
    for (const backup of [first, second]) {
      await backup.durable()
      await backup.crash()
      await backup.up({ kafka })
      await insert(backup, 3000, 3)
      await backup.durable()
      await equalToSource(backup)
      await backup.stop()
    }
  })

  test('tables whose topics are one to Kafka get two, and keep them', { timeout: 300_000 }, async () => {
    await using backup = await Backup.prepare({
      setup: `CREATE SCHEMA a; CREATE SCHEMA a_b; CREATE TABLE a.b_c (id int PRIMARY KEY); CREATE TABLE a_b.c (id int PRIMARY KEY)`,
    })
    await backup.init()
    const kafka = kafkaSettings(bench, 'alike')
    for (let round = 0; round < 2; round++) {
      await backup.up({ kafka })
      for (const table of ['a.b_c', 'a_b.c', 'a.b_c', 'a_b.c'])
        await backup.source.query(`INSERT INTO ${table} SELECT coalesce(max(id), 0) + 1 FROM ${table}`)
      await backup.durable()
      await backup.stop()
      const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
      await admin.connect()
      const topics = (await admin.listTopics()).filter((topic) => topic.startsWith('alike.a'))
      await admin.disconnect()
      expect(topics.sort()).toEqual(['alike.a.b_c', expect.stringMatching(/^alike\.a_b\.c-[0-9a-f]{16}$/)])
    }
    await equalToSource(backup)
  })

  test('partitions that somebody adds to topics stay empty, and nothing stops', {
    timeout: 300_000,
  }, async () => {
    await using backup = await prepare()
    const kafka = kafkaSettings(bench, 'widened')
    await backup.up({ kafka })
    await insert(backup, 1000, 10)
    await backup.durable()
    const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.createPartitions({
      topicPartitions: [
        { topic: 'widened.public.m', count: kafka.partitions + 2 },
        { topic: 'widened.transactions', count: 2 },
      ],
    })
    await admin.createTopics({ topics: [{ topic: 'widened.public.other', numPartitions: kafka.partitions }] })
    await insert(backup, 2000, 10)
    await backup.durable()
    await backup.stop()
    await backup.up({ kafka })
    await insert(backup, 3000, 10)
    await backup.durable()
    await backup.stop()
    const offsets = await admin.fetchTopicOffsets('widened.public.m')
    await admin.disconnect()
    const beyond = offsets.filter(({ partition }) => partition >= kafka.partitions)
    expect(beyond.map(({ high }) => high)).toEqual(['0', '0'])
    await equalToSource(backup)
    const said = async (partitions: number) =>
      (await examineLog({ kafka: { ...kafka, partitions } })).flatMap(({ level, code, what, fix }) =>
        code === 'KAFKA_PARTITIONS' ? [`${level} ${what} | ${fix}`] : [],
      )
    expect((await said(kafka.partitions)).every((line) => line.startsWith('warn'))).toBe(true)
    expect(await said(kafka.partitions)).toHaveLength(2)
    // Another number of them would move keys; and one that not all have cannot be.
    expect(await said(kafka.partitions - 1)).toEqual([
      expect.stringMatching(new RegExp(`^refuse .*set kafka.partitions to ${kafka.partitions}`)),
    ])
    expect((await said(kafka.partitions + 2)).filter((line) => line.startsWith('refuse'))).toEqual([
      expect.stringMatching(/widened.public.other has .*add partitions to this topic/),
    ])
  })

  test('doctor names the topics whose own settings lose records or keep them from being read', async () => {
    const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const topic = (name: string, entries: Readonly<Record<string, string>>) => ({
      topic: name,
      numPartitions: name.endsWith('transactions') ? 1 : 3,
      configEntries: Object.entries(entries).map(([key, value]) => ({ name: key, value })),
    })
    await admin.createTopics({
      waitForLeaders: true,
      topics: [
        topic('settings.transactions', { 'cleanup.policy': 'compact', 'retention.ms': '60000' }),
        topic('settings.public.a', { 'unclean.leader.election.enable': 'true', 'max.message.bytes': '1000' }),
        topic('settings.public.b', { 'min.insync.replicas': '1' }),
        topic('settings.public.c', { 'compression.type': 'lz4', 'min.insync.replicas': '1' }),
      ],
    })
    await admin.disconnect()
    const findings = await examineLog({
      kafka: { ...kafkaSettings(bench, 'settings'), replicationFactor: 3 },
    })
    const said = findings.map(({ level, code, what }) => `${level} ${code} ${what}`)
    for (const wanted of [
      'refuse KAFKA_COMPACTED cleanup.policy is compact of settings.transactions',
      'warn KAFKA_RETENTION retention.ms is 60000 of settings.transactions',
      'refuse KAFKA_UNCLEAN unclean.leader.election.enable is true of settings.public.a',
      'refuse KAFKA_MESSAGE_BYTES max.message.bytes is 1000 of settings.public.a',
      'warn KAFKA_MIN_INSYNC min.insync.replicas is 1 of settings.public.',
    ])
      expect(
        said.some((one) => one.startsWith(wanted)),
        `${wanted}: ${said.join('; ')}`,
      ).toBe(true)
    // Topics with the same setting are named together; whatever compresses them is read.
    expect(said.find((one) => one.includes('KAFKA_MIN_INSYNC min.insync.replicas is 1 of'))).toMatch(
      /settings\.public\.[bc], settings\.public\.[bc]/,
    )
    expect(said.filter((one) => one.includes('compression'))).toEqual([])
  })

  test('a replicator that cannot open its log ends, with what it had opened', {
    timeout: 300_000,
  }, async () => {
    await using backup = await prepare()
    const kafka = kafkaSettings(bench, 'unopened')
    await backup.up({ kafka })
    await insert(backup, 1000, 5)
    await backup.durable()
    await backup.stop()
    const stranger = new KafkaJs({
      brokers: [...bench.kafka.bootstrap],
      logLevel: logLevel.NOTHING,
    }).producer()
    await stranger.connect()
    // Of a format that is younger than this version.
    await stranger.send({
      topic: 'unopened.transactions',
      messages: [{ partition: 0, value: 'younger', headers: { tidemark: '1.9.1.0.99' } }],
    })
    await stranger.disconnect()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(
      backup.configPath,
      stringify({ ...settings, log: 'kafka', kafka: kafkaSection(kafka), http: { port: 0 } }),
    )
    const replicator = new Running(['replicator', '--json', '--config', backup.configPath], {
      cwd: backup.folder,
    })
    // A connection that stays open would hold the process for ten minutes, until the broker gives it up.
    expect((await replicator.finished).code).toBe(6)
  })

  /** The ledger and the log as an older version leaves them, with the source's next transactions in units without an id. */
  async function older(backup: Backup, kafka: KafkaConfig, isAcknowledged: boolean): Promise<Position> {
    const repository = await backup.openRepository()
    const generation = repository.catalog.generation!
    const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const [end] = await admin.fetchTopicOffsets(`${kafka.prefix}.transactions`)
    await admin.disconnect()
    const log = { log: generation.log!.log, from: end!.high, at: end!.high, since: '0', unit: '' }
    const entry = await repository.append({
      kind: 'lanes',
      generation: 1,
      log,
      reason: 'as an older version',
    })
    await insert(backup, 4000, 10)
    const items: LogItem[] = []
    const source = openSource({ ...backup.config, kafka }, generation)
    try {
      for await (const item of source.stream(generation.endPoint, AbortSignal.timeout(120_000))) {
        if (item.kind === 'changes') items.push(item)
        if (items.length === 10) break
      }
    } finally {
      await source.close()
    }
    await writeOlder(bench, kafka.prefix, kafka.partitions, {
      generation: 1,
      term: Number(entry.number) + 1,
      items,
    })
    const last = items.at(-1)!
    const reached = last.kind === 'changes' ? last.end! : generation.end
    if (isAcknowledged)
      await backup.until(async () => {
        const answer = await backup.source
          .query('SELECT pg_replication_slot_advance($1, $2::pg_lsn)', [backup.slot, positionText(reached)])
          .catch(() => undefined)
        return answer !== undefined
      })
    return reached
  }

  test.each(byTurns('acknowledged with', ['segment', 'log'] as const, 1))(
    'an upgrade in mid-stream, with units of an older version that nobody has read, acknowledged with the %s',
    { timeout: 300_000 },
    async (acknowledge) => {
      await using backup = await prepare()
      const kafka = kafkaSettings(bench, `upgrade-${acknowledge}`, { acknowledge })
      await backup.up({ kafka })
      await insert(backup, 1000, 5)
      await backup.durable()
      await backup.stop()
      await older(backup, kafka, acknowledge === 'log')
      await insert(backup, 5000, 5)
      await backup.up({ kafka })
      await insert(backup, 6000, 5)
      await backup.durable()
      await equalToSource(backup)
      const { log } = backup.repository.catalog.generation!
      expect(log?.idsFrom).toBeDefined()
      expect(backup.repository.catalog.gaps).toEqual([])
      expect(backup.repository.catalog.generations.length).toBe(1)
      // Once more, with nothing of the older version left to read.
      await backup.stop()
      await backup.up({ kafka })
      await insert(backup, 7000, 5)
      await backup.durable()
      await backup.stop()
      await equalToSource(backup)
      expect(backup.repository.catalog.gaps).toEqual([])
    },
  )
})

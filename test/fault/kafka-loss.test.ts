/** Kafka loses what is not in the store yet: said, never jumped over, and nothing is lost that the source still has. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import { parsePosition } from '../../services/core/position.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { Running } from '../support/cli.ts'
import { kafkaSection, kafkaSettings, NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { MemoryRegistry } from '../support/memory-registry.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

let bench: SharedKafka

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
  }, 300_000)
  afterEach(() => Running.killAll())

  async function prepare(prefix: string, over: Partial<KafkaConfig> = {}): Promise<Backup> {
    const backup = await Backup.prepare({
      setup: `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, 'old' FROM generate_series(1, 50) g`,
    })
    await backup.init()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(
      backup.configPath,
      stringify({
        ...settings,
        log: 'kafka',
        kafka: kafkaSection(kafkaSettings(bench, prefix, over)),
        roll: { age: '200ms', size: '1MiB' },
        http: { port: 0 },
      }),
    )
    return backup
  }

  const start = (backup: Backup, name: string): Running =>
    new Running([name, '--json', '--config', backup.configPath], { cwd: backup.folder })
  const insert = (backup: Backup, from: number): Promise<unknown> =>
    backup.source.query(
      `INSERT INTO m SELECT g, repeat(md5(g::text), 20) FROM generate_series(${from}, ${from + 200}) g`,
    )

  async function until(
    condition: () => boolean | Promise<boolean>,
    running: readonly Running[],
  ): Promise<void> {
    const deadline = performance.now() + 60_000
    while (!(await condition())) {
      if (performance.now() > deadline)
        throw new Error(running.map((one) => one.output.slice(-1500)).join('\n---\n'))
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  async function confirmed(backup: Backup, slot: string, running: readonly Running[]): Promise<void> {
    const head = (await backup.source.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!
      .l
    await until(async () => {
      await backup.source.query(`UPDATE m SET body = body WHERE id = 1`)
      return (
        (
          await backup.source.query<{ ok: boolean }>(
            'SELECT confirmed_flush_lsn >= $2::pg_lsn AS ok FROM pg_replication_slots WHERE slot_name = $1',
            [slot, head],
          )
        ).rows[0]?.ok === true
      )
    }, running)
  }

  /** Until the store has everything written so far, whatever the slot says. */
  async function stored(backup: Backup, running: readonly Running[]): Promise<void> {
    const head = await backup.head()
    await until(async () => {
      await backup.source.query('UPDATE m SET body = body WHERE id = 1')
      return (await backup.openRepository()).catalog.generation!.end >= head
    }, running)
  }

  async function admin<T>(action: (admin: ReturnType<KafkaJs['admin']>) => Promise<T>): Promise<T> {
    const client = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await client.connect()
    try {
      return await action(client)
    } finally {
      await client.disconnect()
    }
  }

  /** How many changes the log has taken: the ends of a topic's partitions together. */
  const written = (topic: string): Promise<number> =>
    admin(async (client) =>
      (await client.fetchTopicOffsets(topic)).reduce((sum, partition) => sum + Number(partition.high), 0),
    )

  const ended = async (running: readonly Running[]): Promise<void> => {
    for (const one of running) one.child.kill('SIGTERM')
    for (const answer of await Promise.all(running.map((one) => one.finished)))
      expect(answer.last.ok, answer.stdout.slice(-800) + answer.stderr).toBe(true)
  }

  const equalToSource = async (backup: Backup): Promise<void> => {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  const LOSSES: Readonly<Record<string, (prefix: string) => Promise<unknown>>> = {
    'retention ran ahead of the compactor': (prefix: string) =>
      admin(async (client) => {
        const ends = await client.fetchTopicOffsets(`${prefix}.public.m`)
        await client.deleteTopicRecords({
          topic: `${prefix}.public.m`,
          partitions: ends.map(({ partition, high }) => ({ partition, offset: high })),
        })
      }),
    'the topic of transactions is deleted': (prefix: string) =>
      admin((client) => client.deleteTopics({ topics: [`${prefix}.transactions`] })),
    'the topic of a table is deleted': (prefix: string) =>
      admin((client) => client.deleteTopics({ topics: [`${prefix}.public.m`] })),
  }

  test.each(byTurns('what Kafka loses', Object.keys(LOSSES), 1))(
    '%s: the log begins anew, the source sends again, no gap',
    { timeout: 200_000 },
    async (what) => {
      const prefix = `lost-${what.split(' ').at(2)!}-${what.length}`
      await using backup = await prepare(prefix)
      const replicator = start(backup, 'replicator')
      let compactor = start(backup, 'compactor')
      await compactor.said('"streaming"')
      await insert(backup, 1000)
      await confirmed(backup, backup.slot, [replicator, compactor])
      compactor.child.kill('SIGTERM')
      await compactor.finished
      const before = await written(`${prefix}.public.m`)
      await insert(backup, 2000)
      await until(async () => (await written(`${prefix}.public.m`)) >= before + 200, [replicator])
      await LOSSES[what]!(prefix)
      compactor = start(backup, 'compactor')
      await compactor.said('"log-anew"')
      await insert(backup, 3000)
      await confirmed(backup, backup.slot, [replicator, compactor])
      await ended([replicator, compactor])
      await equalToSource(backup)
      const { catalog } = await backup.openRepository()
      expect(catalog.gaps).toEqual([])
      expect(catalog.generations.length).toBe(1)
    },
  )

  test("a replicator that starts behind a log which is ahead of the store acknowledges the store's end, and no more", {
    timeout: 200_000,
  }, async () => {
    await using backup = await prepare('ahead')
    let replicator = start(backup, 'replicator')
    let compactor = start(backup, 'compactor')
    await compactor.said('"streaming"')
    await insert(backup, 1000)
    await confirmed(backup, backup.slot, [replicator, compactor])
    await ended([compactor])
    const before = await written('ahead.public.m')
    await insert(backup, 2000)
    await until(async () => (await written('ahead.public.m')) >= before + 200, [replicator])
    const held = async (): Promise<bigint> =>
      parsePosition(
        (
          await backup.source.query<{ l: string }>(
            'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
            [backup.slot],
          )
        ).rows[0]!.l,
      )
    const { end } = (await backup.openRepository()).catalog.generation!
    expect(await held()).toBeLessThanOrEqual(end)
    replicator.child.kill('SIGKILL')
    await replicator.finished
    replicator = start(backup, 'replicator')
    await replicator.said('"starting"')
    // It has read what is new, so it has told the server where it stands.
    await insert(backup, 3000)
    await until(async () => (await written('ahead.public.m')) >= before + 400, [replicator])
    expect(await held()).toBeLessThanOrEqual(end)
    // Now Kafka loses what the store does not have: the source still has it.
    await admin(async (client) => {
      const ends = await client.fetchTopicOffsets('ahead.public.m')
      await client.deleteTopicRecords({
        topic: 'ahead.public.m',
        partitions: ends.map(({ partition, high }) => ({ partition, offset: high })),
      })
    })
    compactor = start(backup, 'compactor')
    await compactor.said('"log-anew"')
    await confirmed(backup, backup.slot, [replicator, compactor])
    await ended([replicator, compactor])
    await equalToSource(backup)
    expect((await backup.openRepository()).catalog.gaps).toEqual([])
  })

  test('retention removes everything that is stored already: partitions that stood idle go on, and nothing is missed', {
    timeout: 200_000,
  }, async () => {
    await using backup = await prepare('idle')
    const replicator = start(backup, 'replicator')
    let compactor = start(backup, 'compactor')
    await compactor.said('"streaming"')
    await insert(backup, 1000)
    const before = await backup.head()
    await insert(backup, 2000)
    // Everything is stored: nothing was written behind it.
    await until(
      async () => (await backup.openRepository()).catalog.generation!.to > before,
      [replicator, compactor],
    )
    await ended([compactor])
    await admin(async (client) => {
      const ends = await client.fetchTopicOffsets('idle.public.m')
      await client.deleteTopicRecords({
        topic: 'idle.public.m',
        partitions: ends.map(({ partition, high }) => ({ partition, offset: high })),
      })
    })
    // One row: one partition goes on, the others stay idle.
    await backup.source.query(`INSERT INTO m VALUES (70001, 'x')`)
    compactor = start(backup, 'compactor')
    await compactor.said('"streaming"')
    for (let id = 70002; id < 70020; id++) {
      await backup.source.query(`INSERT INTO m VALUES (${id}, 'x')`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await confirmed(backup, backup.slot, [replicator, compactor])
    await ended([replicator, compactor])
    expect(compactor.output).not.toContain('log-anew')
    await equalToSource(backup)
  })

  test.each(byTurns('acknowledged with', ['segment', 'log'] as const, 1))(
    'retention removes everything that is stored, the transactions too, acknowledged with the %s: no hole, no gap',
    { timeout: 200_000 },
    async (acknowledge) => {
      const prefix = `trimmed-${acknowledge}`
      await using backup = await prepare(prefix, { acknowledge })
      const first = [start(backup, 'replicator'), start(backup, 'compactor')]
      await first[1]!.said('"streaming"')
      await insert(backup, 1000)
      await stored(backup, first)
      // The source may be acknowledged with the log: what it was acknowledged with last is stored before the other half ends.
      await ended([first[0]!])
      const { rows } = await backup.source.query<{ l: string }>(
        'SELECT confirmed_flush_lsn::text AS l FROM pg_replication_slots WHERE slot_name = $1',
        [backup.slot],
      )
      await until(
        async () => (await backup.openRepository()).catalog.generation!.end >= parsePosition(rows[0]!.l),
        first,
      )
      await ended([first[1]!])
      await admin(async (client) => {
        for (const topic of [`${prefix}.public.m`, `${prefix}.transactions`])
          await client.deleteTopicRecords({
            topic,
            partitions: (await client.fetchTopicOffsets(topic)).map(({ partition, high }) => ({
              partition,
              offset: high,
            })),
          })
      })
      const second = [start(backup, 'replicator'), start(backup, 'compactor')]
      await second[1]!.said('"streaming"')
      await insert(backup, 2000)
      await stored(backup, second)
      await ended(second)
      for (const one of second) expect(one.output).not.toContain('log-anew')
      await equalToSource(backup)
      const { catalog } = await backup.openRepository()
      expect(catalog.gaps).toEqual([])
      expect(catalog.generations.length).toBe(1)
    },
  )

  test('two halves with different registries begin the log anew a few times, and then say so', {
    timeout: 240_000,
  }, async () => {
    await using registry = await MemoryRegistry.start()
    await using backup = await prepare('two-registries')
    const other = join(backup.folder, 'other.yaml')
    const settings = parse(await readFile(backup.configPath, 'utf8')) as { kafka: Record<string, unknown> }
    await writeFile(
      other,
      stringify({ ...settings, kafka: { ...settings.kafka, registry: { url: registry.url } } }),
    )
    const replicator = start(backup, 'replicator')
    const compactor = new Running(['compactor', '--json', '--config', other], { cwd: backup.folder })
    const writing = setInterval(
      () => void backup.source.query(`INSERT INTO m VALUES (${Math.floor(Math.random() * 1e9)}, 'x')`),
      1000,
    )
    try {
      const answer = await compactor.finished
      expect(answer.last.error?.code, answer.stdout.slice(-800)).toBe('LOG_REFUSED')
      expect(answer.stdout).toMatch(/began anew \d times, and nothing of it could be stored/)
    } finally {
      clearInterval(writing)
    }
    const right = start(backup, 'compactor')
    await stored(backup, [replicator, right])
    await ended([replicator, right])
    await equalToSource(backup)
    expect((await backup.openRepository()).catalog.gaps).toEqual([])
  })

  test("a registry's password is in nothing that is said", { timeout: 120_000 }, async () => {
    const password = `secret-${Math.random()}`
    const registry = {
      url: `http://reader:${password}@127.0.0.1:1/apis`,
      user: undefined,
      password: undefined,
    }
    await using backup = await prepare('registry-password', { registry })
    const replicator = start(backup, 'replicator')
    await until(() => replicator.output.split('the schema registry at').length > 3, [replicator])
    replicator.child.kill('SIGTERM')
    await replicator.finished
    const doctor = start(backup, 'doctor')
    await doctor.finished
    expect(replicator.output).toContain('http://127.0.0.1:1/apis')
    for (const { output } of [replicator, doctor]) expect(output).not.toContain(password)
  })

  test('acknowledged with the log: the source keeps less; what Kafka loses then is a recorded gap, a new generation and a base', {
    timeout: 200_000,
  }, async () => {
    await using backup = await prepare('trusted', { acknowledge: 'log' })
    const replicator = start(backup, 'replicator')
    let compactor = start(backup, 'compactor')
    await compactor.said('"streaming"')
    await insert(backup, 1000)
    await confirmed(backup, backup.slot, [replicator, compactor])
    compactor.child.kill('SIGTERM')
    await compactor.finished
    await insert(backup, 2000)
    // The slot moves on although nothing is stored.
    await confirmed(backup, backup.slot, [replicator])
    compactor = start(backup, 'compactor')
    await compactor.said('"streaming"')
    await insert(backup, 2500)
    await stored(backup, [replicator, compactor])
    await equalToSource(backup)
    compactor.child.kill('SIGTERM')
    await compactor.finished
    await insert(backup, 3000)
    await confirmed(backup, backup.slot, [replicator])
    await admin(async (client) => {
      const ends = await client.fetchTopicOffsets('trusted.public.m')
      await client.deleteTopicRecords({
        topic: 'trusted.public.m',
        partitions: ends.map(({ partition, high }) => ({ partition, offset: high })),
      })
    })
    compactor = start(backup, 'compactor')
    await replicator.said('"event":"generation"')
    await until(
      async () => (await backup.openRepository()).catalog.generation!.base !== undefined,
      [replicator, compactor],
    )
    await insert(backup, 4000)
    await stored(backup, [replicator, compactor])
    await ended([replicator, compactor])
    await equalToSource(backup)
    const { catalog } = await backup.openRepository()
    expect(catalog.generations.length).toBe(2)
    expect(catalog.gaps).toMatchObject([
      { scope: { kind: 'stream' }, reason: expect.stringContaining('change log lost') as string },
    ])
  })
})

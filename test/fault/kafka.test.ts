/** What Kafka, its registry and other people can do to the change log. After each: nothing lost, nothing doubled. */
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify, parse } from 'yaml'
import { transactionalId } from '../../services/adapters/kafka/records/log-name.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { LIMITS } from '../../services/core/limits.ts'
import type { Position } from '../../services/core/position.ts'
import { examineLog } from '../../services/app/wiring/compose.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { byTurns } from '../support/by-turns.ts'
import { Running, tidemark } from '../support/cli.ts'
import { type KafkaBench, kafkaSection, kafkaSettings, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'

let bench: KafkaBench

const UNIT_POINTS = ['unit-begun', 'unit-sent', 'unit-progress:2', 'unit-committed', 'unit-sent:4']
const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); CREATE TABLE bare (v int); INSERT INTO m SELECT g, repeat(md5(g::text), 1 + g % 100) FROM generate_series(1, 500) g`

async function write(backup: Backup, round: number): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const id = 10_000 + round * 1000 + i * 10
    await backup.source.query(
      `BEGIN; INSERT INTO m SELECT g, repeat(md5(g::text), 30) FROM generate_series(${id}, ${id + 5}) g; UPDATE m SET id = id + 10000000, body = body || 'x' WHERE id = ${id}; DELETE FROM m WHERE id = ${id + 1}; INSERT INTO bare VALUES (${round}), (${round}); DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare); COMMIT`,
    )
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
}

async function equalToSource(backup: Backup): Promise<void> {
  const restored = await backup.restore('latest')
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
}

/** Everything up to there is stored, and a base that it closes. */
async function storedUpTo(backup: Backup, head: Position, running: Running): Promise<void> {
  // What the server writes by itself behind the last commit is stored with the next heartbeat.
  for (const limit = performance.now() + 3 * LIMITS.heartbeatMs; performance.now() < limit; ) {
    const { base, end } = (await backup.openRepository()).catalog.generation!
    if (base !== undefined && base.closing <= end && end >= head) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`not stored: ${running.output.slice(-1500)}`)
}

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await startKafka()
  }, 300_000)
  afterAll(async () => {
    await bench[Symbol.asyncDispose]()
  })

  const kafka = (prefix: string) => kafkaSettings(bench, prefix)

  async function configure(backup: Backup, prefix: string): Promise<void> {
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(
      backup.configPath,
      stringify({
        ...settings,
        log: 'kafka',
        kafka: kafkaSection(kafka(prefix)),
        roll: { age: '200ms', size: '1MiB' },
        http: { port: 0 },
      }),
    )
  }

  test.each([
    ...byTurns('points of a unit', UNIT_POINTS, 2),
    ...byTurns('points of a cut', ['segment-stored:2', 'before-entry:2', 'after-entry:2'], 1),
  ])('kill -9 of Tidemark at %s', async (point) => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await configure(backup, `crash-${point.replace(':', '-')}`)
    const args = ['up', '--json', '--config', backup.configPath]
    const first = new Running(args, { cwd: backup.folder, env: { TIDEMARK_CRASH_AT: point } })
    let killed: Awaited<typeof first.finished> | undefined
    void first.finished.then((answer) => (killed = answer))
    let round = 1
    for (
      const limit = performance.now() + 120_000;
      killed === undefined && performance.now() < limit;
      round++
    )
      await write(backup, round)
    if (killed === undefined) first.child.kill('SIGKILL')
    expect(killed?.signal, `the point ${point} was never passed: ${first.output.slice(-1500)}`).toBe(
      'SIGKILL',
    )
    await write(backup, round + 1)
    const second = new Running(args, { cwd: backup.folder })
    await second.said('"streaming"')
    await write(backup, round + 2)
    const expected = shown(await digests(backup.sourceUrl))
    await storedUpTo(backup, await backup.head(), second)
    second.child.kill('SIGTERM')
    const ended = await second.finished
    expect(ended.last.ok, ended.stdout.slice(-500) + ended.stderr).toBe(true)
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(expected)
  })

  test('replicator and compactor as processes of their own, each killed in its turn', async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await configure(backup, 'halves')
    const start = (name: string): Running =>
      new Running([name, '--json', '--config', backup.configPath], { cwd: backup.folder })
    let replicator = start('replicator')
    let compactor = start('compactor')
    await replicator.said('"streaming"')
    await compactor.said('"streaming"')
    await write(backup, 1)
    await compactor.said('"durable"')
    compactor.child.kill('SIGKILL')
    await write(backup, 2)
    await backup.source.query(`ALTER TABLE m ALTER COLUMN body TYPE varchar USING 'v' || body`)
    replicator.child.kill('SIGKILL')
    await Promise.all([compactor.finished, replicator.finished])
    await write(backup, 3)
    compactor = start('compactor')
    replicator = start('replicator')
    await replicator.said('"starting"')
    await write(backup, 4)
    // The slot follows what the compactor made durable, as the ledger tells.
    const head = (await backup.source.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!
      .l
    const deadline = performance.now() + 60_000
    for (;;) {
      const slot = await backup.source.query<{ ok: boolean }>(
        'SELECT confirmed_flush_lsn >= $2::pg_lsn AS ok FROM pg_replication_slots WHERE slot_name = $1',
        [backup.slot, head],
      )
      const { catalog } = await backup.openRepository()
      if (slot.rows[0]?.ok === true && catalog.openGaps.length === 0 && catalog.gaps.length > 0) break
      if (performance.now() > deadline)
        throw new Error(
          `the slot did not follow: ${replicator.output.slice(-800)} ${compactor.output.slice(-800)}`,
        )
      await backup.source.query('INSERT INTO bare VALUES (7)')
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    const expected = shown(await digests(backup.sourceUrl))
    await new Promise((resolve) => setTimeout(resolve, 1500))
    replicator.child.kill('SIGTERM')
    compactor.child.kill('SIGTERM')
    for (const ended of await Promise.all([replicator.finished, compactor.finished]))
      expect(ended.last.ok, ended.stdout.slice(-500) + ended.stderr).toBe(true)
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(expected)
  })

  test('the broker is killed and comes back', async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafka('broker') })
    await write(backup, 1)
    await backup.durable()
    await bench.kafka.kill()
    await write(backup, 2)
    await backup.until(() =>
      backup.events.some((event) => event.event === 'retry' && event.code === 'LOG_UNREACHABLE'),
    )
    await bench.kafka.start()
    await write(backup, 3)
    await backup.durable(90_000)
    await equalToSource(backup)
  })

  test('doctor names settings under which accepted records vanish', async () => {
    const client = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING })
    const admin = client.admin()
    await admin.connect()
    await admin.createTopics({
      topics: [
        {
          topic: 'doctor.public.t',
          numPartitions: 2,
          replicationFactor: 1,
          configEntries: [{ name: 'cleanup.policy', value: 'compact' }],
        },
      ],
    })
    await admin.disconnect()
    const codes = async (settings: Parameters<typeof examineLog>[0]['kafka']): Promise<string[]> =>
      (await examineLog({ kafka: settings })).map((finding) => `${finding.level} ${finding.code}`).sort()
    expect(await codes(kafka('doctor'))).toEqual([
      'refuse KAFKA_COMPACTED',
      'refuse KAFKA_PARTITIONS',
      'warn KAFKA_REPLICATION',
    ])
    expect(await codes({ ...kafka('healthy'), replicationFactor: 3 })).toEqual([
      'refuse KAFKA_BROKERS',
      'warn KAFKA_MIN_INSYNC',
    ])
    expect(await codes({ ...kafka('gone'), brokers: ['127.0.0.1:1'] })).toEqual(['refuse LOG_UNREACHABLE'])
    const nowhere = { url: 'http://somebody:secret@127.0.0.1:1', user: undefined, password: undefined }
    const unregistered = await examineLog({ kafka: { ...kafka('healthy'), registry: nowhere } })
    expect(unregistered.find(({ level }) => level === 'refuse')).toMatchObject({
      code: 'LOG_UNREACHABLE',
      what: 'the schema registry at http://127.0.0.1:1/ cannot be reached',
    })
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await expect(backup.up({ kafka: kafka('doctor') })).rejects.toMatchObject({ code: 'LOG_REFUSED' })
    // Before anything is made, where the cluster says that it cannot be.
    const { brokers, registry } = kafka('unused')
    await using other = await Backup.prepare({ setup: SETUP })
    const tried = await tidemark(
      [
        ...['init', '--yes', '--json', '--source', other.sourceUrl, '--store', other.storeUrl],
        ...['--name', `k${other.database}`, '--kafka', brokers.join(','), '--registry', registry.url],
      ],
      other.folder,
    )
    expect(tried.last.error?.message).toContain('kafka.replicationFactor is 3, the cluster has 1 brokers')
    expect(tried.code).not.toBe(0)
  })

  test('the registry is away while a table is made: it waits, says so, and goes on', async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafka('registry') })
    await write(backup, 1)
    await backup.durable()
    bench.registry.process.signal('SIGSTOP')
    await backup.source.query(
      `CREATE TABLE made (id int PRIMARY KEY, v text); INSERT INTO made VALUES (1, 'x')`,
    )
    await backup.until(() =>
      backup.events.some((event) => event.event === 'retry' && event.message.includes('registry')),
    )
    bench.registry.process.signal('SIGCONT')
    await write(backup, 2)
    await backup.durable(90_000)
    await equalToSource(backup)
  })

  test('the registry comes back without its schemas, and gives their ids to others: the source sends again, or it is said what to do', {
    timeout: 300_000,
  }, async () => {
    const admin = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const both = await Promise.all(
      (['segment', 'log'] as const).map(async (acknowledge) => {
        const backup = await Backup.prepare({ setup: SETUP })
        await backup.init()
        const settings = { ...kafka(`lost-schemas-${acknowledge}`), acknowledge }
        await backup.up({ kafka: settings })
        await backup.durable()
        await backup.stop()
        // A shape that nobody has stored yet, in units that nobody has read.
        await backup.up({ kafka: settings, role: 'replicator' })
        await backup.source.query(`ALTER TABLE m ADD COLUMN more int DEFAULT 7`)
        await write(backup, 1)
        const topic = `${settings.prefix}.public.m`
        await backup.until(async () =>
          (await admin.fetchTopicOffsets(topic).catch(() => [])).some(({ high }) => Number(high) > 0),
        )
        await backup.stop()
        return { acknowledge, backup, settings }
      }),
    )
    try {
      await bench.registry.process.kill()
      await bench.registry.start()
      for (let id = 0; id < 20; id++)
        await fetch(`${bench.registry.url}/subjects/other-${id}/versions`, {
          method: 'POST',
          headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
          body: JSON.stringify({ schema: JSON.stringify({ type: 'fixed', name: `f${id}`, size: 1 }) }),
        })
      for (const { acknowledge, backup, settings } of both) {
        if (acknowledge === 'log') {
          const storing = (async () => {
            await backup.up({ kafka: settings, waitFor: 'starting' })
            await backup.durable(90_000)
          })()
          await expect(storing).rejects.toMatchObject({
            code: 'LOG_REFUSED',
            message: expect.stringContaining('lost its schemas') as string,
            next: expect.stringContaining('restore the registry') as string,
          })
          continue
        }
        await backup.up({ kafka: settings, waitFor: 'starting' })
        await write(backup, 2)
        await backup.durable(90_000)
        await equalToSource(backup)
        const { catalog } = await backup.openRepository()
        expect([catalog.gaps, catalog.generations.length]).toEqual([[], 1])
        expect(backup.events).toContainEqual(
          expect.objectContaining({
            event: 'log-anew',
            reason: expect.stringContaining('lost its schemas') as string,
          }),
        )
      }
    } finally {
      await admin.disconnect()
      for (const { backup } of both) await backup[Symbol.asyncDispose]()
    }
  })

  test('a schema that older readers cannot read is registered all the same, and every record names its own', async () => {
    await using backup = await Backup.prepare({ setup: 'CREATE TABLE t (id int PRIMARY KEY, v int)' })
    await backup.init()
    await backup.up({ kafka: kafka('schemas') })
    await backup.source.query(
      `INSERT INTO t VALUES (1, 1); ALTER TABLE t ADD COLUMN w text; INSERT INTO t VALUES (2, 2, 'w')`,
    )
    await backup.durable()
    await backup.source.query(`ALTER TABLE t ALTER v TYPE text; INSERT INTO t VALUES (3, 'three', 'w')`)
    await backup.until(() => backup.events.some((event) => event.event === 'gap-closed'))
    await backup.source.query(`INSERT INTO t VALUES (4, 'four', 'w')`)
    await backup.durable()
    await equalToSource(backup)
    const versions = (await (
      await fetch(`${bench.registry.url}/subjects/schemas.public.t-value/versions`)
    ).json()) as number[]
    expect(versions.length).toBe(3)
    const level = (await (await fetch(`${bench.registry.url}/config/schemas.public.t-value`)).json()) as {
      compatibilityLevel: string
    }
    expect(level.compatibilityLevel).toBe('BACKWARD')
  })

  test('a second Tidemark fences the first, which writes nothing more', async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafka('zombie') })
    await write(backup, 1)
    await backup.durable()
    // As a second Tidemark does: it takes the lane in the ledger, then fences. What the first one does next fails, for good.
    await (
      await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })
    ).repository.claim(0)
    const other = new KafkaJs({
      brokers: [...bench.kafka.bootstrap],
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 5 },
    }).producer({
      transactionalId: transactionalId('zombie', backup.repository.catalog.stream),
      idempotent: true,
      maxInFlightRequests: 1,
    })
    await other.connect()
    await (await other.transaction()).abort()
    await other.disconnect()
    await write(backup, 2)
    const ended = await backup.running.then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(ended).toBeInstanceOf(TidemarkError)
    expect(['LOG_FENCED', 'WRITER_FENCED']).toContain((ended as TidemarkError).code)
    await backup.crash()
    await backup.up({ kafka: kafka('zombie') })
    await backup.durable()
    await equalToSource(backup)
  })

  test('garbage in the topics is passed over and said; a topic that was deleted is a hole and never a silent jump', async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafka('garbage') })
    await write(backup, 1)
    await backup.durable()
    const client = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING })
    const stranger = client.producer()
    await stranger.connect()
    await stranger.send({
      topic: 'garbage.public.m',
      messages: [0, 1, 2].map((partition) => ({ partition, key: 'x', value: 'not ours' })),
    })
    await stranger.send({ topic: 'garbage.transactions', messages: [{ partition: 0, value: 'nor this' }] })
    await stranger.disconnect()
    await write(backup, 2)
    await backup.durable()
    expect(backup.events.filter((event) => event.event === 'foreign').length).toBeGreaterThanOrEqual(1)
    await equalToSource(backup)
    await backup.stop()
    const admin = client.admin()
    await admin.connect()
    await admin.deleteTopics({ topics: ['garbage.public.m'] })
    await new Promise((resolve) => setTimeout(resolve, 1000))
    await admin.disconnect()
    await backup.up({ kafka: kafka('garbage') })
    await write(backup, 3)
    await backup.durable()
    await equalToSource(backup)
    expect(backup.repository.catalog.gaps).toEqual([])
  })
})

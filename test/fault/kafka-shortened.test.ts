/** A broker comes back with less than it had said that it has: nothing is chained over the hole, and nothing is lost that the source still has. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { KafkaChangeLog } from '../../services/adapters/kafka/change-log/kafka-change-log.ts'
import { TailReader } from '../../services/adapters/kafka/reading/log-tail.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import type { KafkaConfig } from '../../services/app/config/config.ts'
import { Up } from '../../services/app/daemon/up.ts'
import type { UpEvent } from '../../services/app/daemon/up-events.ts'
import { TidemarkError } from '../../services/core/errors.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { BrokerDisk } from '../support/broker-disk.ts'
import { items, openKafkaLog, shownItem } from '../support/kafka-log.ts'
import { type KafkaBench, kafkaSettings, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); INSERT INTO m SELECT g, 'old' FROM generate_series(1, 20) g`
const LIMIT_MS = 300_000

let bench: KafkaBench
let disk: BrokerDisk

/** One that no other file of the run uses: its broker is stopped here. */
describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await startKafka()
    disk = new BrokerDisk(bench.kafka.folder)
  }, 300_000)
  afterAll(async () => {
    await bench[Symbol.asyncDispose]()
  })

  const admin = async <T>(action: (client: ReturnType<KafkaJs['admin']>) => Promise<T>): Promise<T> => {
    const client = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING }).admin()
    await client.connect()
    try {
      return await action(client)
    } finally {
      await client.disconnect()
    }
  }

  /** Of each partition; a broker that has just started does not lead them yet. */
  async function ends(topic: string): Promise<number[]> {
    for (const deadline = performance.now() + LIMIT_MS; ; ) {
      try {
        const found = await admin((client) => client.fetchTopicOffsets(topic))
        return found.sort((x, y) => x.partition - y.partition).map(({ high }) => Number(high))
      } catch (error) {
        if (performance.now() > deadline) throw error
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }

  const sum = (of: readonly number[]): number => of.reduce((all, one) => all + one, 0)

  /** Rows in transactions of their own; resolves once the log has them. */
  async function write(backup: Backup, prefix: string, first: number, count: number): Promise<void> {
    const before = sum(await ends(`${prefix}.public.m`))
    for (let id = first; id < first + count; id++)
      await backup.source.query(`INSERT INTO m VALUES (${id}, 'new')`)
    await backup.until(async () => sum(await ends(`${prefix}.public.m`)) >= before + count)
  }

  /** Protected, everything stored so far, and from now on a replicator alone. */
  async function replicating(prefix: string, over: Partial<KafkaConfig> = {}): Promise<Backup> {
    const backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    const kafka = kafkaSettings(bench, prefix, over)
    await backup.up({ kafka })
    await backup.source.query(`INSERT INTO m SELECT g, 'stored' FROM generate_series(100, 119) g`)
    await backup.durable(LIMIT_MS)
    await backup.stop()
    await backup.up({ kafka, role: 'replicator' })
    return backup
  }

  /** The other side, until it has stored what the source has. */
  async function compact(backup: Backup, kafka: KafkaConfig): Promise<readonly UpEvent[]> {
    const { repository } = await openBackup({ storeUrl: backup.storeUrl, keys: backup.keys, role: 'writer' })
    const events: UpEvent[] = []
    const compactor = new Up({
      config: { ...backup.config, kafka },
      role: 'compactor',
      repository,
      onEvent: (event) => void events.push(event),
    })
    const leave = new AbortController()
    const running = compactor.run(leave.signal)
    running.catch(() => undefined)
    const stored = async (): Promise<void> => {
      await backup.durable(LIMIT_MS)
      // A new generation has a new base, which the stream closes.
      await backup.until(() => backup.repository.catalog.generation!.base !== undefined, LIMIT_MS)
      await backup.source.query(`INSERT INTO m VALUES (9999, 'last')`)
      await backup.durable(LIMIT_MS)
    }
    try {
      await Promise.race([stored(), running.then(() => Promise.reject(new Error('it ended')))])
      compactor.drain()
      await running
      return events
    } finally {
      leave.abort()
      await running.catch(() => undefined)
    }
  }

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  const noGap = async (backup: Backup): Promise<void> => {
    const { catalog } = await backup.openRepository()
    expect(catalog.gaps).toEqual([])
    expect(catalog.generations.length).toBe(1)
  }

  test('the end of the transactions, of one partition of a table, or all folders of a backup: the source sends again', {
    timeout: 600_000,
  }, async () => {
    const losses = {
      transactions: async (prefix: string) => {
        const [end] = await ends(`${prefix}.transactions`)
        return () => disk.shorten(`${prefix}.transactions`, 0, end! - 14)
      },
      table: async (prefix: string) => {
        const [end] = await ends(`${prefix}.public.m`)
        return () => disk.shorten(`${prefix}.public.m`, 0, end! - 4)
      },
      folders: () =>
        Promise.resolve(async (prefix: string) => {
          await disk.lose(`${prefix}.transactions`, 0)
          for (const partition of [0, 1, 2]) await disk.lose(`${prefix}.public.m`, partition)
        }),
    }
    const backups = await Promise.all(
      Object.keys(losses).map(async (name) => ({
        prefix: `short-${name}`,
        backup: await replicating(`short-${name}`),
      })),
    )
    try {
      await Promise.all(backups.map(({ backup, prefix }) => write(backup, prefix, 1000, 20)))
      const cuts = await Promise.all(Object.values(losses).map((loss, i) => loss(backups[i]!.prefix)))
      await bench.kafka.kill()
      for (const [i, cut] of cuts.entries()) await cut(backups[i]!.prefix)
      await bench.kafka.start()
      await Promise.all(
        backups.map(async ({ backup, prefix }) => {
          for (let id = 2000; id < 2010; id++)
            await backup.source.query(`INSERT INTO m VALUES (${id}, 'new')`)
          await compact(backup, kafkaSettings(bench, prefix))
          await backup.stop()
          await equalToSource(backup)
          await noGap(backup)
        }),
      )
    } finally {
      for (const { backup } of backups) await backup[Symbol.asyncDispose]()
    }
  })

  test('a broker restored from an older copy, or empty', { timeout: 600_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-broker-'))
    const backups = ['older', 'log'].map((name) => ({
      prefix: `old-${name}`,
      kafka: kafkaSettings(bench, `old-${name}`, { acknowledge: name === 'log' ? 'log' : 'segment' }),
    }))
    const running = await Promise.all(
      backups.map(async (one) => ({ ...one, backup: await replicating(one.prefix, one.kafka) })),
    )
    try {
      for (const { backup, prefix } of running) await write(backup, prefix, 1000, 5)
      await bench.kafka.stop()
      await disk.copyTo(folder)
      await bench.kafka.start()
      for (const { backup, prefix } of running) await write(backup, prefix, 2000, 20)
      await bench.kafka.kill()
      await disk.restoreFrom(folder)
      await bench.kafka.start()
      for (const { backup, kafka } of running) {
        for (let id = 3000; id < 3010; id++) await backup.source.query(`INSERT INTO m VALUES (${id}, 'new')`)
        await compact(backup, kafka)
        await backup.stop()
        expect(JSON.stringify(backup.events)).not.toMatch(/LOG_FENCED|another process/i)
        await equalToSource(backup)
      }
      await noGap(running[0]!.backup)
      const { catalog } = await running[1]!.backup.openRepository()
      expect(catalog.generations.length).toBe(2)
      expect(catalog.gaps).toMatchObject([{ scope: { kind: 'stream' } }])
    } finally {
      for (const { backup } of running) await backup[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('a cluster that was set up anew: empty, under another id', { timeout: 600_000 }, async () => {
    const backups = await Promise.all(
      (['segment', 'log'] as const).map(async (acknowledge) => {
        const prefix = `anew-${acknowledge}`
        const kafka = kafkaSettings(bench, prefix, { acknowledge })
        return { acknowledge, prefix, kafka, backup: await replicating(prefix, kafka) }
      }),
    )
    try {
      for (const { backup, prefix, acknowledge } of backups) {
        await write(backup, prefix, 1000, 20)
        const stored = (await backup.openRepository()).catalog.generation!.end
        if (acknowledge === 'log')
          await backup.until(async () => {
            const { rows } = await backup.source.query<{ ahead: boolean }>(
              'SELECT confirmed_flush_lsn > $2::pg_lsn AS ahead FROM pg_replication_slots WHERE slot_name = $1',
              [backup.slot, positionText(stored)],
            )
            return rows[0]?.ahead === true
          }, LIMIT_MS)
      }
      await bench.kafka.kill()
      await disk.renew('AAAAAAAAAAAAAAAAAAAAAQ')
      await bench.kafka.start()
      for (const { backup, kafka, acknowledge } of backups) {
        for (let id = 2000; id < 2010; id++) await backup.source.query(`INSERT INTO m VALUES (${id}, 'new')`)
        if (acknowledge === 'log') {
          // The cluster of before may have it all: neither who lived through the change nor who starts behind it decides.
          const refused = { code: 'LOG_REFUSED', message: expect.stringMatching(/another cluster/) as string }
          await expect(backup.running).rejects.toMatchObject(refused)
          await backup.crash()
          await expect(backup.up({ kafka, role: 'replicator' })).rejects.toMatchObject(refused)
          await backup.crash()
          await noGap(backup)
          await backup.up({
            kafka,
            role: 'replicator',
            newGeneration: 'the cluster is gone',
            waitFor: 'base',
          })
        }
        await compact(backup, kafka)
        await backup.stop()
        await equalToSource(backup)
        if (acknowledge === 'segment') await noGap(backup)
        else {
          const { catalog } = await backup.openRepository()
          expect(catalog.generations.length).toBe(2)
          expect(catalog.gaps).toMatchObject([{ scope: { kind: 'stream' } }])
        }
      }
    } finally {
      for (const { backup } of backups) await backup[Symbol.asyncDispose]()
    }
  })

  test.each([
    ['deleted', false],
    ['deleted and made again at once', true],
  ])('topics are %s before anything was stored from them', { timeout: 600_000 }, async (what, again) => {
    const prefix = `unsealed-${what.length}`
    const backup = await Backup.prepare({ setup: SETUP })
    try {
      await backup.init()
      const kafka = kafkaSettings(bench, prefix)
      await backup.up({ kafka, role: 'replicator', waitFor: 'base' })
      await backup.source.query(`INSERT INTO m VALUES (999, 'new')`)
      await backup.until(async () =>
        (await admin((client) => client.listTopics())).includes(`${prefix}.public.m`),
      )
      await write(backup, prefix, 1000, 20)
      await admin(async (client) => {
        const topics = [
          { topic: `${prefix}.transactions`, numPartitions: 1 },
          { topic: `${prefix}.public.m`, numPartitions: kafka.partitions },
        ]
        await client.deleteTopics({ topics: topics.map(({ topic }) => topic) })
        if (again) await client.createTopics({ topics, waitForLeaders: false })
      })
      for (let id = 2000; id < 2010; id++) await backup.source.query(`INSERT INTO m VALUES (${id}, 'new')`)
      await compact(backup, kafka)
      await backup.stop()
      await equalToSource(backup)
      await noGap(backup)
    } finally {
      await backup[Symbol.asyncDispose]()
    }
  })

  test('the answer to a commit is lost, and the log cannot be looked at: the unit is in it once', {
    timeout: 600_000,
  }, async () => {
    const signal = new AbortController().signal
    let state: 'good' | 'loses' | 'lost' = 'good'
    await using stack = new AsyncDisposableStack()
    const log = await openKafkaLog(bench, 'unanswered', {
      onPoint: (point) => {
        if (point !== 'unit-committed' || state !== 'loses') return
        state = 'lost'
        throw new TidemarkError('LOG_UNREACHABLE', 'the answer is lost')
      },
    })
    stack.defer(() => log.close())
    const looks = vi.spyOn(TailReader.prototype, 'read')
    stack.defer(() => void looks.mockRestore())
    looks.mockRejectedValueOnce(new TidemarkError('LOG_UNREACHABLE', 'the end of the log'))
    const sent = await items(3)
    const got: string[] = []
    const reading = (async () => {
      for await (const item of log.read(signal)) {
        got.push(shownItem(item))
        if (got.length === sent.length) return
      }
    })()
    for (const [i, item] of sent.entries()) {
      if (i === 1) state = 'loses'
      await log.append(item, signal)
      for (const deadline = performance.now() + LIMIT_MS; log.waitingUnits > 0; ) {
        expect(performance.now()).toBeLessThan(deadline)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    await reading
    expect(state).toBe('lost')
    expect(looks.mock.calls.length).toBe(2)
    expect(got).toEqual(sent.map(shownItem))
    // Of each unit: its record, and the end of its transaction.
    expect((await ends('unanswered.transactions'))[0]).toBe(2 * sent.length)
  })

  test('the answer to a commit is lost, and the end of the log with it: the unit is sent again, or the log is not believed', {
    timeout: 600_000,
  }, async () => {
    const losses = {
      unit: async (prefix: string) => {
        const [end] = await ends(`${prefix}.transactions`)
        return () => disk.shorten(`${prefix}.transactions`, 0, end! - 2)
      },
      older: async (prefix: string) => {
        const [end] = await ends(`${prefix}.transactions`)
        return () => disk.shorten(`${prefix}.transactions`, 0, end! - 4)
      },
      rows: async (prefix: string) => {
        const all = await ends(`${prefix}.public.t`)
        const partition = all.findIndex((end) => end > 0)
        return () => disk.shorten(`${prefix}.public.t`, partition, 0)
      },
    }
    const signal = new AbortController().signal
    const broken = Promise.withResolvers<void>()
    const sent = await items(3)
    const opened = await Promise.all(
      Object.keys(losses).map(async (name) => {
        const asked = Promise.withResolvers<void>()
        let state: 'good' | 'loses' | 'lost' = 'good'
        const log = await openKafkaLog(bench, `answer-${name}`, {
          confirm: async () => {
            if (state !== 'lost') return
            asked.resolve()
            await broken.promise
          },
          onPoint: (point) => {
            if (point !== 'unit-committed' || state !== 'loses') return
            state = 'lost'
            throw new TidemarkError('LOG_UNREACHABLE', 'the answer is lost')
          },
        })
        // A unit for each.
        for (const [i, item] of sent.entries()) {
          if (i === 2) state = 'loses'
          await log.append(item, signal)
          for (const deadline = performance.now() + LIMIT_MS; i < 2 && log.waitingUnits > 0; ) {
            expect(performance.now()).toBeLessThan(deadline)
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
        }
        await asked.promise
        return log
      }),
    )
    const cuts = await Promise.all(Object.entries(losses).map(([name, loss]) => loss(`answer-${name}`)))
    await bench.kafka.kill()
    for (const cut of cuts) await cut()
    await bench.kafka.start()
    broken.resolve()
    const read = async (log: KafkaChangeLog): Promise<string[]> => {
      log.end()
      const got: string[] = []
      for await (const item of log.read(signal)) got.push(shownItem(item))
      return got
    }
    expect(await read(opened[0]!)).toEqual(sent.map(shownItem))
    for (const log of opened.slice(1)) await expect(read(log)).rejects.toMatchObject({ code: 'LOG_HOLE' })
    for (const log of opened) await log.close()
  })
})

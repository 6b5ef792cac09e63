/** Answers of Kafka that never arrive, connections that break, writers that were stopped and go on: each change is there once. */
import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { random } from '../../services/demo/chat-traffic.ts'
import { positionText } from '../../services/core/position.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { Running } from '../support/cli.ts'
import { type KafkaBench, kafkaSection, kafkaSettings, NO_KAFKA, startKafka } from '../support/kafka-bench.ts'
import { API, KafkaProxy } from '../support/kafka-proxy.ts'
import { consumeTable } from '../support/plain-consumer.ts'

const SEED = Number(process.env['TIDEMARK_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** Longer than a transaction of Kafka may last, in the long runs. */
const AWAY_S = process.env['TIDEMARK_TEST_SCOPE'] === 'soak' ? 180 : 20
const LOST_OF_EACH = 5
const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text); CREATE TABLE bare (v int)`

let proxy: KafkaProxy
let bench: KafkaBench

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    proxy = await KafkaProxy.open()
    bench = await startKafka({ second: { protocol: 'PLAINTEXT', advertised: proxy.port } })
    proxy.to(bench.kafka.brokers[0]!.secondPort)
  }, 300_000)
  afterEach(() => Running.killAll())
  afterAll(async () => {
    await bench[Symbol.asyncDispose]()
    await proxy[Symbol.asyncDispose]()
  })

  const write = (backup: Backup, round: number): Promise<unknown> =>
    backup.source.query(
      `BEGIN; INSERT INTO m SELECT g, repeat(md5(g::text), 20) FROM generate_series(${round * 100}, ${round * 100 + 40}) g; UPDATE m SET id = id + 1000000 WHERE id = ${round * 100}; DELETE FROM m WHERE id = ${round * 100 + 1}; INSERT INTO bare VALUES (${round % 3}); COMMIT`,
    )

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  /** Whoever reads what is committed sees each change once. */
  async function seenOnce(backup: Backup, prefix: string): Promise<void> {
    const wanted = (await backup.source.query<{ id: string; body: string }>('SELECT * FROM m')).rows
      .map((row) => `${row.id} ${row.body}`)
      .sort()
      .join('\n')
    const until = (rows: ReadonlyMap<string, Record<string, unknown>>): boolean =>
      [...rows.values()]
        .map((row) => `${String(row['id'])} ${String(row['body'])}`)
        .sort()
        .join('\n') === wanted
    expect(
      (
        await consumeTable({
          brokers: bench.kafka.bootstrap,
          registry: bench.registry.url,
          topic: `${prefix}.public.m`,
          key: 'id',
          until,
          limitMs: 90_000,
        })
      ).doubled,
    ).toBe(0)
  }

  test(`answers of produce and of the end of transactions are lost, connections are cut (seed ${SEED})`, {
    timeout: 330_000,
  }, async () => {
    const next = random(SEED)
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafkaSettings(bench, 'cuts', { brokers: [`127.0.0.1:${proxy.port}`] }) })
    // So many of each: how many answers there are depends on the machine, how many are lost does not.
    const missing = (api: number): boolean => (proxy.lost.get(api) ?? 0) < LOST_OF_EACH
    proxy.loses = (api) =>
      api === API.fetch
        ? next() < 0.02
        : (api === API.endTransaction || api === API.produce) && missing(api) && next() < 0.5
    const enough = (): boolean => !missing(API.produce) && !missing(API.endTransaction)
    const deadline = performance.now() + 200_000
    let round = 1
    for (; performance.now() < deadline && !(round > 40 && enough()); round++) {
      await write(backup, round)
      if (next() < 0.05) proxy.cutAll()
      await backup.guard(new Promise((resolve) => setTimeout(resolve, 50)))
    }
    expect(enough(), `lost ${[...proxy.lost].join('; ')}`).toBe(true)
    proxy.loses = () => false
    await write(backup, round)
    await backup.durable(90_000)
    await equalToSource(backup)
    await seenOnce(backup, 'cuts')
    expect(backup.repository.catalog.gaps).toEqual([])
  })

  test(`the broker stands still for ${AWAY_S} s, and Tidemark waits`, {
    timeout: AWAY_S * 1000 + 200_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafkaSettings(bench, 'away') })
    for (let round = 1; round < 10; round++) await write(backup, round)
    await backup.durable()
    bench.kafka.brokers[0]!.process.signal('SIGSTOP')
    const until = performance.now() + AWAY_S * 1000
    try {
      for (let round = 10; performance.now() < until; round++) {
        await write(backup, round)
        await backup.guard(new Promise((resolve) => setTimeout(resolve, 1000)))
      }
    } finally {
      bench.kafka.brokers[0]!.process.signal('SIGCONT')
    }
    await backup.durable(150_000)
    await equalToSource(backup)
    await seenOnce(backup, 'away')
    expect(backup.repository.catalog.gaps).toEqual([])
  })

  test('a replicator that was stopped goes on after another took over: fenced, nothing lost, nothing doubled', {
    timeout: 240_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    const settings = parse(await readFile(backup.configPath, 'utf8')) as Record<string, unknown>
    await writeFile(
      backup.configPath,
      stringify({
        ...settings,
        log: 'kafka',
        kafka: kafkaSection(kafkaSettings(bench, 'stopped')),
        roll: { age: '200ms', size: '1MiB' },
        http: { port: 0 },
      }),
    )
    const start = (name: string): Running =>
      new Running([name, '--json', '--config', backup.configPath], { cwd: backup.folder })
    const compactor = start('compactor')
    const first = start('replicator')
    await compactor.said('"streaming"')
    for (let round = 1; round < 20; round++) await write(backup, round)
    await compactor.said('"durable"')
    // In the middle of its work; the server takes the slot from it after wal_sender_timeout.
    void write(backup, 20)
    first.child.kill('SIGSTOP')
    const second = start('replicator')
    await second.said('"starting"')
    for (let round = 21; round < 40; round++) await write(backup, round)
    first.child.kill('SIGCONT')
    const ended = await first.ended()
    expect(ended.last.ok).toBe(false)
    expect(['LOG_FENCED', 'WRITER_FENCED']).toContain(ended.last.error?.code)
    for (let round = 41; round < 60; round++) await write(backup, round)
    const head = await backup.head()
    const expected = shown(await digests(backup.sourceUrl))
    const deadline = performance.now() + 60_000
    while ((await backup.openRepository()).catalog.generation!.end < head) {
      if (performance.now() > deadline)
        throw new Error(`${second.output.slice(-1500)}\n---\n${compactor.output.slice(-1500)}`)
      // What it writes may come too late to be stored: it is behind the point that is compared.
      await backup.source.query('INSERT INTO bare VALUES (9)')
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    for (const one of [second, compactor]) one.child.kill('SIGTERM')
    for (const answer of await Promise.all([second.finished, compactor.finished]))
      expect(answer.last.ok, answer.stdout.slice(-500) + answer.stderr).toBe(true)
    expect(shown(await digests((await backup.restore(positionText(head))).url))).toEqual(expected)
    await seenOnce(backup, 'stopped')
    expect((await backup.openRepository()).catalog.gaps).toEqual([])
  })
})

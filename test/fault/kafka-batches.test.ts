/** What a broker makes of the batches that it was sent: compressed in whatever way somebody chose, or damaged by its disk. */
import kafkajs, { type Kafka as KafkaJs } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Backup, digests, shown } from '../support/backup.ts'
import { BrokerDisk } from '../support/broker-disk.ts'
import { kafkaSettings, NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const SETUP = `CREATE TABLE m (id bigint PRIMARY KEY, body text)`
const TYPES = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
const LIMIT_MS = 180_000

let bench: SharedKafka
let admin: ReturnType<KafkaJs['admin']>

describe.skipIf(NO_KAFKA !== undefined)('Kafka', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
    admin = new kafkajs.Kafka({
      brokers: [...bench.kafka.bootstrap],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin()
    await admin.connect()
  }, 300_000)
  afterAll(() => admin.disconnect())

  async function equalToSource(backup: Backup): Promise<void> {
    expect(shown(await digests((await backup.restore('latest')).url))).toEqual(
      shown(await digests(backup.sourceUrl)),
    )
  }

  /** How many batches were decompressed by a type, from now on. */
  function counted(type: number): { readonly batches: number } & Disposable {
    const codecs = kafkajs.CompressionCodecs as Record<number, () => { decompress(bytes: Buffer): unknown }>
    const before = codecs[type]!
    const codec = before()
    let batches = 0
    codecs[type] = () => ({
      ...codec,
      decompress: (bytes) => {
        batches++
        return codec.decompress(bytes)
      },
    })
    return {
      get batches() {
        return batches
      },
      [Symbol.dispose]: () => void (codecs[type] = before),
    }
  }

  test('topics that somebody sets to another compression in mid-stream are read', {
    timeout: 300_000,
  }, async () => {
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka: kafkaSettings(bench, 'squeezed') })
    await backup.source.query(`INSERT INTO m VALUES (1, 'plain')`)
    await backup.durable(LIMIT_MS)
    let first = 1000
    for (const [name, type] of Object.entries(TYPES)) {
      using decompressed = counted(type)
      await admin.alterConfigs({
        validateOnly: false,
        resources: ['squeezed.public.m', 'squeezed.transactions'].map((topic) => ({
          type: 2,
          name: topic,
          configEntries: [{ name: 'compression.type', value: name }],
        })),
      })
      // Repeated and random bytes, rows that several blocks of a compression hold, and rows of several records.
      await backup.source.query(
        `INSERT INTO m SELECT ${first} + g, CASE g % 3 WHEN 0 THEN repeat('x', 500) WHEN 1 THEN md5(g::text) ELSE repeat(md5(g::text), 50) END FROM generate_series(1, 400) g`,
      )
      await backup.source.query(
        `INSERT INTO m SELECT ${first} + 500 + n, string_agg(md5((g * n)::text), '') FROM generate_series(1, 40000) g, generate_series(1, 2) n GROUP BY n`,
      )
      await backup.source.query(`UPDATE m SET id = -id WHERE id > ${first} AND id % 7 = 0`)
      first += 1000
      await backup.durable(LIMIT_MS)
      // Brokers take up a setting a moment later.
      await backup.until(async () => {
        await backup.source.query(`INSERT INTO m VALUES (${first++}, repeat('y', 300))`)
        await backup.durable(LIMIT_MS)
        return decompressed.batches > 0
      }, LIMIT_MS)
    }
    await backup.stop()
    await equalToSource(backup)
    expect(backup.repository.catalog.gaps).toEqual([])
  })

  test("a bit that turned on the broker's disk is no row: the log begins anew, and the source sends again", {
    timeout: 300_000,
  }, async () => {
    const kafka = kafkaSettings(bench, 'turned', { partitions: 1 })
    await using backup = await Backup.prepare({ setup: SETUP })
    await backup.init()
    await backup.up({ kafka })
    await backup.source.query(`INSERT INTO m VALUES (1, 'stored')`)
    await backup.durable(LIMIT_MS)
    await backup.stop()
    await backup.up({ kafka, role: 'replicator' })
    const written = async (): Promise<number> =>
      Number((await admin.fetchTopicOffsets('turned.public.m'))[0]!.high)
    const before = await written()
    for (let id = 10; id < 20; id++) await backup.source.query(`INSERT INTO m VALUES (${id}, 'unread ${id}')`)
    await backup.until(async () => (await written()) >= before + 10, LIMIT_MS)
    await backup.stop()
    await new BrokerDisk(bench.kafka.folder).turnBit('turned.public.m', 0, 'unread 15')
    await backup.up({ kafka })
    await backup.source.query(`INSERT INTO m VALUES (30, 'last')`)
    await backup.durable(LIMIT_MS)
    await backup.stop()
    await equalToSource(backup)
    expect(backup.repository.catalog.gaps).toEqual([])
    expect(backup.events.filter((event) => event.event === 'log-anew').map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/turned\.public\.m\/0: the batch at offset \d+ is damaged/),
    ])
  })
})

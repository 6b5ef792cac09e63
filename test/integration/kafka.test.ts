/** The pipeline over a real Kafka and a real registry. */
import avro from 'avsc'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { beforeAll, describe, expect, test } from 'vitest'
import { doctor } from '../../services/app/operations/doctor.ts'
import { Backup, digests, shown } from '../support/backup.ts'
import { consumeTable } from '../support/plain-consumer.ts'
import { kafkaSettings, NO_KAFKA } from '../support/kafka-bench.ts'
import type { SharedKafka } from '../support/kafka-desk.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

let bench: SharedKafka

async function equalToSource(backup: Backup, at = 'latest'): Promise<void> {
  const restored = await backup.restore(at)
  expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
}

describe.skipIf(NO_KAFKA !== undefined)('over Kafka', () => {
  beforeAll(async () => {
    bench = await sharedKafka()
  }, 300_000)

  const kafka = (prefix: string) => kafkaSettings(bench, prefix)

  test('every kind of change goes through, and the restored database equals the source', async () => {
    await using backup = await Backup.prepare({
      setup: `CREATE TABLE m (id bigint PRIMARY KEY, room int, body text); ALTER TABLE m ALTER body SET STORAGE EXTERNAL; CREATE TABLE "odd.Näme" (a int, "user-id" text); CREATE TABLE two (id int PRIMARY KEY);
      INSERT INTO m SELECT g, g % 5, repeat(md5(g::text), 400) FROM generate_series(1, 50) g`,
    })
    await backup.init()
    await backup.up({ kafka: kafka('all') })
    const { source } = backup
    await source.query(`INSERT INTO m SELECT g, g % 5, 'new ' || g FROM generate_series(100, 1200) g`)
    await source.query(
      'UPDATE m SET room = room + 1 WHERE id < 30; UPDATE m SET id = id + 10000 WHERE id < 20; DELETE FROM m WHERE id % 7 = 0',
    )
    await source.query(
      'BEGIN; UPDATE m SET id = -1 WHERE id = 30; UPDATE m SET id = 30 WHERE id = 31; UPDATE m SET id = 31 WHERE id = -1; COMMIT',
    )
    await source.query(
      `INSERT INTO "odd.Näme" VALUES (1, 'x'), (1, 'x'), (2, NULL); UPDATE "odd.Näme" SET a = 5 WHERE a = 2; INSERT INTO two SELECT generate_series(1, 10); TRUNCATE two; INSERT INTO two VALUES (99)`,
    )
    await source.query(
      `ALTER TABLE m ADD COLUMN extra text DEFAULT 'd'; UPDATE m SET extra = 'e' WHERE id > 1000; CREATE TABLE later (id int PRIMARY KEY, v jsonb); INSERT INTO later VALUES (1, '{"a": 1}'); INSERT INTO tidemark.marker (name) VALUES ('here')`,
    )
    await backup.durable()
    await equalToSource(backup)
    await equalToSource(backup, 'marker:here')
    await backup.stop()
    await source.query(
      `INSERT INTO two VALUES (100); ALTER TABLE two ADD COLUMN w int; UPDATE m SET body = NULL WHERE id = 40`,
    )
    await backup.up({ kafka: kafka('all') })
    await source.query('INSERT INTO two VALUES (101, 1)')
    await backup.durable()
    await equalToSource(backup)
    expect(backup.events.filter((event) => event.event === 'retry' || event.event === 'foreign')).toEqual([])
  })

  test('a schema of hundreds of tables, and thousands of small transactions waiting', {
    timeout: 300_000,
  }, async () => {
    await using backup = await Backup.prepare({
      setup: `DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE wide_%s (id int PRIMARY KEY, a text DEFAULT ''some default'', b timestamptz, c numeric(10, 2) CHECK (c > 0), d jsonb)', i); END LOOP; END $$; CREATE TABLE t (id int PRIMARY KEY)`,
    })
    await backup.init()
    await backup.source.query(
      `DO $$ BEGIN FOR i IN 1..4000 LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$`,
    )
    await backup.source.query(
      `ALTER TABLE wide_7 ADD COLUMN more text; INSERT INTO wide_7 (id, more) VALUES (1, 'x')`,
    )
    await backup.up({ kafka: kafka('wide') })
    await backup.source.query(
      'ALTER TABLE wide_8 ADD COLUMN more text; INSERT INTO wide_300 VALUES (1); INSERT INTO wide_8 (id) VALUES (2)',
    )
    await backup.durable(200_000)
    await equalToSource(backup)
  })

  test('an existing backup goes from direct to Kafka, back, and to Kafka again, without a new base', async () => {
    await using backup = await Backup.start({
      setup:
        'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, $$a$$ FROM generate_series(1, 100) g',
    })
    const { source } = backup
    const change = async (v: string): Promise<void> => {
      await source.query(
        `UPDATE t SET v = '${v}' WHERE id % 3 = 0; INSERT INTO t SELECT coalesce(max(id), 0) + 1, '${v}' FROM t; UPDATE t SET id = -id WHERE id = (SELECT min(id) FROM t WHERE id > 0)`,
      )
      await backup.durable()
    }
    await change('direct')
    for (const log of ['kafka', 'direct', 'kafka'] as const) {
      await backup.stop()
      await source.query(`UPDATE t SET v = 'between' WHERE id = 5`)
      await backup.up(log === 'kafka' ? { kafka: kafka('switch') } : {})
      await change(`over ${log}`)
      await source.query(`ALTER TABLE t ADD COLUMN IF NOT EXISTS ${log}_column int DEFAULT 1`)
      await change(`later over ${log}`)
      await equalToSource(backup)
    }
    expect(backup.repository.catalog.generation!.bases.length).toBe(1)
    expect(backup.repository.catalog.gaps).toEqual([])
  })

  test('rows larger than a record may be, and a transaction of many units', async () => {
    await using backup = await Backup.prepare({
      setup:
        'CREATE TABLE blobs (id int PRIMARY KEY, b bytea); CREATE TABLE many (id int PRIMARY KEY, v text)',
    })
    await backup.init()
    await backup.up({ kafka: kafka('large') })
    await backup.source.query(
      `INSERT INTO blobs SELECT g, decode(repeat(md5(g::text), 100000 * g), 'hex') FROM generate_series(1, 4) g`,
    )
    await backup.source.query(
      `BEGIN; INSERT INTO many SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 30000) g; UPDATE many SET v = 'x' WHERE id % 3 = 0; DELETE FROM many WHERE id % 10 = 1; COMMIT`,
    )
    await backup.durable(90_000)
    await equalToSource(backup)
  })

  test('a plain consumer keeps a table from its topic alone', async () => {
    await using backup = await Backup.prepare({
      setup: `CREATE TABLE chat (id bigint PRIMARY KEY, room int, body text, edited bool); ALTER TABLE chat ALTER body SET STORAGE EXTERNAL`,
    })
    await backup.init()
    await backup.up({ kafka: kafka('plain') })
    const { source } = backup
    await source.query(
      `INSERT INTO chat SELECT g, g % 7, repeat(md5(g::text), 3200), false FROM generate_series(1, 60) g`,
    )
    // Moves over partitions with a body of 100 kB that does not change; swaps; a chain; delete and use again.
    await source.query('UPDATE chat SET id = id + 1000 WHERE id <= 20')
    await source.query(
      'BEGIN; UPDATE chat SET id = -1 WHERE id = 30; UPDATE chat SET id = 30 WHERE id = 31; UPDATE chat SET id = 31 WHERE id = -1; COMMIT',
    )
    await source.query(
      'BEGIN; UPDATE chat SET id = 5001 WHERE id = 40; UPDATE chat SET id = 5002 WHERE id = 5001; UPDATE chat SET id = 5003, edited = true WHERE id = 5002; COMMIT',
    )
    await source.query(
      `DELETE FROM chat WHERE id = 50; INSERT INTO chat VALUES (50, 1, 'again', NULL); UPDATE chat SET room = 9 WHERE id > 1010`,
    )
    await source.query(
      `ALTER TABLE chat ADD COLUMN note text; UPDATE chat SET note = 'n' WHERE id = 55; INSERT INTO chat VALUES (99999, 1, 'the last', true, 'x')`,
    )
    await backup.durable()
    const wanted = await source.query<{
      id: string
      room: number
      body: string
      edited: boolean | null
      note: string | null
    }>('SELECT * FROM chat')
    const text = (row: Record<string, unknown>): string =>
      JSON.stringify([
        String(row['id']),
        row['room'],
        row['body'],
        row['edited'] ?? null,
        row['note'] ?? null,
      ])
    const expected = JSON.stringify(wanted.rows.map(text).sort())
    // Partitions come in any order: the table is there once all of them are.
    const until = (rows: ReadonlyMap<string, Record<string, unknown>>): boolean =>
      JSON.stringify([...rows.values()].map(text).sort()) === expected
    await consumeTable({
      brokers: bench.kafka.bootstrap,
      registry: bench.registry.url,
      topic: 'plain.public.chat',
      key: 'id',
      until,
      limitMs: 90_000,
    })
    await equalToSource(backup)
  })

  test('tables of a conversation share a partition, deletes leave tombstones, and doctor proposes the identity that makes it possible', async () => {
    await using backup = await Backup.prepare({
      setup: `CREATE TABLE conversations (id int PRIMARY KEY, title text); CREATE TABLE messages (id bigint PRIMARY KEY, conversation_id int, body text); CREATE TABLE notes (conversation_id int, body text)`,
    })
    await backup.init()
    const partitionBy = new Map([
      ['public.conversations', ['id']],
      ['public.messages', ['conversation_id']],
      ['public.notes', ['conversation_id']],
    ])
    const settings = kafkaSettings(bench, 'rooms', { tombstones: true, partitionBy, partitions: 5 })
    const wrong = (await doctor({ ...backup.config, kafka: settings })).findings.filter(
      (finding) => finding.code === 'PARTITION_IDENTITY',
    )
    expect(wrong.map((finding) => finding.what)).toEqual([
      expect.stringMatching(/^public.messages is to be partitioned by conversation_id/),
    ])
    for (const statement of wrong[0]!.fix.split('; ')) await backup.source.query(statement)
    expect(
      (await doctor({ ...backup.config, kafka: settings })).findings.filter((finding) =>
        finding.code.startsWith('PARTITION'),
      ),
    ).toEqual([])
    await backup.up({ kafka: settings })
    for (let id = 1; id <= 12; id++)
      await backup.source.query(
        `INSERT INTO conversations VALUES (${id}, 't'); INSERT INTO messages SELECT g, ${id}, 'm' FROM generate_series(${id * 100}, ${id * 100 + 5}) g; INSERT INTO notes VALUES (${id}, 'n')`,
      )
    await backup.source.query(
      `UPDATE messages SET conversation_id = 2 WHERE id = 100; DELETE FROM messages WHERE id % 100 = 5; DELETE FROM notes WHERE conversation_id = 3; UPDATE messages SET body = 'new' WHERE id = 201`,
    )
    await backup.durable()
    const restored = await backup.restore('latest')
    expect(shown(await digests(restored.url))).toEqual(shown(await digests(backup.sourceUrl)))
    await backup.stop()
    const schemas = new Map<number, avro.Type>()
    const lanes = new Map<number, Set<number>>()
    const tombstones: string[] = []
    for (const table of ['conversations', 'messages', 'notes']) {
      for (const record of await everything(`rooms.public.${table}`)) {
        if (record.value === null) {
          tombstones.push(table)
          continue
        }
        const id = record.value.readInt32BE(1)
        if (!schemas.has(id))
          schemas.set(
            id,
            avro.Type.forSchema(
              JSON.parse(
                (
                  (await (await fetch(`${bench.registry.url}/schemas/ids/${id}`)).json()) as {
                    schema: string
                  }
                ).schema,
              ) as avro.Schema,
              { wrapUnions: true },
            ),
          )
        const change = schemas.get(id)!.fromBuffer(record.value.subarray(5)) as {
          new: Record<string, Record<string, Record<string, unknown>>> | null
        }
        const row = change.new === null ? undefined : Object.values(change.new)[0]
        const room = row?.[table === 'conversations' ? 'id' : 'conversation_id']?.['int']
        if (typeof room === 'number') lanes.set(room, (lanes.get(room) ?? new Set()).add(record.partition))
      }
    }
    expect(lanes.size).toBe(12)
    for (const [room, of] of lanes) expect([room, of.size]).toEqual([room, 1])
    expect(new Set([...lanes.values()].flatMap((of) => [...of])).size).toBeGreaterThan(1)
    // Twelve deleted messages and one that moved; notes have no key.
    expect(tombstones).toEqual(Array.from({ length: 13 }, () => 'messages'))
  })

  /** Every committed record of a topic, by a consumer of its own. */
  async function everything(topic: string): Promise<{ partition: number; value: Buffer | null }[]> {
    const client = new KafkaJs({ brokers: [...bench.kafka.bootstrap], logLevel: logLevel.NOTHING })
    const admin = client.admin()
    await admin.connect()
    const ends = new Map(
      (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, BigInt(high)]),
    )
    await admin.disconnect()
    const consumer = client.consumer({ groupId: `all-${topic}`, readUncommitted: false })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const records: { partition: number; value: Buffer | null }[] = []
    const done = Promise.withResolvers<void>()
    const left = new Set([...ends].filter(([, high]) => high > 0n).map(([partition]) => partition))
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const message of batch.messages)
          records.push({ partition: batch.partition, value: message.value })
        // The last offset of a partition is a marker's.
        if (BigInt(batch.lastOffset()) + 2n >= ends.get(batch.partition)!) left.delete(batch.partition)
        if (left.size === 0) done.resolve()
        await Promise.resolve()
      },
    })
    await done.promise
    await consumer.disconnect()
    return records
  }
})

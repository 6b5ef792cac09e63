/** What a replicator wrote whose units did not say yet whose they are: format 1 of `tidemark.Unit`, as it was. */
import avro from 'avsc'
import { Kafka, logLevel } from 'kafkajs'
import { OpenUnit } from '../../services/adapters/kafka/writing/open-unit.ts'
import { Registry } from '../../services/adapters/kafka/registry/registry.ts'
import { TableRecords, wireHead } from '../../services/adapters/kafka/records/table-records.ts'
import { stampText } from '../../services/adapters/kafka/records/unit.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import { shapeOfFormat1 } from './format-1.ts'
import type { SharedKafka } from './kafka-desk.ts'

const SCHEMA = {
  type: 'record',
  name: 'tidemark.Unit',
  fields: [
    { name: 'generation', type: 'int' },
    { name: 'term', type: 'int' },
    { name: 'unit', type: 'long' },
    {
      name: 'entries',
      type: {
        type: 'array',
        items: [
          {
            type: 'record',
            name: 'tidemark.UnitTransaction',
            fields: [
              { name: 'lsn', type: 'string' },
              { name: 'xid', type: 'long' },
              { name: 'committedAt', type: { type: 'long', logicalType: 'timestamp-micros' } },
              { name: 'timeline', type: 'int' },
              { name: 'first', type: 'long' },
              { name: 'count', type: 'long' },
              { name: 'end', type: ['null', 'string'] },
            ],
          },
          { type: 'record', name: 'tidemark.UnitControl', fields: [{ name: 'json', type: 'string' }] },
        ],
      },
    },
    {
      name: 'partitions',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'tidemark.UnitPartition',
          fields: [
            { name: 'topic', type: 'string' },
            { name: 'partition', type: 'int' },
            { name: 'number', type: 'long' },
            { name: 'offset', type: 'long' },
            { name: 'first', type: 'long', default: 0 },
            { name: 'records', type: 'int', default: 0 },
          ],
        },
      },
    },
    { name: 'full', type: 'boolean' },
    { name: 'bytes', type: 'long', default: 0 },
    { name: 'ddl', type: { type: 'array', items: 'string' }, default: [] },
    { name: 'previous', type: 'string', default: '' },
  ],
} as const
const TYPE = avro.Type.forSchema(SCHEMA as unknown as avro.Schema, { wrapUnions: true })
const WHOLE = { isLink: false, isTombstone: false, piece: 0, pieces: 1 }

/** A unit for each item, under the name that all writers of a prefix had. Returns their offsets. */
export async function writeOlder(
  bench: SharedKafka,
  prefix: string,
  lanes: number,
  of: { readonly generation: number; readonly term: number; readonly items: readonly LogItem[] },
): Promise<number[]> {
  const { generation, term, items } = of
  const kafka = new Kafka({
    brokers: [...bench.kafka.bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 5 },
  })
  const registry = new Registry({ url: bench.registry.url })
  const admin = kafka.admin()
  const producer = kafka.producer({
    transactionalId: `${prefix}.replicator`,
    idempotent: true,
    maxInFlightRequests: 1,
  })
  await Promise.all([admin.connect(), producer.connect()])
  const transactions = `${prefix}.transactions`
  const ensure = async (topic: string, numPartitions: number): Promise<void> => {
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions }] })
  }
  await ensure(transactions, 1)
  const head = wireHead(await registry.register(`${transactions}-value`, JSON.stringify(SCHEMA)))
  const known = new Map<string, TableRecords>()
  const numbers = new Map<string, number>()
  const offsets: number[] = []
  for (const [i, item] of items.entries()) {
    const unit = i + 1
    const open = new OpenUnit()
    if (item.kind === 'changes')
      open.part(
        item,
        0,
        item.changes.shapes.map(shapeOfFormat1).map((shape) => {
          const options = { prefix, lanes, tombstones: false, partitionBy: new Map<string, string[]>() }
          const table = known.get(shape.id) ?? new TableRecords(shape, options)
          known.set(shape.id, table)
          return table
        }),
      )
    else open.control(item)
    for (const { topic } of open.partitions.values()) await ensure(topic, lanes)
    const transaction = await producer.transaction()
    const partitions: object[] = []
    for (const { topic, partition, records } of open.partitions.values()) {
      let number = numbers.get(`${topic}/${partition}`) ?? 0
      const messages = []
      for (const { key, value, table, ...record } of records)
        messages.push({
          partition,
          key: Buffer.concat([wireHead(await registry.register(`${topic}-key`, table.keySchema)), key]),
          value: Buffer.concat([
            wireHead(await registry.register(`${topic}-value`, table.valueSchema)),
            value,
          ]),
          headers: { tidemark: stampText(generation, term, unit, ++number, table.shape.id, record) },
        })
      const [answer] = await transaction.send({ topic, acks: -1, messages })
      const first = Number(answer!.baseOffset)
      partitions.push({
        topic,
        partition,
        number,
        offset: first + messages.length - 1,
        first,
        records: messages.length,
      })
      numbers.set(`${topic}/${partition}`, number)
    }
    const value = TYPE.toBuffer({
      generation,
      term,
      unit,
      entries: open.entries.map((entry) =>
        entry.kind === 'control'
          ? { 'tidemark.UnitControl': { json: entry.json } }
          : {
              'tidemark.UnitTransaction': {
                ...entry,
                committedAt: Number(entry.committedAt),
                end: entry.end === null ? null : { string: entry.end },
              },
            },
      ),
      partitions,
      full: i === 0,
      bytes: open.bytes,
      ddl: open.ddl,
      previous: i === 0 ? '' : `${term}.${unit - 1}`,
    })
    const stamp = stampText(generation, term, unit, 0, '-', WHOLE)
    const [answer] = await transaction.send({
      topic: transactions,
      acks: -1,
      messages: [
        { partition: 0, key: null, value: Buffer.concat([head, value]), headers: { tidemark: stamp } },
      ],
    })
    await transaction.commit()
    offsets.push(Number(answer!.baseOffset))
  }
  await Promise.all([admin.disconnect(), producer.disconnect()])
  return offsets
}

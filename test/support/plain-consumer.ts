/**
 * What somebody else writes who knows the registry, the topic's name and schemas/kafka-topics.md, and nothing of our
 * code: reads a table's topic with a stock client and a stock Avro library and keeps the table.
 */
import avro from 'avsc'
import { Kafka, logLevel } from 'kafkajs'

type Value = Record<string, unknown> | null
type Row = Record<string, Value>

interface Change {
  readonly position: number
  readonly ordinal: number
  readonly operation: 'insert' | 'update' | 'delete' | 'truncate'
  readonly old: { readonly 'tidemark.table.Row': Row } | null
  readonly new: { readonly 'tidemark.table.Row': Row } | null
}

/** The one value inside an Avro union; undefined where the change left it as it was. */
function plain(value: Value | undefined): unknown {
  if (value === null || value === undefined) return null
  const [[branch, inner] = ['', null]] = Object.entries(value)
  return branch.endsWith('State') ? undefined : inner
}

export async function consumeTable(options: {
  readonly brokers: readonly string[]
  readonly registry: string
  readonly topic: string
  readonly key: string
  readonly until: (rows: ReadonlyMap<string, Record<string, unknown>>) => boolean
  readonly limitMs: number
}): Promise<{
  readonly rows: Map<string, Record<string, unknown>>
  readonly changes: number
  readonly doubled: number
}> {
  const consumer = new Kafka({
    brokers: [...options.brokers],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 20 },
  }).consumer({ groupId: `plain-${options.topic}-${Date.now()}`, readUncommitted: false })
  const types = new Map<number, avro.Type>()
  const typeOf = async (id: number): Promise<avro.Type> => {
    let type = types.get(id)
    if (type === undefined) {
      const answer = (await (await fetch(`${options.registry}/schemas/ids/${id}`)).json()) as {
        schema: string
      }
      type = avro.Type.forSchema(JSON.parse(answer.schema) as avro.Schema, { wrapUnions: true })
      types.set(id, type)
    }
    return type
  }
  const changes: Change[] = []
  await consumer.connect()
  await consumer.subscribe({ topic: options.topic, fromBeginning: true })
  const deadline = performance.now() + options.limitMs
  const replay = (): Map<string, Record<string, unknown>> => {
    const rows = new Map<string, Record<string, unknown>>()
    // Over all partitions in the order of the source: position, then ordinal. A TRUNCATE comes once for each partition.
    for (const change of [...changes].sort((a, b) => a.position - b.position || a.ordinal - b.ordinal)) {
      const [before, after] = [change.old?.['tidemark.table.Row'], change.new?.['tidemark.table.Row']]
      const keyOf = (row: Row): string => String(plain(row[options.key]))
      if (change.operation === 'truncate') rows.clear()
      else if (change.operation === 'delete') rows.delete(keyOf(before!))
      else {
        const held = rows.get(keyOf(before ?? after!)) ?? {}
        if (before !== undefined) rows.delete(keyOf(before))
        const next: Record<string, unknown> = {}
        for (const [name, value] of Object.entries(after!)) {
          const now = plain(value)
          next[name] = now === undefined ? held[name] : now
        }
        rows.set(String(next[options.key]), next)
      }
    }
    return rows
  }
  try {
    await consumer.run({
      eachMessage: async ({ message }) => {
        const { value, headers } = message
        if (value === null) return
        // A delete that stands for a row's old place: the update in the row's new partition is the change.
        if (headers?.['tidemark']?.toString().endsWith('.l') === true) return
        changes.push((await typeOf(value.readInt32BE(1))).fromBuffer(value.subarray(5)) as Change)
      },
    })
    for (;;) {
      const rows = replay()
      if (options.until(rows)) {
        const rowChanges = changes.filter((change) => change.operation !== 'truncate')
        return {
          rows,
          changes: changes.length,
          doubled:
            rowChanges.length -
            new Set(rowChanges.map((change) => `${change.position}.${change.ordinal}`)).size,
        }
      }
      if (performance.now() > deadline)
        throw new Error(`the topic did not bring it: ${rows.size} rows after ${changes.length} changes`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  } finally {
    await consumer.disconnect()
  }
}

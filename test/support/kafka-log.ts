/** A change log on a real Kafka without the jobs around it. */
import { memoryDialect } from '../../services/engines/memory/memory-dialect.ts'
import { startAt } from '../../services/core/ports/source.ts'
import {
  KafkaChangeLog,
  type KafkaLogOptions,
} from '../../services/adapters/kafka/change-log/kafka-change-log.ts'
import { MemorySource } from '../../services/engines/memory/memory-source.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { ORIGIN } from '../../services/core/position.ts'
import type { LogItem } from '../../services/core/transaction.ts'
import type { SharedKafka } from './kafka-desk.ts'

const signal = new AbortController().signal
let terms = 0
/** Of every log here, unless a test says otherwise. */
const STREAM = '00000000-0000-4000-8000-000000000001'

/** Each one fences those before it. */
export function openKafkaLog(
  bench: SharedKafka,
  prefix: string,
  over: Partial<KafkaLogOptions> = {},
): Promise<KafkaChangeLog> {
  return KafkaChangeLog.open(
    {
      settings: {
        brokers: bench.kafka.bootstrap,
        clientId: 'test',
        tls: undefined,
        sasl: undefined,
        clock: systemClock,
      },
      registry: { url: bench.registry.url },
      role: 'both',
      prefix,
      partitions: 3,
      replicationFactor: 1,
      generation: 1,
      stream: STREAM,
      term: ++terms,
      after: ORIGIN,
      place: undefined,
      acknowledge: 'segment',
      tombstones: false,
      partitionBy: new Map(),
      confirm: () => Promise.resolve(),
      records: memoryDialect.records,
      clock: systemClock,
      randomness: systemRandomness,
      ...over,
    },
    signal,
  )
}

/** Transactions of one row each, of a table t. */
export async function items(count: number): Promise<LogItem[]> {
  const source = new MemorySource([{ oid: 16400, name: 't', columns: ['x'], identity: 'default' }])
  for (let id = 0; id < count; id++)
    source.commit([{ kind: 'insert', table: 't', id, values: ['x'.repeat(50)] }])
  const out: LogItem[] = []
  for await (const item of source.stream(startAt(ORIGIN), signal)) {
    out.push(item)
    if (out.length === count) return out
  }
  return out
}

export function shownItem(item: LogItem): string {
  return item.kind === 'changes'
    ? `${item.head.position} ${item.changes.bytes.toString('hex')} ${item.end ?? 'open'}`
    : item.kind
}

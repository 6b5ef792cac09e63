/** One drain of a backlog into Kafka, in a process of its own: what the benchmark measures is all that it does. */
import { KafkaChangeLog } from '../../services/adapters/kafka/change-log/kafka-change-log.ts'
import { openSource } from '../../services/app/wiring/compose.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'

const [storeUrl = '', keys = '', url = '', until = '', brokers = '', registry = '', prefix = ''] =
  process.argv.slice(2)
const { repository } = await openBackup({ storeUrl, keys, role: 'writer' })
const generation = repository.catalog.generation!
const source = openSource(
  {
    path: '',
    source: { url, names: { slot: '', publication: '' } },
    storeUrl: '',
    keys: '',
    roll: { ageMs: 0, segmentBytes: 0 },
    http: { host: '', port: 0, compactorPort: 0 },
    logLevel: 'info',
  },
  generation,
)
await repository.claim(-1)
const stop = new AbortController()
const log = await KafkaChangeLog.open(
  {
    settings: {
      brokers: brokers.split(','),
      clientId: 'bench',
      tls: undefined,
      sasl: undefined,
      clock: systemClock,
    },
    registry: { url: registry },
    role: 'replicator',
    prefix,
    partitions: 4,
    replicationFactor: 1,
    generation: 1,
    stream: repository.catalog.stream,
    term: Number(repository.claimedAt),
    after: generation.to,
    place: undefined,
    acknowledge: 'segment',
    tombstones: false,
    partitionBy: new Map(),
    confirm: () => Promise.resolve(),
    records: postgresDialect.records,
    clock: systemClock,
    randomness: systemRandomness,
    onRetry: (error) => console.error(error.message),
  },
  stop.signal,
)
const end = parsePosition(until)
const from = performance.now()
const replicator = new Replicator({
  records: postgresDialect.records,
  source,
  log,
  from: generation.endPoint,
  durable: generation.end,
  checked: generation.end,
  sampleMs: 3_600_000,
  schemaMs: 100,
  reading: undefined,
  clock: systemClock,
  randomness: systemRandomness,
  events: { onGap: () => undefined },
})
const running = replicator.run(stop.signal).catch((error: unknown) => {
  if (!stop.signal.aborted) throw error
})
running.catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
while (comparePositions(log.accepted, end) < 0) await new Promise((resolve) => setTimeout(resolve, 20))
const seconds = (performance.now() - from) / 1000
stop.abort(new DOMException('done', 'AbortError'))
await running
await log.close()
await source.close()
console.log(
  JSON.stringify({ seconds, peakBytes: process.resourceUsage().maxRSS * 1024, cpu: process.cpuUsage() }),
)
process.exit(0)

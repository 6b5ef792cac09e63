/** A capture run in a process of its own, so that its peak memory is its own: drains a slot to durable segments. */
import { DirectChangeLog } from '../../services/adapters/direct/direct-change-log.ts'
import { openSource } from '../../services/app/wiring/compose.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { Compactor } from '../../services/compactor/compactor.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { comparePositions, parsePosition } from '../../services/core/position.ts'
import { Replicator } from '../../services/replicator/replicator.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'

const [storeUrl = '', keys = '', url = '', until = ''] = process.argv.slice(2)
const { repository } = await openBackup({ storeUrl, keys, role: 'writer' })
const generation = repository.catalog.generation!
const source = openSource(
  {
    path: '',
    source: { url, names: { slot: '', publication: '' } },
    storeUrl,
    keys,
    roll: { ageMs: 5000, segmentBytes: 0 },
    http: { host: '', port: 0, compactorPort: 0 },
    logLevel: 'info',
  },
  generation,
)
const from = performance.now()
const term = await repository.claim(0)
const log = new DirectChangeLog()
const stop = new AbortController()
const end = parsePosition(until)
let bytes = 0
let changes = 0
const compactor = new Compactor({
  log,
  repository,
  generation: generation.facts.generation,
  term,
  policy: { segmentBytes: 32 * 1024 * 1024, ageMs: 5_000 },
  clock: systemClock,
  randomness: systemRandomness,
  events: {
    onDurable: (event) => {
      bytes += event.bytes
      changes += event.changes
      if (comparePositions(event.end, end) >= 0) stop.abort(new DOMException('done', 'AbortError'))
    },
  },
})
const replicator = new Replicator({
  records: postgresDialect.records,
  source,
  log,
  from: generation.endPoint,
  durable: generation.end,
  checked: generation.end,
  sampleMs: 60_000,
  schemaMs: 100,
  reading: undefined,
  clock: systemClock,
  randomness: systemRandomness,
  events: { onGap: () => undefined },
})
const replicating = replicator.run(stop.signal).catch((error: unknown) => {
  log.fail(error)
  throw error
})
const results = await Promise.allSettled([compactor.run(stop.signal), replicating])
if (!stop.signal.aborted)
  throw (results.find((r) => r.status === 'rejected') as PromiseRejectedResult | undefined)?.reason
const seconds = (performance.now() - from) / 1000
await source.close()
console.log(
  JSON.stringify({
    seconds,
    bytes,
    changes,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    cpu: process.cpuUsage(),
  }),
)
process.exit(0)

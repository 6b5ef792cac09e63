/** A base in a process of its own. */
import { openSource } from '../../services/app/wiring/compose.ts'
import { openBackup } from '../../services/app/wiring/open-backup.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { BaseCopy } from '../../services/replicator/base-copy.ts'

const [storeUrl = '', keys = '', url = ''] = process.argv.slice(2)
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
const base = await new BaseCopy({
  source,
  repository,
  generation: generation.facts.generation,
  clock: systemClock,
  randomness: systemRandomness,
  events: {},
}).base(new AbortController().signal)
const seconds = (performance.now() - from) / 1000
await source.close()
console.log(
  JSON.stringify({
    seconds,
    bytes: Number(base.bytes),
    rows: Number(base.rows),
    peakBytes: process.resourceUsage().maxRSS * 1024,
    cpu: process.cpuUsage(),
  }),
)
process.exit(0)

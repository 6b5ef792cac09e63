/** Opens a backup and plans a restore to its end: prints the process' time and memory. */
import { readFileSync } from 'node:fs'
import { MemoryKeys } from '../../services/adapters/keys/memory-keys.ts'
import { FolderStore } from '../../services/adapters/object-store/folder-store.ts'
import { systemClock, systemRandomness } from '../../services/core/clock.ts'
import { planRestore } from '../../services/rebuild/plan.ts'
import { resolvePoint } from '../../services/history/point.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { Replicas } from '../../services/repository/replicas.ts'
import { Repository } from '../../services/repository/repository.ts'
import { postgresDialect } from '../../services/engines/postgres/dialect/postgres-dialect.ts'

const [store, trust] = process.argv.slice(2)
const repository = await Repository.open({
  stores: Replicas.alone(new FolderStore(store!, systemRandomness)),
  trust: JSON.parse(readFileSync(trust!, 'utf8')) as TrustedSigners,
  provider: new MemoryKeys({ ...systemRandomness, bytes: (count) => Buffer.alloc(count, 7) }),
  signer: undefined,
  clock: systemClock,
  randomness: systemRandomness,
})
const plan = await planRestore(
  repository,
  postgresDialect,
  await resolvePoint(repository, { kind: 'latest' }),
)
console.log(
  JSON.stringify({
    ms: Math.round(performance.now()),
    bytes: process.resourceUsage().maxRSS * 1024,
    segments: plan.segments.count,
  }),
)

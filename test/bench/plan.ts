/**
 * The plan of a restore over a ledger with a million live segments. Its checkpoints are written by the real code; of the
 * million entries only those behind the last checkpoint exist as entries, for no plan reads the others.
 */
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FolderStore } from '../../services/adapters/object-store/folder-store.ts'
import type { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import { LIMITS } from '../../services/core/limits.ts'
import { parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import type { EntryOf } from '../../services/formats/ledger-entry.ts'
import type { AnyEntry } from '../../services/repository/entry-reader.ts'
import type { TrustedSigners } from '../../services/repository/genesis.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'
import type { Figure } from './main.ts'

const SEGMENTS = Number(process.env['BENCH_SEGMENTS'] ?? 1_000_000)
/** Behind the last checkpoint: nearly as many as there can be. */
const TAIL = LIMITS.checkpointEntries - 24
const TABLES = 12

export async function benchPlan(folder: string, say: (text: string) => void): Promise<Figure[]> {
  say(`a ledger of ${SEGMENTS} segments`)
  let trust: TrustedSigners | undefined
  const tables = Array.from({ length: TABLES }, (_, i) => ({
    oid: 16400 + i,
    name: `t${i}`,
    columns: ['x'],
    identity: 'default' as const,
  }))
  const pipeline = await MemoryPipeline.create(tables, {
    store: new FolderStore(join(folder, 'store'), systemRandomness) as unknown as MemoryStore,
    keys: { ...systemRandomness, bytes: (count) => Buffer.alloc(count, 7) },
    onTrust: (made) => (trust = made),
  })
  await pipeline.start(1)
  pipeline.source.commit([{ kind: 'insert', table: 't0', id: 1, values: ['a'] }])
  await pipeline.takeBase()
  await pipeline.durable(
    pipeline.source.commit(tables.map(({ name }) => ({ kind: 'insert', table: name, id: 2, values: ['b'] }))),
  )
  await pipeline.drain()
  const { ledger, catalog, signer } = pipeline.repository
  const real = catalog.generation!.segments.last!
  let to = parsePosition(real.body.to)
  let time = Date.parse(real.body.lastCommittedAt)
  const next = (): EntryOf<'segments'> => {
    const from = to
    to = positionOf(to + 1_000_000n)
    const at = new Date((time += 5000)).toISOString()
    const hash = (): string => systemRandomness.bytes(32).toString('hex')
    return {
      ...real.body,
      from: positionText(from),
      to: positionText(to),
      end: positionText(positionOf(to + 48n)),
      firstCommittedAt: at,
      lastCommittedAt: at,
      latestCommittedAt: at,
      objects: real.body.objects.map((object) => ({ ...object, sha256: hash() })),
      index: { ...real.body.index },
    }
  }
  for (let left = SEGMENTS - TAIL; left > 0; left -= LIMITS.checkpointEntries) {
    let number = ledger.headNumber
    for (let i = Math.min(left, LIMITS.checkpointEntries); i > 0; i--)
      catalog.apply({ number: ++number, writtenAt: new Date(time).toISOString(), body: next() })
    ledger.startAt({ number, hash: '0'.repeat(64) } as AnyEntry)
    await pipeline.repository.checkpoint(1)
  }
  for (let i = 0; i < TAIL; i++) await ledger.append(next(), signer)
  const trustFile = join(folder, 'trust.json')
  await writeFile(trustFile, JSON.stringify(trust))
  const child = fileURLToPath(new URL('./plan-child.ts', import.meta.url))
  const runs = Array.from(
    { length: 5 },
    () =>
      JSON.parse(
        execFileSync(process.execPath, [child, join(folder, 'store'), trustFile], { encoding: 'utf8' }),
      ) as { ms: number; bytes: number; segments: number },
  )
  for (const run of runs)
    say(`plan over ${run.segments} segments: ${run.ms} ms, ${Math.round(run.bytes / 1e6)} MB`)
  const ms = runs.map((run) => run.ms).sort((a, b) => a - b)
  const bytes = Math.max(...runs.map((run) => run.bytes))
  const planned = runs.every((run) => run.segments > SEGMENTS - LIMITS.checkpointEntries)
  return [
    {
      what: `restore plan, ${SEGMENTS / 1e6} M live segments, process start and opening included`,
      against: '',
      measured: `${(ms[2]! / 1000).toFixed(2)} s (${(ms[0]! / 1000).toFixed(2)}-${(ms[4]! / 1000).toFixed(2)}), ${Math.round(bytes / 1e6)} MB`,
      reach: 'under 2 s, under 200 MB',
      reached: planned && ms[4]! < 2000 && bytes < 200e6,
    },
  ]
}

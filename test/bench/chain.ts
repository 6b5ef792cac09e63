/** `verify --chain` over a store in a folder, against what this machine needs for the signatures and the hashes alone. */
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { join } from 'node:path'
import { FolderStore } from '../../services/adapters/object-store/folder-store.ts'
import type { MemoryStore } from '../../services/adapters/object-store/memory-store.ts'
import { verifyStore } from '../../services/app/operations/verify.ts'
import { systemRandomness } from '../../services/core/clock.ts'
import { parsePosition, positionOf, positionText } from '../../services/core/position.ts'
import { type EntryOf, hashBytes } from '../../services/formats/ledger-entry.ts'
import { MemoryPipeline } from '../support/memory-pipeline.ts'
import type { Figure } from './main.ts'
import { median, spread } from './tools.ts'

const ENTRIES = Number(process.env['BENCH_ENTRIES'] ?? 900)
const SEGMENT_BYTES = 1024 * 1024
const INDEX_BYTES = 16 * 1024

export async function benchChain(
  folder: string,
  pairs: number,
  say: (text: string) => void,
): Promise<Figure[]> {
  const store = new FolderStore(join(folder, 'store'), systemRandomness)
  const pipeline = await MemoryPipeline.create(
    [{ oid: 16400, name: 't', columns: ['x'], identity: 'default' }],
    { store: store as unknown as MemoryStore },
  )
  await pipeline.start(1)
  await pipeline.takeBase()
  await pipeline.durable(pipeline.source.commit([{ kind: 'insert', table: 't', id: 1, values: ['a'] }]))
  await pipeline.drain()
  const { ledger, catalog, signer } = pipeline.repository
  const real = catalog.generation!.segments.last!.body
  let to = parsePosition(real.to)
  for (let i = 0; i < ENTRIES; i++) {
    const from = to
    to = positionOf(to + 1_000_000n)
    const object = async (
      name: string,
      size: number,
    ): Promise<{ name: string; bytes: string; sha256: string }> => {
      const bytes = systemRandomness.bytes(size)
      await store.putIfAbsent(name, [bytes])
      return { name, bytes: String(size), sha256: hashBytes(bytes) }
    }
    const body: EntryOf<'segments'> = {
      ...real,
      from: positionText(from),
      to: positionText(to),
      end: positionText(positionOf(to + 48n)),
      objects: [{ ...real.objects[0]!, ...(await object(`segments/s${i}.avro`, SEGMENT_BYTES)) }],
      index: { ...real.index, ...(await object(`segments/s${i}.index`, INDEX_BYTES)) },
    }
    await ledger.append(body, signer)
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const line = systemRandomness.bytes(1200)
  const signature = sign(null, line, privateKey)
  const [segment, index] = [systemRandomness.bytes(SEGMENT_BYTES), systemRandomness.bytes(INDEX_BYTES)]
  const ratios: number[] = []
  const seconds: number[] = []
  for (let pair = 0; pair < pairs; pair++) {
    const bareFrom = performance.now()
    for (let i = 0; i < ENTRIES; i++) {
      if (!verify(null, line, publicKey, signature)) throw new Error('unreachable')
      for (const bytes of [line, segment, index]) hashBytes(bytes)
    }
    const bare = (performance.now() - bareFrom) / 1000
    const repository = await pipeline.reopen()
    const from = performance.now()
    const report = await verifyStore(repository, false, () => undefined, new AbortController().signal)
    const ours = (performance.now() - from) / 1000
    if (report.damaged.length > 0 || report.objects < 2 * ENTRIES)
      throw new Error('it did not look at everything')
    ratios.push(bare / ours)
    seconds.push(ours)
    say(`verify --chain: ${ours.toFixed(2)} s, Ed25519 and SHA-256 alone ${bare.toFixed(2)} s`)
  }
  const megabytes = (ENTRIES * (SEGMENT_BYTES + INDEX_BYTES)) / 1e6
  return [
    {
      what: `verify --chain: ${ENTRIES} entries, ${Math.round(megabytes)} MB in a folder`,
      against: 'Ed25519 and SHA-256 of as much in memory',
      measured: `${median(seconds).toFixed(2)} s, ${Math.round(megabytes / median(seconds))} MB/s: ${median(ratios).toFixed(2)} of their speed (${spread(ratios)})`,
      reach: 'at least 0.5',
      reached: median(ratios) >= 0.5,
    },
  ]
}

/** One part of a table on its way from a snapshot into the repository, in objects of a bounded size. */
import type { Randomness } from '../core/clock.ts'
import type { CopyResult, Snapshot, SnapshotTable, TablePartRange } from '../core/ports/source.ts'
import { LIMITS } from '../core/limits.ts'
import { release } from '../core/release.ts'
import { baseSchema } from '../formats/change-schema.ts'
import { type Block, compressBlock, compressRow, containerFile } from '../formats/container.ts'
import { basePartName } from '../formats/object-name.ts'
import type { Repository } from '../repository/repository.ts'
import type { CopiedPart } from './table-work.ts'

export interface Progress {
  rows: number
  rawBytes: number
  estimatedRows: number
}

export interface PartCopyOptions {
  readonly repository: Repository
  readonly generation: number
  readonly randomness: Randomness
  readonly progress: Progress
  readonly events: {
    onProgress?(progress: Progress): void
    onPoint?(point: string): void | Promise<void>
  }
}

export interface PlannedPart {
  readonly snapshot: Snapshot
  /** The copy that it belongs to. */
  readonly base: string
  readonly table: SnapshotTable
  readonly part: TablePartRange
  readonly index: number
}

export async function copyPart(
  { repository, generation, randomness, progress, events }: PartCopyOptions,
  { snapshot, base, table, part, index }: PlannedPart,
  signal: AbortSignal,
): Promise<CopiedPart | Exclude<CopyResult, { readonly kind: 'copied' }>> {
  const schema = baseSchema(table.shape)
  const objects: CopiedPart['objects'] = []
  let blocks: Promise<Block>[] = []
  let pending = 0
  let raw = 0
  let rows = 0
  let totalRaw = 0
  let storing: Promise<void> = Promise.resolve()
  const store = (held: Promise<Block>[], heldRows: number): Promise<void> => {
    const before = storing
    const run = async (): Promise<void> => {
      const finished = await Promise.all(held)
      await before
      const { chunks } = containerFile(schema, randomness.bytes(16), finished)
      const name = basePartName(generation, base, table.version.oid, index, repository.nonce())
      const sealed = await repository.seal(name, chunks, {
        kind: 'base',
        generation: String(generation),
        table: String(table.version.oid),
      })
      await repository.put(sealed, signal)
      await events.onPoint?.('base-part-stored')
      objects.push({ ...sealed.object, rows: String(heldRows) })
    }
    storing = run()
    storing.catch(() => undefined)
    return storing
  }
  const result = await snapshot.copy(
    table,
    part,
    (bytes, count) => {
      const size = bytes.length
      const isLarge = count === 1 && size >= LIMITS.blockBytes
      const block = isLarge ? compressRow([bytes]) : compressBlock(bytes, count)
      block.catch(() => undefined)
      blocks.push(block)
      pending++
      const settled = block.then(() => {
        pending--
        release(bytes)
      })
      settled.catch(() => undefined)
      raw += size
      rows += count
      totalRaw += size
      progress.rows += count
      progress.rawBytes += size
      events.onProgress?.({ ...progress })
      if (raw >= LIMITS.basePartBytes) {
        const wait = store(blocks, rows)
        blocks = []
        raw = 0
        rows = 0
        return wait
      }
      return pending >= LIMITS.compressionsInFlight / 2 ? settled : undefined
    },
    signal,
  )
  if (result.kind !== 'copied') {
    await storing
    return result
  }
  if (blocks.length > 0) await store(blocks, rows)
  await storing
  return { kind: 'copied', rows: result.rows, rawBytes: totalRaw, objects }
}

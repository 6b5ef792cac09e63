/** The objects of a cut, sealed and stored: segments and index. Ledger entries are written by others, behind these. */
import type { Randomness } from '../core/clock.ts'
import type { EntryOf } from '../formats/ledger-entry.ts'
import { indexName, segmentName } from '../formats/object-name.ts'
import { encodeIndex, type IndexedBlock } from '../formats/segment-index.ts'
import type { Repository, SealedObject } from '../repository/repository.ts'
import type { MadeCut } from './made-cut.ts'
import type { OpenCut } from './open-cut.ts'
import type { BuiltSegment } from './segment-builder.ts'

/** A cut covers the whole stream: all its lanes are one in the ledger. */
export const LANE = 0

export interface CutObjectsOptions {
  readonly repository: Repository
  readonly generation: number
  readonly randomness: Randomness
  readonly events: { onPoint?(point: string): unknown }
  readonly signal: AbortSignal
  /** The same action again through outages of the store. */
  readonly retrying: <T>(action: () => Promise<T>) => Promise<T>
}

export class CutObjects {
  readonly #options: CutObjectsOptions
  readonly #early = new WeakMap<OpenCut, Map<number, SealedObject>>()

  constructor(options: CutObjectsOptions) {
    this.#options = options
  }

  /** A segment of a large transaction, stored as soon as it is built. */
  early(cut: OpenCut, index: number, building: Promise<BuiltSegment>): Promise<BuiltSegment> {
    const stored = this.#storeEarly(cut, index, building)
    // Whoever leaves the cut before its end waits for none of them.
    stored.catch(() => undefined)
    return stored
  }

  async #storeEarly(cut: OpenCut, index: number, building: Promise<BuiltSegment>): Promise<BuiltSegment> {
    const { repository, retrying, signal } = this.#options
    const built = await building
    const sealed = await this.#sealSegment(cut, index, built.pieces)
    await retrying(() => repository.put(sealed, signal))
    const held = this.#early.get(cut) ?? new Map<number, SealedObject>()
    held.set(index, { ...sealed, pieces: [] })
    this.#early.set(cut, held)
    return { ...built, pieces: [] }
  }

  /** Everything of the cut that is not stored yet; nothing may be added to it afterwards. */
  async put(cut: OpenCut): Promise<MadeCut> {
    const { repository, generation, events, randomness, retrying, signal } = this.#options
    const last = cut.transactions.at(-1)!
    if (cut.builder.rows > 0 || cut.finished.length === 0)
      cut.finished.push(cut.builder.finish(randomness.bytes(16)))
    const segments = await Promise.all(cut.finished)
    const early = this.#early.get(cut)
    const objects: EntryOf<'segments'>['objects'] = []
    const blocks: IndexedBlock[] = []
    let bytes = 0
    for (const [part, segment] of segments.entries()) {
      if (segment.blocks.length === 0) continue
      let sealed = early?.get(part)
      if (sealed === undefined) {
        sealed = await this.#sealSegment(cut, part, segment.pieces)
        events.onPoint?.('segment-sealed')
        await retrying(() => repository.put(sealed!, signal))
        events.onPoint?.('segment-stored')
      }
      bytes += Number(sealed.object.bytes)
      const tables = new Map<number, { rows: number; bytes: number }>()
      for (const block of segment.blocks) {
        const held = tables.get(block.shape.relation.oid) ?? { rows: 0, bytes: 0 }
        tables.set(block.shape.relation.oid, {
          rows: held.rows + block.rows,
          bytes: held.bytes + block.bytes,
        })
        blocks.push({
          table: cut.tableIndex(block.shape.relation),
          object: objects.length,
          rows: block.rows,
          bytes: block.bytes,
          keys: block.keys,
        })
      }
      objects.push({
        ...sealed.object,
        tables: [...tables].map(([oid, t]) => ({ oid, rows: String(t.rows), bytes: String(t.bytes) })),
      })
    }
    const index = encodeIndex({
      tables: cut.tables,
      blocks,
      transactions: cut.transactions,
      sequences: cut.sequences,
      markers: cut.markers,
    })
    const sealedIndex = await repository.seal(
      indexName(generation, LANE, cut.from, last.position, repository.nonce()),
      index,
      this.#context('index'),
    )
    await retrying(() => repository.put(sealedIndex, signal))
    events.onPoint?.('index-stored')
    return {
      objects,
      index: sealedIndex.object,
      bytes,
      transactions: cut.transactions.length,
      changes: cut.changes,
      hasSequences: cut.sequences !== undefined,
    }
  }

  #sealSegment(cut: OpenCut, part: number, file: readonly Buffer[]): Promise<SealedObject> {
    const { repository, generation } = this.#options
    const to = cut.transactions.at(-1)?.position ?? cut.from
    return repository.seal(
      segmentName(generation, LANE, cut.from, to, part, repository.nonce()),
      file,
      this.#context('segment'),
    )
  }

  #context(kind: string): Record<string, string> {
    return { kind, generation: String(this.#options.generation), lane: String(LANE) }
  }
}

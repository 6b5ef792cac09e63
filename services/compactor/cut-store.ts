/** Stores a cut: seals and puts its objects, writes its ledger entries in their order, and says what is durable. */
import { Backoff } from '../core/running-state.ts'
import { formatLsn, type Lsn } from '../core/position.ts'
import type { ControlRecord, SchemaFacts } from '../core/transaction.ts'
import type { EntryBody } from '../formats/ledger-entry.ts'
import { indexName, schemaName, segmentName, sequencesName } from '../formats/object-name.ts'
import { encodeIndex, type IndexedBlock } from '../formats/segment-index.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { SealedObject } from '../repository/repository.ts'
import type { CompactorOptions } from './compactor.ts'
import type { OpenCut } from './open-cut.ts'
import type { BuiltSegment } from './segment-builder.ts'

export const LANE = 0

export class CutStore {
  readonly #options: CompactorOptions
  readonly signal: AbortSignal

  constructor(options: CompactorOptions, signal: AbortSignal) {
    this.#options = options
    this.signal = signal
  }

  readonly #early = new WeakMap<OpenCut, Map<number, SealedObject>>()

  /** A segment of a large transaction, stored before its entry is written. */
  async early(cut: OpenCut, index: number, building: Promise<BuiltSegment>): Promise<BuiltSegment> {
    const built = await building
    const sealed = await this.#sealSegment(cut, index, built.file)
    await this.retrying(() => this.#options.repository.put(sealed, this.signal))
    const held = this.#early.get(cut) ?? new Map<number, SealedObject>()
    held.set(index, { ...sealed, bytes: Buffer.alloc(0) })
    this.#early.set(cut, held)
    return { ...built, file: Buffer.alloc(0) }
  }

  #sealSegment(cut: OpenCut, part: number, file: Buffer): Promise<SealedObject> {
    const { repository, generation } = this.#options
    const to = cut.transactions.at(-1)?.lsn ?? cut.from
    const name = segmentName(generation, LANE, cut.from, to, part, repository.nonce())
    return repository.seal(name, file, this.#context('segment'))
  }

  #context(kind: string): Record<string, string> {
    return { kind, generation: String(this.#options.generation), lane: String(LANE) }
  }

  /** Objects, then entries, then "durable"; `before` is the storing of the cut before, whose entries come first. */
  async store(cut: OpenCut, before: Promise<void>): Promise<void> {
    const { repository, generation, term, events, randomness, log } = this.#options
    const last = cut.transactions.at(-1)!
    const first = cut.transactions[0]!
    if (cut.builder.rows > 0 || cut.finished.length === 0) cut.finished.push(cut.builder.finish(randomness.bytes(16)))
    const segments = await Promise.all(cut.finished)
    const early = this.#early.get(cut)
    const objects: (EntryBody & { kind: 'segments' })['objects'][number][] = []
    const blocks: IndexedBlock[] = []
    let bytes = 0
    for (const [part, segment] of segments.entries()) {
      if (segment.blocks.length === 0) continue
      let sealed = early?.get(part)
      if (sealed === undefined) {
        sealed = await this.#sealSegment(cut, part, segment.file)
        events.onPoint?.('segment-sealed')
        await this.retrying(() => repository.put(sealed!, this.signal))
        events.onPoint?.('segment-stored')
      }
      bytes += Number(sealed.object.bytes)
      const tables = new Map<number, { rows: number; bytes: number }>()
      for (const block of segment.blocks) {
        const held = tables.get(block.shape.relation.oid) ?? { rows: 0, bytes: 0 }
        tables.set(block.shape.relation.oid, { rows: held.rows + block.rows, bytes: held.bytes + block.bytes })
        blocks.push({ table: cut.tableIndex(block.shape.relation), object: objects.length, rows: block.rows, bytes: block.bytes, keys: block.keys })
      }
      objects.push({ ...sealed.object, tables: [...tables].map(([oid, t]) => ({ oid, rows: String(t.rows), bytes: String(t.bytes) })) })
    }
    const index = encodeIndex({
      tables: cut.tables,
      blocks,
      transactions: cut.transactions,
      sequences: cut.sequences === undefined ? undefined : { at: cut.sequences.at, samples: cut.sequences.samples },
      markers: cut.markers,
    })
    const sealedIndex = await repository.seal(indexName(generation, LANE, cut.from, last.lsn, repository.nonce()), index, this.#context('index'))
    await this.retrying(() => repository.put(sealedIndex, this.signal))
    events.onPoint?.('index-stored')
    await before
    // A gap is in the ledger before the transaction that makes it: no crash can hide it (invariant 4).
    for (const gap of cut.gaps) {
      // A log that is read again brings it again.
      if (repository.catalog.gaps.some((known) => known.id === gap.id)) continue
      const entry: EntryBody = { kind: 'gap', generation, id: gap.id, from: formatLsn(gap.from), to: null, reason: gap.reason, scope: gap.scope }
      await this.retrying(() => repository.append(entry))
    }
    // Likewise markers: behind the entry of their transaction a crash would lose them, before it they at most come twice.
    for (const marker of cut.markers) {
      const entry: EntryBody = { kind: 'marker', generation, at: formatLsn(marker.at), name: marker.name }
      await this.retrying(() => repository.append(entry))
    }
    for (const facts of cut.schemas) await this.#storeSchema(facts, last.lsn)
    const body: EntryBody = {
      kind: 'segments',
      generation,
      lane: LANE,
      term,
      timeline: cut.timeline,
      from: formatLsn(cut.from),
      to: formatLsn(last.lsn),
      end: formatLsn(last.endLsn),
      transactions: String(cut.transactions.length),
      changes: String(cut.changes),
      rawBytes: String(cut.rawBytes),
      firstCommittedAt: formatInstant(first.committedAt),
      lastCommittedAt: formatInstant(last.committedAt),
      latestCommittedAt: formatInstant(cut.transactions.reduce((latest, t) => (t.committedAt > latest ? t.committedAt : latest), first.committedAt)),
      hasDdl: cut.hasDdl,
      log: cut.place === undefined ? null : { log: cut.place.log, from: String(cut.place.from), at: String(cut.place.at) },
      checked: cut.sequences?.checked === true ? formatLsn(cut.sequences.at) : null,
      objects,
      index: sealedIndex.object,
    }
    events.onPoint?.('before-entry')
    await this.retrying(() => repository.append(body))
    events.onPoint?.('after-entry')
    log.markDurable(last.endLsn)
    events.onPoint?.('acknowledged')
    await this.retrying(() => repository.checkpoint(this.#options.checkpointEntries))
    events.onDurable?.({ to: last.lsn, end: last.endLsn, transactions: cut.transactions.length, changes: cut.changes, bytes, firstCommittedAt: first.committedAt, lastCommittedAt: last.committedAt })
  }

  async #storeSchema(facts: SchemaFacts, at: Lsn): Promise<void> {
    const { repository, generation } = this.#options
    const sealed = await repository.seal(schemaName(generation, at, repository.nonce()), Buffer.from(JSON.stringify(facts), 'utf8'), { kind: 'schema', generation: String(generation) })
    await this.retrying(() => repository.put(sealed, this.signal))
    const body: EntryBody = { kind: 'schema', generation, at: formatLsn(at), snapshot: facts.snapshot, object: sealed.object }
    await this.retrying(() => repository.append(body))
  }

  /** A sample behind the last cut has no index to stand in. */
  async sequences(record: ControlRecord & { kind: 'sequences' }): Promise<void> {
    const { repository, generation } = this.#options
    const name = sequencesName(generation, record.at, repository.nonce())
    const sealed = await repository.seal(name, Buffer.from(JSON.stringify(record.samples), 'utf8'), { kind: 'sequences', generation: String(generation) })
    await this.retrying(() => repository.put(sealed, this.signal))
    const body: EntryBody = { kind: 'sequences', generation, at: formatLsn(record.at), checked: record.checked ? formatLsn(record.at) : null, object: sealed.object }
    await this.retrying(() => repository.append(body))
  }

  /** Outages of the store: the same action again, with growing pauses, until it works or cannot. */
  async retrying<T>(action: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(this.#options.clock, this.#options.randomness)
    for (;;) {
      try {
        return await action()
      } catch (error) {
        this.signal.throwIfAborted()
        const known = await backoff.wait(error, this.signal)
        this.#options.events.onRetry?.({ code: known.code, message: known.message })
      }
    }
  }
}

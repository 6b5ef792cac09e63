/** Stores a cut: its objects, then its ledger entries in their order, and then says what is durable. */
import { growingPauses, isOutage, retrying } from '../core/retry.ts'
import { TidemarkError } from '../core/errors.ts'
import { type Position, positionText } from '../core/position.ts'
import type { ControlRecord, GapNotice, SchemaChange, SchemaFacts } from '../core/transaction.ts'
import type { EntryBody } from '../formats/ledger-entry.ts'
import { schemaName, sequencesName } from '../formats/object-name.ts'
import { sampledJson } from '../formats/sampled-sequences.ts'
import { ofReading, statementsDigest } from '../formats/schema-change.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { CompactorOptions } from './compactor-options.ts'
import { CutObjects, LANE } from './cut-objects.ts'
import type { OpenCut } from './open-cut.ts'
import type { BuiltSegment } from './segment-builder.ts'

export class CutStore {
  readonly #options: CompactorOptions
  readonly #objects: CutObjects
  readonly signal: AbortSignal

  constructor(options: CompactorOptions, signal: AbortSignal) {
    this.#options = options
    this.signal = signal
    this.#objects = new CutObjects({ ...options, retrying: (action) => this.retrying(action), signal })
  }

  /** A segment of a large transaction, stored before its entry is written. */
  early(cut: OpenCut, index: number, building: Promise<BuiltSegment>): Promise<BuiltSegment> {
    return this.#objects.early(cut, index, building)
  }

  /** Objects, then entries, then "durable"; `before` is the storing of the cut before, whose entries come first. */
  async store(cut: OpenCut, before: Promise<void>): Promise<void> {
    const { repository, generation, term, events, log, build } = this.#options
    const last = cut.transactions.at(-1)!
    const first = cut.transactions[0]!
    const made = await (build === undefined ? this.#objects.put(cut) : build(cut, this.signal))
    if (made.changes !== cut.changes || made.transactions !== cut.transactions.length) {
      throw new TidemarkError(
        'LOG_HOLE',
        `the cut up to ${positionText(last.position)} has ${made.transactions} transactions and ${made.changes} changes; the log says ${cut.transactions.length} and ${cut.changes}`,
      )
    }
    await before
    // A gap is in the ledger before the transaction that makes it: no crash can hide it (invariant 4).
    for (const gap of cut.gaps) await this.gap(gap)
    // Likewise markers: behind the entry of their transaction a crash would lose them, before it they at most come twice.
    for (const marker of cut.markers) {
      const entry: EntryBody = { kind: 'marker', generation, at: positionText(marker.at), name: marker.name }
      await this.retrying(() => repository.append(entry))
    }
    for (const facts of cut.schemas) await this.schema(facts, last.position)
    const body: EntryBody = {
      kind: 'segments',
      generation,
      lane: LANE,
      term,
      timeline: cut.timeline,
      from: positionText(cut.from),
      to: positionText(last.position),
      end: positionText(last.end),
      ...(cut.resume === undefined ? {} : { resume: cut.resume }),
      transactions: String(cut.transactions.length),
      changes: String(cut.changes),
      rawBytes: String(cut.rawBytes),
      firstCommittedAt: formatInstant(first.committedAt),
      lastCommittedAt: formatInstant(last.committedAt),
      latestCommittedAt: formatInstant(
        cut.transactions.reduce(
          (latest, t) => (t.committedAt > latest ? t.committedAt : latest),
          first.committedAt,
        ),
      ),
      hasDdl: cut.hasDdl,
      log:
        cut.place === undefined
          ? null
          : {
              log: cut.place.log,
              from: String(cut.place.from),
              at: String(cut.place.at),
              since: String(cut.place.since),
              unit: cut.place.unit,
              ...(cut.place.idsFrom === undefined ? {} : { idsFrom: String(cut.place.idsFrom) }),
            },
      checked: cut.checked === undefined ? null : positionText(cut.checked),
      objects: [...made.objects],
      index: made.index,
    }
    events.onPoint?.('before-entry')
    await this.retrying(() => repository.append(body))
    events.onPoint?.('after-entry')
    if (cut.sequences !== undefined && !made.hasSequences) await this.sequences(cut.sequences)
    log.markDurable(last.end)
    events.onPoint?.('acknowledged')
    await this.retrying(() => repository.checkpoint(this.#options.checkpointEntries))
    events.onDurable?.({
      to: last.position,
      end: last.end,
      transactions: cut.transactions.length,
      changes: cut.changes,
      bytes: made.bytes,
      firstCommittedAt: first.committedAt,
      lastCommittedAt: last.committedAt,
    })
  }

  async gap(gap: GapNotice): Promise<void> {
    const { repository, generation } = this.#options
    // A log that is read again brings it again.
    if (repository.catalog.gaps.some((known) => known.id === gap.id)) return
    const entry: EntryBody = {
      kind: 'gap',
      generation,
      id: gap.id,
      from: positionText(gap.from),
      to: null,
      reason: gap.reason,
      scope: gap.scope,
    }
    await this.retrying(() => repository.append(entry))
  }

  async schema(read: SchemaFacts | SchemaChange, position: Position): Promise<void> {
    const { repository, generation } = this.#options
    const kind = 'since' in read ? 'schema-change' : 'schema'
    const sealed = await repository.seal(
      schemaName(generation, position, repository.nonce()),
      Buffer.from(JSON.stringify(read), 'utf8'),
      { kind, generation: String(generation) },
    )
    await this.retrying(() => repository.put(sealed, this.signal))
    const { snapshot } = read
    const { object } = sealed
    const at = positionText(position)
    const body: EntryBody =
      'since' in read
        ? {
            kind: 'schema-change',
            generation,
            at,
            snapshot,
            reading: read.reading,
            since: read.since,
            digest: read.digest,
            ...ofReading(read),
            object,
          }
        : {
            kind: 'schema',
            generation,
            at,
            snapshot,
            ...(read.reading === undefined
              ? {}
              : { reading: read.reading, digest: statementsDigest(read.statements) }),
            ...ofReading(read),
            object,
          }
    await this.retrying(() => repository.append(body))
  }

  /** A sample behind the last cut has no index to stand in. */
  async sequences(record: ControlRecord & { kind: 'sequences' }): Promise<void> {
    const { repository, generation } = this.#options
    const name = sequencesName(generation, record.at, repository.nonce())
    const sealed = await repository.seal(name, Buffer.from(JSON.stringify(sampledJson(record)), 'utf8'), {
      kind: 'sequences',
      generation: String(generation),
    })
    await this.retrying(() => repository.put(sealed, this.signal))
    const body: EntryBody = {
      kind: 'sequences',
      generation,
      at: positionText(record.at),
      checked: record.checked ? positionText(record.at) : null,
      object: sealed.object,
    }
    await this.retrying(() => repository.append(body))
  }

  /** Outages of the store: the same action again, with growing pauses, until it works or cannot. */
  retrying<T>(action: () => Promise<T>): Promise<T> {
    const { clock, randomness, events } = this.#options
    return retrying(action, {
      clock,
      pauses: growingPauses(randomness),
      passes: isOutage,
      signal: this.signal,
      onAgain: ({ code, message }) => events.onRetry?.({ code, message }),
    })
  }
}

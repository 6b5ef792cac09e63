/**
 * Copies tables under exact snapshots into the repository, while the stream runs: the base, the re-snapshot of a table
 * that closes its gap, and the rest of a base after a crash are all this one job.
 *
 * A `table` entry is written as each table finishes; a table that moved under the copy is done again under the next
 * snapshot; one that vanished is left to the stream's DROP.
 */
import type { Clock, Randomness } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import {
  comparePositions,
  laterPosition,
  parsePosition,
  type Position,
  positionText,
} from '../core/position.ts'
import type { GapNotice } from '../core/transaction.ts'
import type { Snapshot, SnapshotTable, Source } from '../core/ports/source.ts'
import { TidemarkError } from '../core/errors.ts'
import type { TableVersion } from '../core/relation.ts'
import { isRowTooLarge } from '../core/row-limit.ts'
import type { EntryOf } from '../formats/ledger-entry.ts'
import { schemaName, tableVersionName } from '../formats/object-name.ts'
import { ofReading, statementsDigest } from '../formats/schema-change.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { Repository } from '../repository/repository.ts'
import { copyPart, type Progress } from './part-copy.ts'
import { TableWork } from './table-work.ts'

export interface BaseEvents {
  onWaiting?: Parameters<Source['snapshot']>[0]['onWaiting']
  /** A table with a row that is too large to be taken has a gap instead of a copy. */
  onRefused?(gap: GapNotice): void
  onTable?(event: {
    readonly schema: string
    readonly name: string
    readonly rows: number
    readonly bytes: number
  }): void
  onProgress?(event: {
    readonly rows: number
    readonly rawBytes: number
    readonly estimatedRows: number
  }): void
  /** Named points of the write path, for crash tests; a promise is waited for right behind the snapshot. */
  onPoint?(point: string): void | Promise<void>
}

export interface BaseCopyOptions {
  readonly source: Source
  readonly repository: Repository
  readonly generation: number
  readonly clock: Clock
  readonly randomness: Randomness
  readonly events: BaseEvents
}

export interface OpenGap {
  readonly id: string
  readonly oid: number
}

interface Copies {
  /** The copy that one of the table belongs to. */
  of(oid: number): string
  readonly only?: ReadonlySet<number>
  readonly done: Map<number, { readonly entry: bigint; readonly body: EntryOf<'table'> }>
  onDone?(table: EntryOf<'table'>): Promise<void>
}

/** Snapshots that may be needed because tables keep moving under the copy. */
const ROUNDS = 20

export class BaseCopy {
  readonly #options: BaseCopyOptions
  readonly #progress: Progress = { rows: 0, rawBytes: 0, estimatedRows: 0 }

  constructor(options: BaseCopyOptions) {
    this.#options = options
  }

  /** A whole base; goes on with one that a crash left unfinished. Resolves once its entry is durable. */
  async base(signal: AbortSignal): Promise<EntryOf<'base'>> {
    const { repository, generation: number, randomness } = this.#options
    const generation = repository.catalog.generations.find((g) => g.facts.generation === number)
    if (generation === undefined)
      throw new TidemarkError('INTERNAL', 'a base of a generation that the ledger does not have')
    // One that a newer base has overtaken is left: its tables are old, and what they need to be of use may be retired.
    const newest = generation.base?.number ?? 0n
    const unfinished = [...generation.tables.values()].filter(
      (t) => t.number > newest && !this.#isResnapshot(t.body.base),
    )
    const base = unfinished.at(-1)?.body.base ?? randomness.uuid()
    const done: Copies['done'] = new Map()
    for (const table of unfinished)
      if (table.body.base === base) done.set(table.body.oid, { entry: table.number, body: table.body })
    const { closing, dropped, refused } = await this.#rounds({ of: () => base, done }, signal)
    for (const gap of refused.values()) await this.#openGap(gap)
    let end = closing
    let rows = 0n
    let bytes = 0n
    let from = closing
    for (const { body } of done.values()) {
      end = laterPosition(end, parsePosition(body.position))
      if (comparePositions(parsePosition(body.position), from) < 0) from = parsePosition(body.position)
      rows += BigInt(body.rows)
      for (const part of body.parts) bytes += BigInt(part.bytes)
    }
    const body: EntryOf<'base'> = {
      kind: 'base',
      generation: number,
      base,
      from: positionText(from),
      closing: positionText(end),
      tables: [...done].map(([oid, { entry }]) => ({ oid, entry: String(entry) })),
      dropped,
      rows: String(rows),
      bytes: String(bytes),
      closedAt: formatInstant((await this.#options.source.moment()).time),
    }
    await this.#options.events.onPoint?.('before-base-entry')
    await repository.append(body)
    await this.#options.events.onPoint?.('after-base-entry')
    return body
  }

  #isResnapshot(id: string): boolean {
    return this.#options.repository.catalog.gaps.some((gap) => gap.id === id)
  }

  /** Before the base's entry, so that no restore from it takes the table for empty. */
  async #openGap({ id, from, reason, scope }: GapNotice): Promise<void> {
    const { repository, generation, events } = this.#options
    const isOpen = repository.catalog.openGaps.some(
      (gap) => gap.scope.kind === 'table' && scope.kind === 'table' && gap.scope.oid === scope.oid,
    )
    if (isOpen) return
    await repository.append({
      kind: 'gap',
      generation,
      id,
      from: positionText(from),
      to: null,
      reason,
      scope,
    })
    events.onRefused?.({ id, from, reason, scope })
  }

  /**
   * Reads the tables of these gaps again under one snapshot. Each gap is closed once its table is stored, with those that rows
   * too large to be taken have left up to there. A gap's id is the id of its copy.
   *
   * @returns the gaps whose tables have such a row still
   */
  async closeGaps(gaps: readonly OpenGap[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    const wanted = new Map(gaps.map((gap) => [gap.oid, gap]))
    const closed = new Set<string>()
    const close = async (gap: OpenGap, at: string): Promise<void> => {
      await this.#closeGap(gap, at)
      closed.add(gap.id)
    }
    const copies: Copies = {
      of: (oid) => wanted.get(oid)!.id,
      only: new Set(wanted.keys()),
      done: new Map(),
      onDone: ({ oid, position }) => close(wanted.get(oid)!, position),
    }
    const { closing, refused } = await this.#rounds(copies, signal)
    // What is left is gone: behind the snapshot there is nothing to read.
    for (const gap of gaps)
      if (!closed.has(gap.id) && !refused.has(gap.oid)) await close(gap, positionText(closing))
    return new Set(gaps.flatMap(({ id, oid }) => (refused.has(oid) ? [id] : [])))
  }

  async #closeGap(gap: OpenGap, at: string): Promise<void> {
    const { repository, generation } = this.#options
    const others = repository.catalog.openGaps.filter(
      ({ id, from, reason, scope }) =>
        id !== gap.id &&
        scope.kind === 'table' &&
        scope.oid === gap.oid &&
        isRowTooLarge(reason) &&
        comparePositions(from, parsePosition(at)) < 0,
    )
    for (const { id } of [gap, ...others]) await repository.append({ kind: 'gap-closed', generation, id, at })
  }

  async #rounds(
    copies: Copies,
    signal: AbortSignal,
  ): Promise<{ closing: Position; dropped: number[]; refused: ReadonlyMap<number, GapNotice> }> {
    const { only, done } = copies
    const { source, events, randomness } = this.#options
    const refused = new Map<number, GapNotice>()
    const vanished = new Set<number>()
    let closing: Position | undefined
    for (let round = 1; round <= ROUNDS; round++) {
      const snapshot = await source.snapshot({
        signal,
        ...(only === undefined ? {} : { only }),
        ...(events.onWaiting === undefined ? {} : { onWaiting: events.onWaiting.bind(events) }),
      })
      try {
        await events.onPoint?.('base-snapshot')
        if (only === undefined && round === 1) await this.#schema(snapshot)
        closing = snapshot.consistentPoint
        const wanted = snapshot.tables.filter(({ version: { oid } }) => !done.has(oid) && !refused.has(oid))
        this.#progress.estimatedRows =
          this.#progress.rows + wanted.reduce((sum, table) => sum + table.rows, 0)
        const left = await this.#copyTables(snapshot, copies, wanted, signal)
        for (const oid of left.vanished) vanished.add(oid)
        for (const { version, reason } of left.refused)
          refused.set(version.oid, {
            id: randomness.uuid(),
            from: closing,
            reason,
            scope: { kind: 'table', oid: version.oid, schema: version.schema, name: version.name },
          })
        if (left.moved === 0 && left.vanished.length === 0)
          return {
            closing,
            dropped: [...vanished].filter((oid) => !done.has(oid) && !refused.has(oid)),
            refused,
          }
      } finally {
        await snapshot.close()
      }
    }
    throw new TidemarkError('SOURCE_UNREACHABLE', `tables kept being altered during ${ROUNDS} snapshots`)
  }

  /** The schema as it is now, with the sequences of the snapshot: what points shortly after the base are restored with. */
  async #schema(snapshot: Snapshot): Promise<void> {
    const { repository, generation, source } = this.#options
    const facts = await source.currentSchema()
    const sealed = await repository.seal(
      schemaName(generation, snapshot.consistentPoint, repository.nonce()),
      Buffer.from(
        JSON.stringify({ ...facts, sampled: { extent: 'full', samples: snapshot.sequences } }),
        'utf8',
      ),
      { kind: 'schema', generation: String(generation) },
    )
    await repository.put(sealed)
    await repository.append({
      kind: 'schema',
      generation,
      at: positionText(snapshot.consistentPoint),
      snapshot: facts.snapshot,
      ...(facts.reading === undefined
        ? {}
        : { reading: facts.reading, digest: statementsDigest(facts.statements) }),
      ...ofReading(facts),
      object: sealed.object,
    })
  }

  /** All parts of all tables over a few connections, big tables first; a table's entry follows its last part. */
  async #copyTables(
    snapshot: Snapshot,
    copies: Copies,
    tables: readonly SnapshotTable[],
    outer: AbortSignal,
  ): Promise<{
    moved: number
    vanished: number[]
    refused: { readonly version: TableVersion; readonly reason: string }[]
  }> {
    const stop = new AbortController()
    const signal = AbortSignal.any([outer, stop.signal])
    const work = [...tables].sort((a, b) => b.bytes - a.bytes).map((table) => new TableWork(table))
    const queue = work.flatMap((table) => table.table.parts.map((part, index) => ({ table, part, index })))
    const failure: { error?: unknown } = {}
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const { table, part, index } = next
        const { oid } = table.table.version
        const base = copies.of(oid)
        if (table.outcome === undefined) {
          const result = await copyPart(
            { ...this.#options, progress: this.#progress },
            { snapshot, base, table: table.table, part, index },
            signal,
          )
          if (result.kind === 'copied') table.parts.set(index, result)
          else {
            table.outcome = result.kind
            if (result.kind === 'refused') table.reason = result.reason
          }
        }
        table.left--
        if (table.left > 0 || table.outcome !== undefined) continue
        const entry = await this.#tableEntry(snapshot, base, table)
        copies.done.set(oid, entry)
        await copies.onDone?.(entry.body)
      }
    }
    await Promise.all(
      Array.from({ length: LIMITS.copyConnections }, () =>
        worker().catch((error: unknown) => {
          failure.error ??= error
          stop.abort(new DOMException('stopped', 'AbortError'))
        }),
      ),
    )
    if (failure.error !== undefined) throw failure.error
    return {
      moved: work.filter((table) => table.outcome === 'moved').length,
      vanished: work.filter((table) => table.outcome === 'vanished').map((table) => table.table.version.oid),
      refused: work
        .filter((table) => table.outcome === 'refused')
        .map(({ table: { version }, reason }) => ({ version, reason })),
    }
  }

  async #tableEntry(
    snapshot: Snapshot,
    base: string,
    work: TableWork,
  ): Promise<{ readonly entry: bigint; readonly body: EntryOf<'table'> }> {
    const { repository, generation, events } = this.#options
    const { version, shape, facts } = work.table
    const parts = [...work.parts].sort(([a], [b]) => a - b).map(([, part]) => part)
    const sealed = await repository.seal(
      tableVersionName(generation, base, version.oid, repository.nonce()),
      Buffer.from(facts, 'utf8'),
      { kind: 'table', generation: String(generation), table: String(version.oid) },
    )
    await repository.put(sealed)
    const rows = parts.reduce((sum, part) => sum + part.rows, 0)
    const body: EntryOf<'table'> = {
      kind: 'table',
      generation,
      base,
      oid: version.oid,
      schema: version.schema,
      name: version.name,
      position: positionText(snapshot.consistentPoint),
      shape: shape.id,
      rows: String(rows),
      rawBytes: String(parts.reduce((sum, part) => sum + part.rawBytes, 0)),
      parts: parts.flatMap((part) => part.objects),
      version: sealed.object,
    }
    const entry = await repository.append(body)
    await events.onPoint?.('table-entry')
    events.onTable?.({
      schema: version.schema,
      name: version.name,
      rows,
      bytes: body.parts.reduce((sum, part) => sum + Number(part.bytes), 0),
    })
    return { entry: entry.number, body }
  }
}

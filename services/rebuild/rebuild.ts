/**
 * Carries out a plan: schema without keys, fold and load every table, then keys, indexes, constraints, sequences. The
 * result reports the position truly reached; it never stops short and says success (invariant 5).
 */
import type { Clock, Randomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { formatLsn } from '../core/position.ts'
import { quoteTable } from '../core/relation.ts'
import { tableKey, type Target } from '../core/ports/target.ts'
import type { SchemaStatement } from '../core/transaction.ts'
import { RANK } from '../formats/rank.ts'
import { ByteSink } from '../formats/byte-sink.ts'
import { ByteSource } from '../formats/byte-source.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { Repository } from '../repository/repository.ts'
import { binaryHeader, BinaryPrinter, binaryTrailer, canBeBinary, NeedsText } from './binary-rows.ts'
import type { RestorePlan, TablePlan } from './plan.ts'
import type { RowLayout } from './row-layout.ts'
import { sequencesAt } from './sequence-samples.ts'
import { sequenceNotes, sequenceStatements } from './sequence-statements.ts'
import { FoldedChanges } from './fold-changes.ts'
import { baseBlocks } from './segment-reader.ts'
import type { TableFold } from './table-fold.ts'

export interface RebuildEvents {
  onProgress?(event: {
    readonly stage: 'schema' | 'fold' | 'load' | 'indexes'
    readonly done: number
    readonly total: number
    readonly what: string
    readonly rows: number
  }): void
}

export interface RebuildReport {
  readonly reached: { readonly position: string; readonly committedAt: string | null }
  readonly tables: readonly {
    readonly schema: string
    readonly name: string
    readonly rows: number
    readonly changes: number
  }[]
  readonly rows: number
  readonly changes: number
  readonly bytes: string
  readonly excluded: readonly string[]
  readonly notes: readonly string[]
  /** Bytes of changes and rows that did not fit into memory. */
  readonly spilledBytes: number
  readonly seconds: {
    readonly schema: number
    readonly fold: number
    readonly load: number
    readonly indexes: number
  }
}

type RowFormat = 'text' | 'binary'

const COPY_CHUNK = 128 * 1024

export class Rebuild {
  readonly #repository: Repository
  readonly #target: Target
  readonly #plan: RestorePlan
  readonly #clock: Clock
  readonly #randomness: Randomness
  readonly #memoryBytes: number | undefined
  readonly #events: RebuildEvents

  /** @param options.memoryBytes for changes; what exceeds it goes to an encrypted scratch file */
  constructor(options: {
    repository: Repository
    target: Target
    plan: RestorePlan
    clock: Clock
    randomness: Randomness
    memoryBytes?: number | undefined
    events: RebuildEvents
  }) {
    this.#repository = options.repository
    this.#target = options.target
    this.#plan = options.plan
    this.#clock = options.clock
    this.#randomness = options.randomness
    this.#memoryBytes = options.memoryBytes
    this.#events = options.events
  }

  async run(restoreId: string, signal: AbortSignal): Promise<RebuildReport> {
    const plan = this.#plan
    const statements = withoutExcluded(plan)
    const t0 = this.#clock.elapsed()
    const loaded = await this.#target.begin(restoreId)
    const missing = plan.tables.filter((table) => !loaded.has(tableKey(table)))
    const before = statements.filter((s) => s.phase === 'before')
    const notes = [...plan.schema.notes]
    let done = 0
    notes.push(
      ...(await this.#target.run(
        before,
        0,
        () => this.#say('schema', ++done, before.length, 'schema', 0),
        signal,
      )),
    )
    const t1 = this.#clock.elapsed()
    using folds = await this.#fold(missing, signal)
    const t2 = this.#clock.elapsed()
    const rest = statements.filter((s) => s.phase === 'after')
    const tables = [
      ...(await this.#load(missing, folds, rest, notes, signal)),
      ...plan.tables.flatMap((table) => alreadyLoaded(table, loaded)),
    ].sort((a, b) => (a.schema + a.name < b.schema + b.name ? -1 : 1))
    const t3 = this.#clock.elapsed()
    const sequences = await sequencesAt(this.#repository, plan.point)
    notes.push(...sequenceNotes(sequences))
    const after = [...rest, ...sequenceStatements(sequences)].sort((a, b) => a.rank - b.rank)
    done = 0
    notes.push(
      ...(await this.#target.run(
        after,
        0,
        () => this.#say('indexes', ++done, after.length, 'keys and indexes', 0),
        signal,
      )),
    )
    await this.#target.finish()
    const t4 = this.#clock.elapsed()
    const { at } = plan.point
    return {
      reached: {
        position: formatLsn(plan.point.lsn),
        committedAt: at === undefined ? null : formatInstant(at.committedAt),
      },
      tables,
      rows: tables.reduce((sum, t) => sum + t.rows, 0),
      changes: tables.reduce((sum, t) => sum + t.changes, 0),
      bytes: String(plan.bytes),
      excluded: plan.excluded,
      notes,
      spilledBytes: folds.spilledBytes,
      seconds: {
        schema: (t1 - t0) / 1000,
        fold: (t2 - t1) / 1000,
        load: (t3 - t2) / 1000,
        indexes: (t4 - t3) / 1000,
      },
    }
  }

  #fold(tables: readonly TablePlan[], signal: AbortSignal): Promise<FoldedChanges> {
    const onProgress = (done: number, total: number): void => this.#say('fold', done, total, 'changes', 0)
    return FoldedChanges.read({
      repository: this.#repository,
      plan: { ...this.#plan, tables },
      randomness: this.#randomness,
      memoryBytes: this.#memoryBytes,
      signal,
      onProgress,
    })
  }

  #say(
    stage: 'schema' | 'fold' | 'load' | 'indexes',
    done: number,
    total: number,
    what: string,
    rows: number,
  ): void {
    this.#events.onProgress?.({ stage, done, total, what, rows })
  }

  /**
   * Tables in parallel, the largest first; each gets its keys and indexes as soon as its rows are in. Those statements
   * are done when `rest` is run as a whole behind it, and are passed over there.
   */
  async #load(
    tables: readonly TablePlan[],
    folds: FoldedChanges,
    rest: readonly SchemaStatement[],
    notes: string[],
    outer: AbortSignal,
  ): Promise<RebuildReport['tables']> {
    const stop = new AbortController()
    const signal = AbortSignal.any([outer, stop.signal])
    const size = (table: TablePlan): bigint => BigInt(table.base?.body.rawBytes ?? '0') + table.changes * 100n
    const queue = [...tables].sort((a, b) => (size(b) > size(a) ? 1 : size(b) < size(a) ? -1 : a.oid - b.oid))
    const total = queue.length
    const loaded: RebuildReport['tables'][number][] = []
    let rows = 0
    let failure: unknown
    const worker = async (lane: number): Promise<void> => {
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        const fold = folds.of(table)
        const columns = table.history.last!.columns.map((column) => column.name)
        const target = { schema: table.schema, name: table.name, columns }
        const load = async (from: TableFold, format: RowFormat): Promise<number> => {
          const source = this.#rows(table!, from, format, (count) => {
            rows += count
            this.#say('load', loaded.length, total, `${table!.schema}.${table!.name}`, rows)
          })
          const taken = await this.#target.load(target, format, source.chunks, signal)
          if (taken !== source.rows())
            throw new TidemarkError(
              'TARGET_FAILED',
              `${quoteTable(table!)}: ${source.rows()} rows were sent, the target took ${taken}`,
            )
          return taken
        }
        const count = await load(fold, canBeBinary(table.history.last!.columns) ? 'binary' : 'text').catch(
          async (error: unknown) => {
            // One value in millions that only text can say (a date before Christ): the table again, as text.
            if (!(error instanceof NeedsText)) throw error
            using again = await this.#fold([table!], signal)
            return await load(again.of(table!), 'text')
          },
        )
        const indexes = rest.filter(
          (s) =>
            (s.rank === RANK.key || s.rank === RANK.index) &&
            s.objects.some((o) => o.schema === table!.schema && o.table === table!.name),
        )
        notes.push(...(await this.#target.run(indexes, 1 + lane, () => undefined, signal)))
        loaded.push({ schema: table.schema, name: table.name, rows: count, changes: fold.changes })
        this.#say('load', loaded.length, total, `${table.schema}.${table.name}`, rows)
      }
    }
    await Promise.all(
      Array.from({ length: LIMITS.copyConnections }, (_, lane) =>
        worker(lane).catch((error: unknown) => {
          failure ??= error
          stop.abort(new DOMException('stopped', 'AbortError'))
        }),
      ),
    )
    if (failure !== undefined) throw failure
    return loaded
  }

  /** The table's rows at the point as COPY text, in chunks. */
  #rows(
    table: TablePlan,
    fold: TableFold,
    format: RowFormat,
    onRows: (count: number) => void,
  ): { chunks: AsyncIterable<Buffer>; rows: () => number } {
    const repository = this.#repository
    let total = 0
    let reported = 0
    // Three buffers in turn: one is filled while the target has the two before it.
    const sinks = Array.from({ length: 3 }, () => new ByteSink(COPY_CHUNK + 16 * 1024))
    let sink = sinks[0]!
    let turn = 0
    if (format === 'binary') binaryHeader(sink)
    const print = (layout: RowLayout) => {
      const types = table.history.last!.columns.map((column) => column.typeOid)
      const binary = new BinaryPrinter(layout.kinds, types)
      const write =
        format === 'text'
          ? (source: ByteSource): boolean => layout.print(source, sink)
          : (source: ByteSource): boolean => binary.print(source, sink)
      return (source: ByteSource): void => {
        if (!write(source))
          throw new TidemarkError(
            'FOLD_MISMATCH',
            `${table.schema}.${table.name}: a value of a row is nowhere in the backup`,
          )
        total++
      }
    }
    async function* chunks(): AsyncIterable<Buffer> {
      const flush = function* (least: number): Generator<Buffer> {
        if (sink.at < least || sink.at === 0) return
        yield sink.view()
        turn = (turn + 1) % sinks.length
        sink = sinks[turn]!
        sink.at = 0
        onRows(total - reported)
        reported = total
      }
      let opened: ReturnType<TableFold['open']> | undefined
      let printing: ((source: ByteSource) => void) | undefined
      const take = (source: ByteSource): void => printing!(source)
      if (table.base !== undefined) {
        for await (const block of baseBlocks(repository, table.base.body)) {
          if (opened === undefined) {
            opened = fold.open(block.layout, take)
            printing = print(opened.layout)
          }
          const source = new ByteSource(block.raw)
          for (let i = 0; i < block.rows; i++) {
            opened.next(source)
            if (sink.at >= COPY_CHUNK) yield* flush(COPY_CHUNK)
          }
        }
      }
      if (opened === undefined) {
        opened = fold.open(undefined, take)
        printing = print(opened.layout)
      }
      for (const _ of opened.finish()) if (sink.at >= COPY_CHUNK) yield* flush(COPY_CHUNK)
      if (format === 'binary') binaryTrailer(sink)
      yield* flush(1)
      onRows(total - reported)
      reported = total
    }
    return { chunks: chunks(), rows: () => total }
  }
}

function alreadyLoaded(table: TablePlan, loaded: ReadonlyMap<string, number>): RebuildReport['tables'] {
  const rows = loaded.get(tableKey(table))
  return rows === undefined
    ? []
    : [{ schema: table.schema, name: table.name, rows, changes: Number(table.changes) }]
}

function withoutExcluded(plan: RestorePlan): readonly SchemaStatement[] {
  if (plan.excluded.length === 0) return plan.schema.statements
  const gone = new Set(plan.excluded)
  return plan.schema.statements.filter(
    (s) =>
      !s.objects.some(
        (o) =>
          gone.has(`${o.schema}.${o.table ?? ''}`) ||
          ((o.kind === 'table' || o.kind === 'view') && gone.has(`${o.schema}.${o.name}`)),
      ),
  )
}

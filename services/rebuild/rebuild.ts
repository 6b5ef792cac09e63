/**
 * Carries out a plan: schema without keys, fold and load every table, then keys, indexes, constraints, sequences. The
 * result reports the position truly reached; it never stops short and says success (invariant 5).
 */
import type { Clock } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { compareLsn, formatLsn, type Lsn, parseLsn } from '../core/position.ts'
import { quoteTable } from '../core/relation.ts'
import type { Target } from '../core/ports/target.ts'
import type { SchemaStatement, SequenceSample } from '../core/transaction.ts'
import { RANK } from '../formats/table-statements.ts'
import { ByteSink } from '../formats/byte-sink.ts'
import { ByteSource } from '../formats/byte-source.ts'
import { formatInstant } from '../formats/temporal.ts'
import type { Repository } from '../repository/repository.ts'
import { binaryHeader, binaryTrailer, canBeBinary, NeedsText, printBinary } from './binary-rows.ts'
import type { RestorePlan, TablePlan } from './plan.ts'
import { readIndex } from './point.ts'
import type { RowLayout } from './row-layout.ts'
import { baseBlocks, type ChangeBlock, changeBlocks } from './segment-reader.ts'
import { TableFold } from './table-fold.ts'

export interface RebuildEvents {
  onProgress?(event: { readonly stage: 'schema' | 'fold' | 'load' | 'indexes'; readonly done: number; readonly total: number; readonly what: string; readonly rows: number }): void
}

export interface RebuildReport {
  readonly reached: { readonly position: string; readonly committedAt: string | null }
  readonly tables: readonly { readonly schema: string; readonly name: string; readonly rows: number; readonly changes: number }[]
  readonly rows: number
  readonly changes: number
  readonly bytes: string
  readonly excluded: readonly string[]
  readonly notes: readonly string[]
  readonly seconds: { readonly schema: number; readonly fold: number; readonly load: number; readonly indexes: number }
}

/** No owned sequence may give a value that a row has already, whatever was sampled when. */
const ABOVE_ROWS = `DO $tidemark$
DECLARE owned record; top bigint;
BEGIN
  FOR owned IN SELECT s.seqrelid::regclass AS sequence, s.seqincrement AS step, t.oid::regclass AS relation, a.attname AS name
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') AND s.seqincrement > 0 AND a.atttypid IN (20, 21, 23) LOOP
    EXECUTE format('SELECT max(%I) FROM %s', owned.name, owned.relation) INTO top;
    IF top IS NOT NULL AND top > COALESCE((SELECT last_value FROM pg_catalog.pg_sequences q WHERE format('%I.%I', q.schemaname, q.sequencename)::regclass = owned.sequence), 0) THEN
      PERFORM setval(owned.sequence, top);
    END IF;
  END LOOP;
END $tidemark$`

type RowFormat = 'text' | 'binary'

const COPY_CHUNK = 128 * 1024

export class Rebuild {
  readonly #repository: Repository
  readonly #target: Target
  readonly #plan: RestorePlan
  readonly #clock: Clock
  readonly #events: RebuildEvents

  constructor(options: { repository: Repository; target: Target; plan: RestorePlan; clock: Clock; events: RebuildEvents }) {
    this.#repository = options.repository
    this.#target = options.target
    this.#plan = options.plan
    this.#clock = options.clock
    this.#events = options.events
  }

  async run(restoreId: string, signal: AbortSignal): Promise<RebuildReport> {
    const plan = this.#plan
    const statements = withoutExcluded(plan)
    const t0 = this.#clock.elapsed()
    await this.#target.begin(restoreId)
    const before = statements.filter((s) => s.phase === 'before')
    const notes = [...plan.schema.notes]
    let done = 0
    notes.push(...(await this.#target.run(before, 0, () => this.#say('schema', ++done, before.length, 'schema', 0), signal)))
    const t1 = this.#clock.elapsed()
    const folds = await foldChanges(this.#repository, plan, signal, (done, total) => this.#say('fold', done, total, 'changes', 0))
    const t2 = this.#clock.elapsed()
    const rest = statements.filter((s) => s.phase === 'after')
    const tables = await this.#load(folds, rest, notes, signal)
    const t3 = this.#clock.elapsed()
    const after = [...rest, ...(await this.#sequences())].sort((a, b) => a.rank - b.rank)
    done = 0
    notes.push(...(await this.#target.run(after, 0, () => this.#say('indexes', ++done, after.length, 'keys and indexes', 0), signal)))
    await this.#target.finish()
    const t4 = this.#clock.elapsed()
    const { at } = plan.point
    return {
      reached: { position: formatLsn(plan.point.lsn), committedAt: at === undefined ? null : formatInstant(at.committedAt) },
      tables,
      rows: tables.reduce((sum, t) => sum + t.rows, 0),
      changes: tables.reduce((sum, t) => sum + t.changes, 0),
      bytes: String(plan.bytes),
      excluded: plan.excluded,
      notes,
      seconds: { schema: (t1 - t0) / 1000, fold: (t2 - t1) / 1000, load: (t3 - t2) / 1000, indexes: (t4 - t3) / 1000 },
    }
  }

  #say(stage: 'schema' | 'fold' | 'load' | 'indexes', done: number, total: number, what: string, rows: number): void {
    this.#events.onProgress?.({ stage, done, total, what, rows })
  }

  /**
   * Tables in parallel, the largest first; each gets its keys and indexes as soon as its rows are in. Those statements
   * are done when `rest` is run as a whole behind it, and are passed over there.
   */
  async #load(folds: ReadonlyMap<number, TableFold>, rest: readonly SchemaStatement[], notes: string[], outer: AbortSignal): Promise<RebuildReport['tables']> {
    const stop = new AbortController()
    const signal = AbortSignal.any([outer, stop.signal])
    const size = (table: TablePlan): bigint => BigInt(table.base?.body.rawBytes ?? '0') + table.changes * 100n
    const queue = [...this.#plan.tables].sort((a, b) => (size(b) > size(a) ? 1 : size(b) < size(a) ? -1 : a.oid - b.oid))
    const total = queue.length
    const loaded: RebuildReport['tables'][number][] = []
    let rows = 0
    let failure: unknown
    const worker = async (lane: number): Promise<void> => {
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        const fold = folds.get(table.oid)!
        const columns = table.history.last!.columns.map((column) => column.name)
        const target = { schema: table.schema, name: table.name, columns }
        const load = async (from: TableFold, format: RowFormat): Promise<number> => {
          const source = this.#rows(table!, from, format, (count) => {
            rows += count
            this.#say('load', loaded.length, total, `${table!.schema}.${table!.name}`, rows)
          })
          const taken = await this.#target.load(target, format, source.chunks, signal)
          if (taken !== source.rows()) throw new TidemarkError('TARGET_FAILED', `${quoteTable(table!)}: ${source.rows()} rows were sent, the target took ${taken}`)
          return taken
        }
        const count = await load(fold, canBeBinary(table.history.last!.columns) ? 'binary' : 'text').catch(async (error: unknown) => {
          // One value in millions that only text can say (a date before Christ): the table again, as text.
          if (!(error instanceof NeedsText)) throw error
          const again = await foldChanges(this.#repository, { ...this.#plan, tables: [table!] }, signal, () => undefined)
          return load(again.get(table!.oid)!, 'text')
        })
        const indexes = rest.filter((s) => (s.rank === RANK.key || s.rank === RANK.index) && s.objects.some((o) => o.schema === table!.schema && o.table === table!.name))
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
    return loaded.sort((a, b) => (a.schema + a.name < b.schema + b.name ? -1 : 1))
  }

  /** The table's rows at the point as COPY text, in chunks. */
  #rows(table: TablePlan, fold: TableFold, format: RowFormat, onRows: (count: number) => void): { chunks: AsyncIterable<Buffer>; rows: () => number } {
    const repository = this.#repository
    let total = 0
    let reported = 0
    const sink = new ByteSink(COPY_CHUNK * 2)
    if (format === 'binary') binaryHeader(sink)
    const print = (layout: RowLayout) => {
      const types = table.history.last!.columns.map((column) => column.typeOid)
      const write = format === 'text' ? (source: ByteSource): boolean => layout.print(source, sink) : (source: ByteSource): boolean => printBinary(source, layout.kinds, types, sink)
      return (buffer: Buffer, start: number, end: number): void => {
        if (!write(new ByteSource(buffer, start, end))) throw new TidemarkError('FOLD_MISMATCH', `${table.schema}.${table.name}: a value of a row is nowhere in the backup`)
        total++
      }
    }
    async function* chunks(): AsyncIterable<Buffer> {
      const flush = function* (least: number): Generator<Buffer> {
        if (sink.at < least || sink.at === 0) return
        yield sink.take()
        onRows(total - reported)
        reported = total
      }
      let opened: ReturnType<TableFold['open']> | undefined
      let printing: ((buffer: Buffer, start: number, end: number) => void) | undefined
      const emit = (buffer: Buffer, start: number, end: number): void => printing!(buffer, start, end)
      if (table.base !== undefined) {
        for await (const block of baseBlocks(repository, table.base.body)) {
          if (opened === undefined) {
            opened = fold.open(block.layout, emit)
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
        opened = fold.open(undefined, emit)
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

  /** The first sample at or after the point, else the last before it; never below what the rows use. */
  async #sequences(): Promise<SchemaStatement[]> {
    const { generation, lsn } = this.#plan.point
    const found: { readonly at: Lsn; read(): Promise<readonly SequenceSample[]> }[] = []
    for (const entry of generation.segments) {
      const { sequences } = await readIndex(this.#repository, entry)
      if (sequences !== undefined) found.push({ at: sequences.at, read: () => Promise.resolve(sequences.samples) })
    }
    for (const { body } of generation.sequences) {
      found.push({
        at: parseLsn(body.at),
        read: async () => JSON.parse((await this.#repository.getSealed(body.object, { kind: 'sequences', generation: String(body.generation) })).toString('utf8')) as SequenceSample[],
      })
    }
    found.sort((a, b) => compareLsn(a.at, b.at))
    const chosen = found.find((sample) => compareLsn(sample.at, lsn) >= 0) ?? found.at(-1)
    const samples = chosen === undefined ? this.#plan.schema.sequences : await chosen.read()
    const set = samples.map((s): SchemaStatement => {
      const name = quoteTable(s).replaceAll("'", "''")
      const object = { kind: 'sequence', schema: s.schema, name: s.name }
      return { rank: 75, phase: 'after', objects: [object], sql: `SELECT CASE WHEN to_regclass('${name}') IS NOT NULL THEN setval(to_regclass('${name}'), ${s.lastValue}, ${String(s.isCalled)}) END` }
    })
    return [...set, { rank: 90, phase: 'after', objects: [{ kind: 'sequence', name: 'owned sequences' }], sql: ABOVE_ROWS }]
  }
}

/** One pass over the segments, each opened once; every table's changes go to its fold. */
export async function foldChanges(repository: Repository, plan: RestorePlan, signal: AbortSignal, onProgress: (done: number, total: number) => void): Promise<Map<number, TableFold>> {
  const folds = new Map<number, TableFold>()
  for (const table of plan.tables) folds.set(table.oid, new TableFold(table.history, basePosition(table), plan.point.lsn))
  for (const [index, entry] of plan.segments.entries()) {
    signal.throwIfAborted()
    const byTable = new Map<number, ChangeBlock[]>()
    for await (const block of changeBlocks(repository, entry.body, (oid) => folds.has(oid))) {
      const { oid } = block.layout.relation
      const held = byTable.get(oid)
      if (held === undefined) byTable.set(oid, [block])
      else held.push(block)
    }
    for (const [oid, blocks] of byTable) folds.get(oid)!.apply(blocks)
    onProgress(index + 1, plan.segments.length)
  }
  return folds
}

function basePosition(table: TablePlan): Lsn {
  return table.base === undefined ? table.history.steps[0]!.lsn : parseLsn(table.base.body.position)
}

function withoutExcluded(plan: RestorePlan): readonly SchemaStatement[] {
  if (plan.excluded.length === 0) return plan.schema.statements
  const gone = new Set(plan.excluded)
  return plan.schema.statements.filter((s) => !s.objects.some((o) => gone.has(`${o.schema}.${o.table ?? ''}`) || ((o.kind === 'table' || o.kind === 'view') && gone.has(`${o.schema}.${o.name}`))))
}

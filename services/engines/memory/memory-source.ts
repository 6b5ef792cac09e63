/**
 * Source in memory: a small database with a log of its own. What the contract suite runs against first, and what lets
 * whole histories run through the pipeline in milliseconds, every one of them compared with a replay.
 *
 * Its tables have a bigint key `id` and text columns. An update may leave columns unchanged, as TOAST does.
 */
import { deferred, type Deferred } from '../../core/running-state.ts'
import { unlessAborted } from '../../core/bounded-queue.ts'
import { TidemarkError } from '../../core/errors.ts'
import { comparePositions, laterPosition, ORIGIN, type Position, positionOf } from '../../core/position.ts'
import type {
  CopyResult,
  HeldLog,
  Snapshot,
  SnapshotTable,
  Source,
  SourceIdentity,
  StreamPoint,
  TablePartRange,
} from '../../core/ports/source.ts'
import { type MemoryTable, relationOf, tableStatement, versionOf } from './memory-table.ts'
import { NO_CATALOG } from './no-catalog.ts'
import type { LogItem, SchemaFacts, TransactionPart } from '../../core/transaction.ts'
import { ByteSink } from '../../core/byte-sink.ts'
import { ChangeEncoder, type Field } from '../../formats/change-encoder.ts'

/** Values of the text columns; undefined in an update leaves the column as it is. */
export type MemoryChange =
  | {
      readonly kind: 'insert'
      readonly table: string
      readonly id: number
      readonly values: readonly (string | null)[]
    }
  | {
      readonly kind: 'update'
      readonly table: string
      readonly id: number
      readonly to: number
      readonly values: readonly (string | null | undefined)[]
    }
  | { readonly kind: 'delete'; readonly table: string; readonly id: number }
  | { readonly kind: 'truncate'; readonly table: string }

export type MemoryRows = ReadonlyMap<number, readonly (string | null)[]>

interface Logged {
  readonly position: Position
  readonly end: Position
  readonly part: TransactionPart
}

export class MemorySource implements Source {
  readonly #tables: ReadonlyMap<
    string,
    {
      readonly table: MemoryTable
      readonly encoder: ChangeEncoder
      rows: Map<number, readonly (string | null)[]>
    }
  >
  readonly #log: Logged[] = []
  #head: Position = positionOf(0x1000n)
  #transactions = 700
  #now: bigint
  #confirmed: Position = ORIGIN
  #heartbeatWanted = false
  #more: Deferred<void> = deferred()

  constructor(tables: readonly MemoryTable[], startedAt = 1_700_000_000_000_000n) {
    this.#tables = new Map(
      tables.map((table) => [
        table.name,
        { table, encoder: new ChangeEncoder(relationOf(table), 'utf8'), rows: new Map() },
      ]),
    )
    this.#now = startedAt
  }

  /** Commits; returns the transaction's position. @throws TidemarkError INTERNAL for a change that no database would make */
  commit(changes: readonly MemoryChange[]): Position {
    const position = positionOf(this.#head + 64n)
    const end = positionOf(position + 32n)
    const placeBytes = new ByteSink(10)
    placeBytes.bigLong(position)
    const stamp = placeBytes.take()
    const sink = new ByteSink(1024)
    const offsets: number[] = [0]
    const names: string[] = []
    for (const [ordinal, change] of changes.entries()) {
      this.#apply(change, sink, stamp, ordinal)
      offsets.push(sink.at)
      names.push(change.table)
    }
    const used = [...new Set(names)]
    const shapes = used.map((name) => this.#table(name).encoder.shape)
    this.#now += 1000n
    const part: TransactionPart = {
      kind: 'changes',
      head: { timeline: 1, position, transactionId: this.#transactions++, committedAt: this.#now },
      changes: {
        bytes: sink.take(),
        offsets: Uint32Array.from(offsets),
        shapeOf: Uint16Array.from(names, (name) => used.indexOf(name)),
        shapes,
        count: changes.length,
      },
      counts: used.map((name) => {
        const of = (kind: MemoryChange['kind']): number =>
          changes.filter((c) => c.table === name && c.kind === kind).length
        return {
          shape: this.#table(name).encoder.shape,
          rows: [of('insert'), of('update'), of('delete'), of('truncate')],
        }
      }),
      end: end,
      resume: wordsFor(end),
      ddl: [],
    }
    this.#log.push({ position, end, part })
    this.#head = end
    this.#wake()
    return position
  }

  /** The rows as they are now. */
  rows(table: string): MemoryRows {
    return new Map(this.#table(table).rows)
  }

  /** What was acknowledged last. */
  get confirmed(): Position {
    return this.#confirmed
  }

  identify(): Promise<SourceIdentity> {
    return Promise.resolve({
      engine: 'memory',
      origin: {},
      database: 'memory',
      timeline: 1,
      serverVersion: 180000,
      encoding: 'UTF8',
    })
  }

  held(): Promise<HeldLog> {
    return Promise.resolve({
      name: 'memory',
      confirmed: this.#confirmed,
      active: false,
      state: 'kept',
      isLost: false,
      safeBytes: undefined,
    })
  }

  readonly taken = (): Promise<undefined> => Promise.resolve(undefined)
  readonly check = (): Promise<void> => Promise.resolve()

  async *stream({ position: from, resume }: StreamPoint, signal: AbortSignal): AsyncIterable<LogItem> {
    if (resume !== undefined && resume !== wordsFor(from))
      throw new TidemarkError('SOURCE_DIVERGED', `${resume} is not where position ${from} is`)
    if (comparePositions(this.#confirmed, from) > 0)
      throw new TidemarkError('SLOT_AHEAD', 'more was acknowledged than is asked for')
    let at = 0
    let sent = from
    for (;;) {
      signal.throwIfAborted()
      const next = this.#log[at]
      if (next !== undefined) {
        at++
        if (comparePositions(next.end, from) <= 0) continue
        sent = next.end
        yield next.part
      } else if (this.#heartbeatWanted) {
        this.#heartbeatWanted = false
        this.#head = positionOf(this.#head + 8n)
        const at = laterPosition(sent, this.#head)
        yield { kind: 'heartbeat', at, resume: wordsFor(at) }
      } else {
        await unlessAborted(this.#more.promise, signal)
      }
    }
  }

  acknowledge(end: Position): void {
    this.#confirmed = laterPosition(this.#confirmed, end)
  }

  head(): Promise<Position> {
    return Promise.resolve(this.#head)
  }

  moment(): ReturnType<Source['moment']> {
    return Promise.resolve({ at: this.#head, time: this.#now })
  }

  wantHeartbeat(): void {
    this.#heartbeatWanted = true
    this.#wake()
  }

  snapshot(options: {
    readonly only?: ReadonlySet<number>
    readonly signal: AbortSignal
  }): Promise<Snapshot> {
    const consistentPoint = positionOf(this.#head + 1n)
    const rows = new Map([...this.#tables].map(([name, { rows: now }]) => [name, new Map(now)]))
    const tables = [...this.#tables.values()]
      .filter(({ table }) => options.only?.has(table.oid) !== false)
      .map(
        ({ table, encoder }): SnapshotTable => ({
          version: versionOf(table),
          facts: JSON.stringify(table),
          shape: encoder.shape,
          rows: 0,
          bytes: 0,
          parts: [{ from: 0, to: undefined }],
        }),
      )
    const copy = async (
      table: SnapshotTable,
      _part: TablePartRange,
      onBlock: (bytes: Buffer, count: number) => Promise<void> | undefined,
      signal: AbortSignal,
    ): Promise<CopyResult> => {
      signal.throwIfAborted()
      const { encoder } = this.#table(table.version.name)
      const held = rows.get(table.version.name)!
      const sink = new ByteSink(1024)
      for (const [id, values] of held) encoder.encodeRow(sink, fields(id, values))
      if (held.size > 0) await onBlock(sink.take(), held.size)
      return { kind: 'copied', rows: held.size }
    }
    return Promise.resolve({ consistentPoint, tables, sequences: [], copy, close: () => Promise.resolve() })
  }

  readonly currentSchema = (): Promise<SchemaFacts> => this.schema()
  readonly schemaSince = (): Promise<undefined> => Promise.resolve(undefined)
  readonly isReadingOld = (): Promise<boolean> => Promise.resolve(false)

  schema(): Promise<SchemaFacts> {
    const statements = [...this.#tables.values()].map(({ table }) => tableStatement(table))
    return Promise.resolve({ snapshot: '1:1:', ddlSeen: [], statements, notes: [] })
  }

  sequences(): Promise<[]> {
    return Promise.resolve([])
  }

  /** Its schema never changes. */
  readonly repairCatalog = NO_CATALOG.repairCatalog
  readonly tendIdentities = NO_CATALOG.tendIdentities
  readonly leftOut = NO_CATALOG.leftOut
  readonly forgetDdl = NO_CATALOG.forgetDdl

  close(): Promise<void> {
    return Promise.resolve()
  }

  #wake(): void {
    const waiting = this.#more
    this.#more = deferred()
    waiting.resolve()
  }

  #table(name: string) {
    const found = this.#tables.get(name)
    if (found === undefined) throw new TidemarkError('INTERNAL', 'no such table in memory')
    return found
  }

  #apply(change: MemoryChange, sink: ByteSink, position: Buffer, ordinal: number): void {
    const { table, encoder, rows } = this.#table(change.table)
    if (change.kind === 'truncate') {
      rows.clear()
      encoder.truncate(sink, position, ordinal)
      return
    }
    const old = rows.get(change.id)
    if ((change.kind === 'insert') === (old !== undefined))
      throw new TidemarkError('INTERNAL', 'a change that no database would make')
    const full = table.identity === 'full'
    const key = (): Field[] => [Buffer.from(String(change.id)), ...table.columns.map(() => 'absent' as const)]
    const before = (): Field[] => (full ? fields(change.id, old!) : key())
    if (change.kind === 'insert') {
      rows.set(change.id, change.values)
      encoder.encode(sink, 'insert', position, ordinal, undefined, fields(change.id, change.values))
    } else if (change.kind === 'delete') {
      rows.delete(change.id)
      encoder.encode(sink, 'delete', position, ordinal, before(), undefined)
    } else {
      if (change.to !== change.id && rows.has(change.to))
        throw new TidemarkError('INTERNAL', 'a key that is taken')
      rows.delete(change.id)
      const now = change.values.map((value, i) => (value === undefined ? old![i]! : value))
      rows.set(change.to, now)
      const said = full || change.to !== change.id ? before() : undefined
      // With the whole old row at hand nothing is left unchanged.
      encoder.encode(sink, 'update', position, ordinal, said, fields(change.to, full ? now : change.values))
    }
  }
}

/** Its own words for a position: what comes back with one has to be what was said with it. */
function wordsFor(position: Position): string {
  return `memory:${position}`
}

function fields(id: number, values: readonly (string | null | undefined)[]): Field[] {
  return [
    Buffer.from(String(id)),
    ...values.map(
      (value): Field => (value == null ? (value === null ? null : 'unchanged') : Buffer.from(value)),
    ),
  ]
}

/** Snapshot port: all tables of one view, whose place in the log its set of transactions tells. */
import { TidemarkError } from '../../../core/errors.ts'
import { ByteSink } from '../../../core/byte-sink.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { CopyResult, Snapshot, SnapshotTable, TablePartRange } from '../../../core/ports/source.ts'
import type { Position } from '../../../core/position.ts'
import { type Subjects, withSubjects } from '../../../core/relation.ts'
import type { SequenceReading, SequenceSample } from '../../../core/transaction.ts'
import { ChangeEncoder } from '../../../formats/change-encoder.ts'
import { listTables, readTables } from '../catalog/read-tables.ts'
import { readCounters } from '../catalog/read-schema.ts'
import { openSnapshot, type TablesSnapshot } from '../copy/snapshot.ts'
import { fieldsOf } from '../dialect/field.ts'
import { MysqlTable, tableId } from '../dialect/mysql-table.ts'
import type { ExecutedGtids } from '../events/gtid.ts'
import { viewOfNumber, numberOf } from '../events/numbering.ts'
import { connect } from '../session/connect.ts'

interface SnapshotRequest {
  readonly url: string
  readonly database: string
  readonly origin: ExecutedGtids
  readonly subjects: Subjects
  readonly largest: number
  readonly only: ReadonlySet<number> | undefined
}

const WHOLE: TablePartRange = { from: 0, to: undefined }

interface CopiedTable {
  readonly table: MysqlTable
  readonly encoder: ChangeEncoder
}

/** @throws TidemarkError SOURCE_UNREACHABLE, SOURCE_UNSUITABLE, SOURCE_DIVERGED */
export async function takeSnapshot(request: SnapshotRequest): Promise<MysqlSnapshot> {
  const { url, database, origin, subjects, largest, only } = request
  const session = await connect(url)
  const { connection } = session
  let view: TablesSnapshot | undefined
  try {
    const names = (await listTables(connection, database)).filter(
      (name) => only?.has(tableId({ schema: database, name })) !== false,
    )
    view = await openSnapshot(
      url,
      names.map((name) => ({ schema: database, name })),
      largest,
    )
    // Behind the view: what is altered between the two is told by the server when it is read.
    const { tables, sizes } = await readTables(connection, database, new Set(names))
    const copied = new Map<number, CopiedTable>()
    const told: SnapshotTable[] = []
    for (const table of tables) {
      const encoder = new ChangeEncoder(withSubjects(table.relation, subjects), 'utf8')
      copied.set(table.version.oid, { table, encoder })
      told.push({
        version: table.version,
        facts: JSON.stringify(table.facts),
        shape: encoder.shape,
        ...(sizes.get(table.version.name) ?? { rows: 0, bytes: 0 }),
        parts: [WHOLE],
      })
    }
    const position = viewOfNumber(numberOf(view.executed, origin))
    return new MysqlSnapshot(position, told, samplesOf(await readCounters(session, database)), view, copied)
  } catch (error) {
    await view?.close()
    throw error
  } finally {
    await connection.end().catch(() => undefined)
  }
}

function samplesOf(readings: readonly SequenceReading[]): SequenceSample[] {
  return readings.map(({ schema, name, oid, lastValue, isCalled }) => ({
    schema,
    name,
    ...(oid === undefined ? {} : { oid }),
    lastValue,
    isCalled,
  }))
}

export class MysqlSnapshot implements Snapshot {
  readonly consistentPoint: Position
  readonly tables: readonly SnapshotTable[]
  readonly sequences: readonly SequenceSample[]
  readonly #view: TablesSnapshot
  readonly #copied: ReadonlyMap<number, CopiedTable>
  /** One connection has the view: its tables come one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(
    consistentPoint: Position,
    tables: readonly SnapshotTable[],
    sequences: readonly SequenceSample[],
    view: TablesSnapshot,
    copied: ReadonlyMap<number, CopiedTable>,
  ) {
    this.consistentPoint = consistentPoint
    this.tables = tables
    this.sequences = sequences
    this.#view = view
    this.#copied = copied
  }

  async copy(
    { version }: SnapshotTable,
    _part: TablePartRange,
    onBlock: (bytes: Buffer, rows: number) => Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<CopyResult> {
    const mine = this.#turn.then(() => this.#copy(version.oid, onBlock, signal))
    this.#turn = mine.catch(() => undefined)
    return await mine
  }

  async #copy(
    oid: number,
    onBlock: (bytes: Buffer, rows: number) => Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<CopyResult> {
    signal.throwIfAborted()
    const { table, encoder } = this.#copied.get(oid)!
    const { facts } = table
    const selected = this.#view.columns(facts)
    const isSame =
      selected.length === facts.columns.length &&
      facts.columns.every(({ name, type }, i) => selected[i]!.name === name && selected[i]!.type === type)
    if (!isSame) return { kind: 'moved' }
    const stored = facts.columns.flatMap((column, i) =>
      column.isStored ? [{ i, field: fieldsOf(column) }] : [],
    )
    const sink = new ByteSink(LIMITS.blockBytes)
    let rows = 0
    let block = 0
    const flush = async (): Promise<void> => {
      if (block > 0) await onBlock(sink.take(), block)
      block = 0
    }
    const stop = (): void => void this.#view.close()
    signal.addEventListener('abort', stop, { once: true })
    try {
      for await (const row of this.#view.rows(facts)) {
        const fields = stored.map(({ i, field }) => {
          const value = row[i]!
          return value === null ? null : field(value)
        })
        encoder.encodeRow(sink, fields)
        rows++
        block++
        if (sink.at >= LIMITS.blockBytes) await flush()
      }
      await flush()
      return { kind: 'copied', rows }
    } catch (error) {
      signal.throwIfAborted()
      return movedBy(error)
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async close(): Promise<void> {
    await this.#view.close()
  }
}

/** Altered since the view began, or gone. @throws what it was else */
function movedBy(error: unknown): CopyResult {
  const number = error instanceof TidemarkError ? /\((\d+)\)/.exec(error.message)?.[1] : undefined
  // ER_TABLE_DEF_CHANGED, ER_BAD_FIELD_ERROR
  if (number === '1412' || number === '1054') return { kind: 'moved' }
  if (number === '1146') return { kind: 'vanished' }
  throw error
}

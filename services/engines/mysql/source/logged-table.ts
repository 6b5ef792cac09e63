/** A table as the log lays out its rows, and its rows as changes. The layout is the log's own and never today's schema (hazard 59). */
import type { ByteSink } from '../../../core/byte-sink.ts'
import type { RelationColumn, RelationVersion, Subjects } from '../../../core/relation.ts'
import { withSubjects } from '../../../core/relation.ts'
import { ChangeEncoder, type Field } from '../../../formats/change-encoder.ts'
import { NULL_VALUE, readImage, type RowsEvent } from '../binlog/rows.ts'
import { binlogType } from '../dialect/column-type.ts'
import { fieldsOf } from '../dialect/field.ts'
import { tableId } from '../dialect/mysql-table.ts'
import type { BinlogColumn, TableMap } from '../events/table-map.ts'
import { readValue } from '../values/value.ts'

/** Columns that servers add for themselves: nobody else can read them. */
const HIDDEN = /^(!hidden!|DB_ROW_HASH_\d+$)/

interface LoggedColumn {
  /** Its place in the log's rows. */
  readonly place: number
  readonly column: BinlogColumn
  readonly relation: RelationColumn
  readonly field: (value: Buffer) => Buffer
}

export class LoggedTable {
  readonly encoder: ChangeEncoder
  readonly relation: RelationVersion
  readonly #map: TableMap
  readonly #columns: readonly LoggedColumn[]
  readonly #offsets: Int32Array

  private constructor(map: TableMap, relation: RelationVersion, columns: readonly LoggedColumn[]) {
    this.#map = map
    this.relation = relation
    this.#columns = columns
    this.encoder = new ChangeEncoder(relation, 'utf8')
    this.#offsets = new Int32Array(2 * map.columns.length)
  }

  /** @returns why its rows cannot be read, for people */
  static of(map: TableMap, charsets: ReadonlyMap<number, string>, subjects: Subjects): LoggedTable | string {
    const keys = new Set(map.primaryKey ?? [])
    const columns: LoggedColumn[] = []
    for (const [place, column] of map.columns.entries()) {
      const { name } = column
      if (name === undefined) return 'the log does not name its columns: binlog_row_metadata was not FULL'
      if (HIDDEN.test(name)) continue
      const type = binlogType(column, charsets)
      if (type === undefined) return `the log has a column of type ${column.type}, which is not known here`
      const relation = { name, ...type, key: keys.size === 0 || keys.has(place) }
      columns.push({ place, column, relation, field: fieldsOf(type) })
    }
    const relation = withSubjects(
      {
        oid: tableId({ schema: map.schema, name: map.table }),
        schema: map.schema,
        name: map.table,
        identity: keys.size === 0 ? 'full' : 'default',
        columns: columns.map((column) => column.relation),
      },
      subjects,
    )
    return new LoggedTable(map, relation, columns)
  }

  /** Whether these rows are laid out as the table's are. */
  fits(map: TableMap): boolean {
    return map === this.#map || layoutOf(map) === layoutOf(this.#map)
  }

  /**
   * Appends the next row of the event.
   *
   * @param moved told where the key of a row changed
   */
  next(event: RowsEvent, sink: ByteSink, position: Buffer, ordinal: number): void {
    const before = event.before === undefined ? undefined : this.#fields(event, event.before)
    const after = event.after === undefined ? undefined : this.#fields(event, event.after)
    if (before === undefined) this.encoder.encode(sink, 'insert', position, ordinal, undefined, after)
    else if (after === undefined)
      this.encoder.encode(sink, 'delete', position, ordinal, this.#identity(before), undefined)
    else this.encoder.encode(sink, 'update', position, ordinal, this.#changedIdentity(before, after), after)
  }

  /** The next row of the event, for its values alone. */
  images(event: RowsEvent): {
    readonly before: readonly Field[] | undefined
    readonly after: readonly Field[] | undefined
  } {
    const before = event.before === undefined ? undefined : this.#fields(event, event.before)
    const after = event.after === undefined ? undefined : this.#fields(event, event.after)
    return { before, after }
  }

  #fields(event: RowsEvent, present: Uint8Array): Field[] {
    const { bytes, offsets } = readImage(event.rows, this.#map, present, this.#offsets)
    return this.#columns.map(({ place, column, field }) => {
      const at = offsets[2 * place]!
      if (at === NULL_VALUE) return null
      const value = readValue(column, bytes, at, offsets[2 * place + 1]!)
      return field(typeof value === 'string' ? Buffer.from(value, 'utf8') : value)
    })
  }

  #identity(row: readonly Field[]): readonly Field[] {
    return this.relation.identity === 'full'
      ? row
      : row.map((field, i) => (this.#columns[i]!.relation.key ? field : 'absent'))
  }

  #changedIdentity(before: readonly Field[], after: readonly Field[]): readonly Field[] | undefined {
    if (this.relation.identity === 'full') return before
    const isSame = this.#columns.every(({ relation }, i) => !relation.key || sameField(before[i]!, after[i]!))
    return isSame ? undefined : this.#identity(before)
  }
}

export function sameField(a: Field, b: Field): boolean {
  return Buffer.isBuffer(a) && Buffer.isBuffer(b) ? a.equals(b) : a === b
}

const layouts = new WeakMap<TableMap, string>()

function layoutOf(map: TableMap): string {
  const known = layouts.get(map)
  if (known !== undefined) return known
  const { schema, table, columns, primaryKey } = map
  const text = JSON.stringify([
    schema,
    table,
    primaryKey,
    columns.map(({ type, meta, scale, unsigned, name, collation, labels }) => [
      type,
      meta,
      scale,
      unsigned,
      name,
      collation,
      labels?.map((label) => label.toString('latin1')),
    ]),
  ])
  layouts.set(map, text)
  return text
}

/**
 * What a table's rows look like. A *relation version* is what the stream's Relation message says: enough to decode and
 * encode rows. A *table version* is what the catalog says (attribute numbers, missing values): needed to carry rows over
 * a change of schema.
 */

export type ReplicaIdentity = 'default' | 'index' | 'full' | 'nothing'

export interface RelationColumn {
  readonly name: string
  readonly typeOid: number
  /** The type modifier, -1 for none. */
  readonly typmod: number
  /** Part of the replica identity. With identity `full` every column is. */
  readonly key: boolean
  /** Personal data, and of whom: the column of the same table that tells. Declared by the operator. */
  readonly subject?: string
}

export interface RelationVersion {
  /** Unsigned 32 bits (hazard 31). */
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly identity: ReplicaIdentity
  readonly columns: readonly RelationColumn[]
}

/** Declared personal data: by `schema.table`, column to the column that tells whose it is. */
export type Subjects = ReadonlyMap<string, Readonly<Record<string, string>>>

export const NO_SUBJECTS: Subjects = new Map()

export function withSubjects(relation: RelationVersion, subjects: Subjects): RelationVersion {
  const declared = subjects.get(`${relation.schema}.${relation.name}`)
  if (declared === undefined) return relation
  return {
    ...relation,
    columns: relation.columns.map((column) =>
      Object.hasOwn(declared, column.name) ? { ...column, subject: declared[column.name]! } : column,
    ),
  }
}

/** One column as the catalog has it, from pg_attribute. */
export interface TableColumn {
  readonly attnum: number
  readonly name: string
  readonly typeOid: number
  readonly typmod: number
  /** format_type(): for people and for DDL. */
  readonly type: string
  readonly notNull: boolean
  /** '' | 'a' (always) | 'd' (by default) */
  readonly identity: string
  /** '' | 's' (stored) | 'v' (virtual) */
  readonly generated: string
  /** False where the column has no default: rows written before it existed then have null. */
  readonly hasDefault?: boolean
  /** What rows written before the column existed have: server text, null, or undefined where there is none stored. */
  readonly missing?: string | null
}

export interface TableVersion {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** relkind: r table, p partitioned */
  readonly kind: string
  /** relpersistence: p permanent, u unlogged, t temporary */
  readonly persistence: string
  readonly identity: ReplicaIdentity
  readonly columns: readonly TableColumn[]
  /** The key columns' names under the replica identity; empty for full and nothing. */
  readonly keyColumns: readonly string[]
}

/** Quoted for SQL; always quoted, so that no name can be taken for a keyword or end early (hazard 118). */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`
}

/** A literal under standard_conforming_strings = on. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

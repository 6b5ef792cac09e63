/**
 * What a table's rows look like. A *relation version* is what the stream says of them: enough to decode and encode rows. A
 * *table version* is what the catalog says (which column is which, missing values): needed to carry rows over a change of
 * schema.
 */

/** How values are stored; formats/value-kind.ts has the branches of each. */
export type ValueKind =
  | 'bool'
  | 'int'
  | 'long'
  | 'float'
  | 'double'
  | 'bytes'
  | 'date'
  | 'timestamp'
  | 'timestamptz'
  | 'uuid'
  | 'text'

/** Decided once, where a column is read from its source, and never worked out again from what is native. */
export interface ColumnType {
  readonly kind: ValueKind
  /** The type as its engine names it: the same text, the same type. Nobody above the engine takes it apart. */
  readonly native: string
  /** What the engine has beside its type (a length, a character set); empty for nothing. */
  readonly modifier: string
}

export type ReplicaIdentity = 'default' | 'index' | 'full' | 'nothing'

export interface RelationColumn extends ColumnType {
  readonly name: string
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

/** One column as the catalog has it. */
export interface TableColumn {
  /** Never stands for two columns of a table; columns come in the order of their ids. */
  readonly id: number
  readonly name: string
  /** As a relation's column has it. */
  readonly native: string
  /** The type as its engine prints it: for people, and for a target to be asked for. */
  readonly type: string
  /** Whether rows are stored with a value of it. */
  readonly isStored: boolean
  /** What rows written before the column existed have: server text, null, or undefined where there is none stored. */
  readonly missing?: string | null
}

export interface TableVersion {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly identity: ReplicaIdentity
  readonly columns: readonly TableColumn[]
  /** The key columns' names under the replica identity; empty for full and nothing. */
  readonly keyColumns: readonly string[]
}

/** For people; a name with a dot in it may stand for two. */
export function tableText(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}.${table.name}`
}

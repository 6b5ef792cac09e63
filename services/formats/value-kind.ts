/**
 * How a column's values are stored, by the OID of its type. Only types that PostgreSQL itself defines for ever have a
 * kind of their own; every other type, domains included, keeps the server's text.
 */
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

const KIND_BY_OID: ReadonlyMap<number, ValueKind> = new Map([
  [16, 'bool'],
  [17, 'bytes'],
  [20, 'long'],
  [21, 'int'],
  [23, 'int'],
  [700, 'float'],
  [701, 'double'],
  [1082, 'date'],
  [1114, 'timestamp'],
  [1184, 'timestamptz'],
  [2950, 'uuid'],
])

export function kindOf(typeOid: number): ValueKind {
  return KIND_BY_OID.get(typeOid) ?? 'text'
}

/** Kinds whose Avro type cannot hold every value: they have a text branch beside it. */
export function hasTextBranch(kind: ValueKind): boolean {
  return kind === 'date' || kind === 'timestamp' || kind === 'timestamptz' || kind === 'float'
}

/**
 * The branches of a column's union, in order: null, the value, (text,) state. The state is an enum of `unchanged`
 * (a TOASTed value that the change did not touch) and `absent` (not published): two of the four value states.
 */
export const BRANCH_NULL = 0
export const BRANCH_VALUE = 1
export const BRANCH_TEXT = 2

export function stateBranch(kind: ValueKind): number {
  return hasTextBranch(kind) ? 3 : 2
}

export const STATE_UNCHANGED = 0
export const STATE_ABSENT = 1

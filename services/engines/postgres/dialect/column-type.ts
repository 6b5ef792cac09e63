/** PostgreSQL's types as everybody above it has them: how their values are stored, by OID. */
import type { ColumnType, ValueKind } from '../../../core/relation.ts'

/** Types that PostgreSQL itself defines for ever; every other one, domains included, keeps the server's text. */
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

/** @param typmod the type modifier, -1 for none */
export function columnType(typeOid: number, typmod: number): ColumnType {
  return {
    kind: KIND_BY_OID.get(typeOid) ?? 'text',
    native: String(typeOid),
    modifier: typmod === -1 ? '' : String(typmod),
  }
}

export function typeOidOf(column: Pick<ColumnType, 'native'>): number {
  return Number(column.native)
}

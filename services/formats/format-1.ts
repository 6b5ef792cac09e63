/**
 * What backups of format 1 say in another form. Read for ever and written no more; nothing here changes.
 *
 * Format 1 knew one engine. A column had its type as `pgType` and `pgTypmod`, the OID and the modifier of PostgreSQL, and how
 * its values are stored followed from the OID.
 */
import { createHash } from 'node:crypto'
import type { ColumnType, RelationVersion, ValueKind } from '../core/relation.ts'

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

export interface Format1Column {
  readonly pgType?: number
  readonly pgTypmod?: number
}

export function typeOfFormat1({ pgType = 0, pgTypmod = -1 }: Format1Column): ColumnType {
  return {
    kind: KIND_BY_OID.get(pgType) ?? 'text',
    native: String(pgType),
    modifier: pgTypmod === -1 ? '' : String(pgTypmod),
  }
}

/** What records in a change log name the shape by that they were written in. @param text how the database's text is stored */
export function shapeIdOfFormat1(
  { oid, schema, name, identity, columns }: RelationVersion,
  text: string,
): string {
  const facts = [
    oid,
    schema,
    name,
    identity,
    text,
    columns.map((column) => [
      column.name,
      Number(column.native),
      column.modifier === '' ? -1 : Number(column.modifier),
      column.key,
      ...(column.subject === undefined ? [] : [column.subject]),
    ]),
  ]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
}

/**
 * A ledger entry's body as format 2 has it; whatever is no body of format 1 is given back as it is. Format 1 had in a generation
 * what names PostgreSQL's stream, side by side with what every engine has.
 */
export function inFormat2(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || !('kind' in body)) return body
  if (body.kind !== 'generation' || 'engine' in body) return body
  const { systemId, databaseOid, slot, publication, nextXid, ...rest } = body as Record<string, unknown>
  return {
    ...rest,
    engine: 'postgres',
    origin: { systemId, databaseOid, slot, publication },
    firstTransaction: nextXid,
  }
}

/**
 * pgoutput messages, protocol version 1 (PostgreSQL manual, "Logical Replication Message Formats"). Only what is not a
 * row is made into objects here; rows go from these bytes to Avro in formats/row-encoder.ts.
 */
import { textOfBytes } from '../../../core/escaped-bytes.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { type Position, positionOf } from '../../../core/position.ts'
import { columnType } from '../dialect/column-type.ts'
import type { RelationColumn, RelationVersion, ReplicaIdentity } from '../../../core/relation.ts'

export const TAG = {
  begin: 0x42, // B
  commit: 0x43, // C
  origin: 0x4f, // O
  relation: 0x52, // R
  type: 0x59, // Y
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  message: 0x4d, // M
} as const

/** Microseconds between 1970-01-01 and PostgreSQL's 2000-01-01. */
export const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n

export interface Begin {
  readonly commitLsn: Position
  readonly committedAt: bigint
  readonly xid: number
}

export function readBegin(buffer: Buffer, at: number): Begin {
  return {
    commitLsn: positionOf(buffer.readBigUInt64BE(at)),
    committedAt: buffer.readBigInt64BE(at + 8) + POSTGRES_EPOCH_MICROS,
    xid: buffer.readUInt32BE(at + 16),
  }
}

export interface Commit {
  readonly commitLsn: Position
  readonly endLsn: Position
}

export function readCommit(buffer: Buffer, at: number): Commit {
  return {
    commitLsn: positionOf(buffer.readBigUInt64BE(at + 1)),
    endLsn: positionOf(buffer.readBigUInt64BE(at + 9)),
  }
}

const IDENTITY: Readonly<Record<string, ReplicaIdentity>> = {
  d: 'default',
  n: 'nothing',
  f: 'full',
  i: 'index',
}

export function readRelation(buffer: Buffer, start: number, end: number): RelationVersion {
  let at = start + 4
  const text = (): string => {
    const stop = buffer.indexOf(0, at)
    if (stop < 0 || stop >= end)
      throw new TidemarkError('PROTOCOL', 'a Relation message that ends inside a name')
    const value = textOfBytes(buffer, at, stop)
    at = stop + 1
    return value
  }
  const oid = buffer.readUInt32BE(start)
  const schema = text()
  const name = text()
  const identity = IDENTITY[String.fromCharCode(buffer[at]!)]
  if (identity === undefined)
    throw new TidemarkError('PROTOCOL', 'a Relation message with an unknown replica identity')
  const count = buffer.readUInt16BE(at + 1)
  at += 3
  const columns: RelationColumn[] = []
  for (let i = 0; i < count; i++) {
    const key = (buffer[at++]! & 1) === 1
    const column = text()
    columns.push({ name: column, ...columnType(buffer.readUInt32BE(at), buffer.readInt32BE(at + 4)), key })
    at += 8
  }
  // An empty schema stands for pg_catalog.
  return { oid, schema: schema === '' ? 'pg_catalog' : schema, name, identity, columns }
}

export function readTruncated(buffer: Buffer, start: number): readonly number[] {
  const count = buffer.readUInt32BE(start)
  return Array.from({ length: count }, (_, i) => buffer.readUInt32BE(start + 5 + i * 4))
}

/** The text of the n-th column of the new tuple of an Insert message; undefined for null. For our own tables alone. */
export function insertedText(buffer: Buffer, at: number, column: number): string | undefined {
  let cursor = at + 3
  for (let i = 0; ; i++) {
    const kind = buffer[cursor++]
    if (kind !== 0x74) {
      if (i === column) return undefined
      continue
    }
    const length = buffer.readInt32BE(cursor)
    cursor += 4
    if (i === column) return textOfBytes(buffer, cursor, cursor + length)
    cursor += length
  }
}

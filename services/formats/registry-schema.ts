/**
 * A table's change as a schema registry sees it: names that stay the same over the versions of a table, so that versions
 * can be compared, and null as every column's default. The encoded bytes are those of the segment's record.
 */
import type { ChangeShape } from '../core/transaction.ts'
import { type AvroSchema, withSharedEnums } from './change-schema.ts'

interface RecordSchema {
  readonly relation: AvroSchema
  readonly fields: readonly { readonly name: string; readonly type: AvroSchema }[]
}

const NAMESPACE = 'tidemark.table'

/** @param keys indexes of the identity's columns; empty where the key is the SHA-256 of the whole row */
export function registrySchemas(
  shape: ChangeShape,
  keys: readonly number[],
): { readonly value: string; readonly key: string } {
  const change = JSON.parse(shape.avro) as RecordSchema
  const old = change.fields.find((field) => field.name === 'old')?.type as readonly [string, RecordSchema]
  const columns = old[1].fields
  const row: AvroSchema = {
    type: 'record',
    name: `${NAMESPACE}.Row`,
    fields: columns.map((field) => ({ ...field, default: null }) as unknown as AvroSchema),
  }
  const value: AvroSchema = {
    type: 'record',
    name: `${NAMESPACE}.Change`,
    relation: change.relation,
    fields: change.fields.map(
      (field): AvroSchema =>
        field.name === 'old'
          ? { ...field, type: ['null', row] }
          : field.name === 'new'
            ? { ...field, type: ['null', `${NAMESPACE}.Row`] }
            : field,
    ),
  }
  const key: AvroSchema =
    keys.length === 0
      ? 'bytes'
      : {
          type: 'record',
          name: `${NAMESPACE}.Key`,
          fields: keys.map((index) => columns[index]! as unknown as AvroSchema),
        }
  return { value: JSON.stringify(withSharedEnums(value)), key: JSON.stringify(withSharedEnums(key)) }
}

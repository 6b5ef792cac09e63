/**
 * The Avro schema of a table's rows and changes, made from a relation version. schemas/segment-format.md is its contract.
 */
import { createHash } from 'node:crypto'
import type { ColumnType, RelationColumn, RelationVersion, ValueKind } from '../core/relation.ts'
import type { ChangeShape } from '../core/transaction.ts'
import { type Format1Column, shapeIdOfFormat1, typeOfFormat1 } from './format-1.ts'
import { hasTextBranch } from './value-kind.ts'

/** Whether a database's text is UTF-8 (Avro strings) or of no known encoding (bytes: SQL_ASCII, hazard 44). */
export type TextEncoding = 'utf8' | 'bytes'

export type AvroSchema = string | { readonly [key: string]: unknown } | readonly AvroSchema[]

const AVRO_NAME = /^[A-Za-z][A-Za-z0-9_]*$/

/**
 * An Avro name for any name, injectively: legal names without a double underscore stay; elsewhere every other character
 * becomes `_x<hex>_`. The position in front of an escaped name keeps two columns apart whatever their names are.
 */
export function avroName(name: string, index: number): string {
  if (AVRO_NAME.test(name) && !name.includes('__')) return name
  const escaped = [...name]
    .map((c) => (/[A-Za-z0-9]/.test(c) ? c : `_x${c.codePointAt(0)?.toString(16)}_`))
    .join('')
  return `__${index}_${escaped}`
}

function valueSchema(kind: ValueKind, text: TextEncoding): AvroSchema {
  switch (kind) {
    case 'bool':
      return 'boolean'
    case 'int':
    case 'long':
    case 'float':
    case 'double':
    case 'bytes':
      return kind
    case 'date':
      return { type: 'int', logicalType: 'date' }
    case 'timestamp':
      return { type: 'long', logicalType: 'local-timestamp-micros' }
    case 'timestamptz':
      return { type: 'long', logicalType: 'timestamp-micros' }
    case 'uuid':
      return { type: 'string', logicalType: 'uuid' }
    case 'text':
      return text === 'utf8' ? 'string' : 'bytes'
  }
}

/** The fields are the same in every file, so a stock reader sees one State per file: defined once, then named. */
const STATE = { type: 'enum', name: 'tidemark.State', symbols: ['unchanged', 'absent'] }
const OPERATION = {
  type: 'enum',
  name: 'tidemark.Operation',
  symbols: ['insert', 'update', 'delete', 'truncate'],
}

function field(column: RelationColumn, index: number, text: TextEncoding): AvroSchema {
  const { kind, native, modifier } = column
  const name = avroName(column.name, index)
  const branches: AvroSchema[] = ['null', valueSchema(kind, text)]
  if (hasTextBranch(kind)) branches.push('string')
  branches.push('tidemark.State')
  return {
    name,
    type: branches,
    column: column.name,
    kind,
    native,
    ...(modifier === '' ? {} : { modifier }),
    key: column.key,
    ...(column.subject === undefined ? {} : { subject: column.subject }),
  }
}

/** A stable id of everything that decides how rows are encoded. */
function shapeId(relation: RelationVersion, text: TextEncoding): string {
  const facts = [
    relation.oid,
    relation.schema,
    relation.name,
    relation.identity,
    text,
    relation.columns.map((c) => [
      c.name,
      c.kind,
      c.native,
      c.modifier,
      c.key,
      ...(c.subject === undefined ? [] : [c.subject]),
    ]),
  ]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
}

export function changeShape(relation: RelationVersion, text: TextEncoding): ChangeShape {
  return shapeNamed(shapeId(relation, text), relation, text)
}

/**
 * The shape that a record's schema was made of, under the id that it was written with.
 *
 * @param schema of a change, of whatever format
 */
export function shapeWrittenAs(schema: unknown): ChangeShape {
  const { relation, text, isOfFormat1 } = shapeOfSchema(schema)
  return shapeNamed((isOfFormat1 ? shapeIdOfFormat1 : shapeId)(relation, text), relation, text)
}

function shapeNamed(id: string, relation: RelationVersion, text: TextEncoding): ChangeShape {
  const namespace = `tidemark.t${relation.oid}_${id}`
  const row = {
    type: 'record',
    name: `${namespace}.Row`,
    fields: relation.columns.map((c, i) => field(c, i, text)),
  }
  const change = {
    type: 'record',
    name: `${namespace}.Change`,
    relation: {
      oid: relation.oid,
      schema: relation.schema,
      name: relation.name,
      identity: relation.identity,
    },
    fields: [
      { name: 'position', aliases: ['lsn'], type: 'long' },
      { name: 'ordinal', type: 'long' },
      { name: 'operation', type: 'tidemark.Operation' },
      { name: 'old', type: ['null', row] },
      { name: 'new', type: ['null', `${namespace}.Row`] },
    ],
  }
  return { id, relation, avro: JSON.stringify(change) }
}

/** The schema of a segment: a union of its tables' changes. The shared enums are defined inside its first record. */
export function segmentSchema(shapes: readonly ChangeShape[]): string {
  return JSON.stringify(withSharedEnums(shapes.map((shape) => JSON.parse(shape.avro) as AvroSchema)))
}

/** The schema of a base part: the Row record of one table. */
export function baseSchema(shape: ChangeShape): string {
  const change = JSON.parse(shape.avro) as { relation: unknown; fields: { name: string; type: unknown[] }[] }
  const row = change.fields.find((f) => f.name === 'old')?.type[1] as { [key: string]: AvroSchema }
  return JSON.stringify(withSharedEnums({ ...row, relation: change.relation as AvroSchema }))
}

/** Replaces the first mention of each shared enum by its definition, as Avro demands. */
export function withSharedEnums(schema: AvroSchema): AvroSchema {
  const open = new Map<string, AvroSchema>([
    ['tidemark.State', STATE],
    ['tidemark.Operation', OPERATION],
  ])
  const visit = (node: AvroSchema): AvroSchema => {
    if (typeof node === 'string') {
      const definition = open.get(node)
      if (definition === undefined) return node
      open.delete(node)
      return definition
    }
    if (Array.isArray(node)) return node.map(visit)
    const record = node as { readonly [key: string]: AvroSchema }
    if (record['fields'] !== undefined) {
      const fields = record['fields'] as readonly { readonly [key: string]: AvroSchema }[]
      return { ...record, fields: fields.map((f) => ({ ...f, type: visit(f['type'] as AvroSchema) })) }
    }
    return node
  }
  return visit(schema)
}

/** The relation version and text encoding back from a Change record's or a base part's schema. */
export function shapeOfSchema(record: unknown): {
  readonly relation: RelationVersion
  readonly text: TextEncoding
  readonly isOfFormat1: boolean
} {
  const schema = record as {
    relation: { oid: number; schema: string; name: string; identity: RelationVersion['identity'] }
    fields: (Partial<ColumnType> &
      Format1Column & {
        name: string
        type: unknown
        column?: string
        key?: boolean
        subject?: string
      })[]
  }
  const old = schema.fields.find((f) => f.name === 'old' && f.column === undefined)
  const row = old === undefined ? schema : ((old.type as unknown[])[1] as typeof schema)
  let text: TextEncoding = 'utf8'
  let isOfFormat1 = false
  const columns = row.fields.map((f): RelationColumn => {
    const branches = f.type as unknown[]
    const { kind, native, modifier = '' } = f
    if (f.pgType !== undefined) isOfFormat1 = true
    const type = kind === undefined || native === undefined ? typeOfFormat1(f) : { kind, native, modifier }
    if (type.kind === 'text' && branches[1] === 'bytes') text = 'bytes'
    return {
      name: f.column ?? '',
      ...type,
      key: f.key === true,
      ...(f.subject === undefined ? {} : { subject: f.subject }),
    }
  })
  return { relation: { ...schema.relation, columns }, text, isOfFormat1 }
}

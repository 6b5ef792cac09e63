/** Statements of the log that change the schema, as rows of a relation that only the stream has. */
import { z } from 'zod'
import { corrupt } from '../../../core/byte-source.ts'
import type { TableLoss } from '../../../core/ports/dialect.ts'
import { type ChangePlace, parsePosition, positionText } from '../../../core/position.ts'
import type { RelationVersion } from '../../../core/relation.ts'
import type { RecordRow } from '../../../core/transaction.ts'
import { tableId } from './mysql-table.ts'

/** What the session had set when the statement ran, as far as the log says it. */
const session = z.object({
  /** The number that the server has for it. */
  sqlMode: z.string().optional(),
  charset: z.string().optional(),
  collation: z.string().optional(),
  timeZone: z.string().optional(),
})

const facts = z.object({
  effect: z.enum(['created', 'dropped', 'changed', 'indexed', 'object']),
  /** Of a table, or of what else it is about. */
  schema: z.string(),
  name: z.string(),
  /** Of an object: view, trigger, … */
  what: z.string().optional(),
  isGone: z.boolean().optional(),
  /** Empty where no statement is known. */
  sql: z.string(),
  /** Why the table's rows are not known, where it is more than that a statement changed it. */
  why: z.string().optional(),
  /** A position: they are not known from there on already. */
  since: z.string().optional(),
  session,
})
export type DdlFacts = z.infer<typeof facts>
export type DdlSession = z.infer<typeof session>

export interface DdlRecord {
  readonly oid: number
  /** The transaction's number, text. */
  readonly xid: string
  readonly facts: DdlFacts
}

const TEXT = { kind: 'text', native: 'text', modifier: 'utf8mb4', key: true } as const

/** Not a table of the source. */
export const RECORDS: RelationVersion = {
  oid: 1,
  schema: 'tidemark',
  name: 'ddl',
  identity: 'full',
  columns: ['id', 'xid', 'command', 'kind', 'oid', 'facts'].map((name) => ({ name, ...TEXT })),
}

/** @param id of the record, unlike all others */
export function rawRecord(id: string, xid: string, told: DdlFacts): RecordRow {
  return new Map([
    ['id', id],
    ['xid', xid],
    ['command', /^\s*\w+/.exec(told.sql)?.[0].trim().toUpperCase() ?? 'UNTOLD'],
    ['kind', told.effect],
    ['oid', String(tableId(told))],
    ['facts', JSON.stringify(told)],
  ])
}

/** In the order of the relation's columns. */
export function recordFields(record: RecordRow): readonly (string | null)[] {
  return RECORDS.columns.map(({ name }) => record.get(name) ?? null)
}

/** @throws TidemarkError OBJECT_CORRUPT */
export function parseRecord(row: {
  readonly xid: string | null | undefined
  readonly facts: string | null | undefined
}): DdlRecord {
  const parsed = facts.safeParse(JSON.parse(row.facts ?? 'null'))
  if (!parsed.success || row.xid == null) throw corrupt('a record of a schema change has no known form')
  return { oid: tableId(parsed.data), xid: row.xid, facts: parsed.data }
}

export interface PlacedDdl extends ChangePlace {
  readonly record: DdlRecord
}

export function printRecords(records: readonly PlacedDdl[]): Buffer {
  const rows = records.map(({ position, ordinal, record }) => ({
    position: positionText(position),
    ordinal,
    xid: record.xid,
    facts: record.facts,
  }))
  return Buffer.from(JSON.stringify(rows), 'utf8')
}

export function readRecords(bytes: Buffer): PlacedDdl[] {
  const rows = JSON.parse(bytes.toString('utf8')) as {
    readonly position: string
    readonly ordinal: number
    readonly xid: string
    readonly facts: unknown
  }[]
  return rows.map(({ position, ordinal, xid, facts: told }) => ({
    position: parsePosition(position),
    ordinal,
    record: parseRecord({ xid, facts: JSON.stringify(told) }),
  }))
}

/** Why the rows of a table are not known from here on, until it is read again. */
export function lossOf({ oid, facts: told }: DdlRecord): TableLoss | undefined {
  const { schema, name, effect, why } = told
  const since = told.since === undefined ? 'here' : parsePosition(told.since)
  if (effect === 'created') return { oid, schema, name, reason: MADE, since: 'here' }
  return effect === 'changed' ? { oid, schema, name, reason: why ?? CHANGED, since } : undefined
}

export const MADE = 'it was made here, or took its name here, and is read once'
export const CHANGED = 'a statement changed it as a whole, and it is read again'

/** A table of the source in memory, as the stream, a snapshot and the schema tell of one. */
import type { RelationVersion, TableVersion } from '../../core/relation.ts'
import type { SchemaStatement } from '../../core/transaction.ts'

/** Numbers as native types: format 1 can say no others. */
const LONG = { kind: 'long', native: '20', modifier: '' } as const
const WORDS = { kind: 'text', native: '25', modifier: '' } as const

export interface MemoryTable {
  readonly oid: number
  readonly name: string
  /** Text columns beside `id`. */
  readonly columns: readonly string[]
  readonly identity: 'default' | 'full'
}

export function relationOf(table: MemoryTable): RelationVersion {
  const key = table.identity === 'full'
  return {
    oid: table.oid,
    schema: 'public',
    name: table.name,
    identity: table.identity,
    columns: [{ name: 'id', ...LONG, key: true }, ...table.columns.map((name) => ({ name, ...WORDS, key }))],
  }
}

export function versionOf(table: MemoryTable): TableVersion {
  const column = (name: string, index: number): TableVersion['columns'][number] => ({
    id: index + 1,
    name,
    native: (index === 0 ? LONG : WORDS).native,
    type: (index === 0 ? LONG : WORDS).native,
    isStored: true,
  })
  return {
    oid: table.oid,
    schema: 'public',
    name: table.name,
    identity: table.identity,
    keyColumns: table.identity === 'full' ? [] : ['id'],
    columns: ['id', ...table.columns].map(column),
  }
}

export function tableStatement(table: MemoryTable): SchemaStatement {
  return {
    sql: `table ${table.name} (id, ${table.columns.join(', ')})`,
    phase: 'before',
    rank: 0,
    objects: [{ kind: 'table', schema: 'public', name: table.name }],
    of: `table:${table.oid}`,
  }
}

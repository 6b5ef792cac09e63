/** A table of the source in memory, as the stream, a snapshot and the schema tell of one. */
import type { RelationVersion, TableVersion } from '../../core/relation.ts'

const INT8 = 20
const TEXT = 25
const LONG = { kind: 'long', native: String(INT8), modifier: '' } as const
const WORDS = { kind: 'text', native: String(TEXT), modifier: '' } as const

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
    type: index === 0 ? 'bigint' : 'text',
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

/** As PostgreSQL's dialect reads them: this source has none of its own. */
export function factsOf(table: MemoryTable): object {
  const columns = versionOf(table).columns.map((c) => ({
    attnum: c.id,
    name: c.name,
    typeOid: Number(c.native),
    typmod: -1,
    type: c.type,
    notNull: c.name === 'id',
    identity: '',
    generated: '',
    default: null,
    hasMissing: false,
    missing: null,
    collation: null,
    storage: null,
    compression: null,
    statistics: null,
    local: true,
    sequence: null,
  }))
  return {
    oid: table.oid,
    schema: 'public',
    name: table.name,
    kind: 'r',
    persistence: 'p',
    owner: 'memory',
    replicaIdentity: table.identity === 'full' ? 'f' : 'd',
    options: null,
    rowSecurity: false,
    forceRowSecurity: false,
    accessMethod: null,
    ofType: null,
    partitionKey: null,
    partitionBound: null,
    parents: null,
    keyColumns: table.identity === 'full' ? [] : ['id'],
    identityIndex: null,
    columns,
    constraints: [],
    indexes: [],
    triggers: [],
    rules: [],
    policies: [],
    comments: [],
    grants: [],
  }
}

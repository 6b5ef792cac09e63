/**
 * Facts about tables, types and sequences as a source's catalog has them, made by the SQL functions that `init` installs.
 * ddl-record.ts has the records that carry them through the stream.
 */
import { z } from 'zod'
import type { ReplicaIdentity } from '../../../core/relation.ts'
import type { CatalogColumn, CatalogTable } from './catalog-table.ts'

/** aclitem[] as text; facts written before rights were read as a whole have none. */
const rights = {
  acl: z.array(z.string()).nullable().optional(),
  aclDefault: z.array(z.string()).nullable().optional(),
}

const sequenceOptions = z.object({
  ...rights,
  /** Of an identity column's sequence in newer records alone. */
  oid: z.number().optional(),
  comment: z.string().nullable().optional(),
  persistence: z.string().optional(),
  schema: z.string(),
  name: z.string(),
  start: z.coerce.string(),
  increment: z.coerce.string(),
  min: z.coerce.string(),
  max: z.coerce.string(),
  cache: z.coerce.string(),
  cycle: z.boolean(),
})

export const tableFacts = z.object({
  oid: z.number(),
  schema: z.string(),
  name: z.string(),
  kind: z.string(),
  persistence: z.string(),
  owner: z.string(),
  replicaIdentity: z.string(),
  options: z.array(z.string()).nullable(),
  toastOptions: z.array(z.string()).nullable().optional(),
  ...rights,
  rowSecurity: z.boolean(),
  forceRowSecurity: z.boolean(),
  accessMethod: z.string().nullable(),
  ofType: z.string().nullable(),
  /** Which extension it belongs to, and is made by. Of newer sources alone. */
  extension: z.string().nullable().optional(),
  partitionKey: z.string().nullable(),
  partitionBound: z.string().nullable(),
  parents: z.array(z.object({ schema: z.string(), name: z.string() })).nullable(),
  /** null: has no parents that it inherits from */
  inheritsInOrder: z.boolean().nullable().optional(),
  /** Columns of its parents that are NOT NULL in it alone. Of servers before 18, and of newer Tidemarks. */
  notNullAlone: z.array(z.string()).nullable().optional(),
  keyColumns: z.array(z.string()),
  identityIndex: z.string().nullable(),
  /** What the application's table had where Tidemark gave the replica identity that it has: a letter of pg_class.relreplident. */
  identityBefore: z.object({ identity: z.string(), index: z.string().nullable() }).nullable().optional(),
  columns: z.array(
    z.object({
      attnum: z.number(),
      name: z.string(),
      typeOid: z.number(),
      typmod: z.number(),
      type: z.string(),
      notNull: z.boolean(),
      identity: z.string(),
      generated: z.string(),
      default: z.string().nullable(),
      hasMissing: z.boolean(),
      missing: z.string().nullable(),
      collation: z.string().nullable(),
      storage: z.string().nullable(),
      compression: z.string().nullable(),
      statistics: z.number().nullable(),
      options: z.array(z.string()).nullable().optional(),
      acl: z.array(z.string()).nullable().optional(),
      local: z.boolean(),
      sequence: sequenceOptions.nullable(),
    }),
  ),
  constraints: z.array(
    z.object({
      name: z.string(),
      type: z.string(),
      definition: z.string(),
      index: z.string().nullable(),
      inherited: z.boolean(),
      hasParent: z.boolean(),
      clustered: z.boolean().optional(),
      parentIndex: z.string().nullable(),
    }),
  ),
  notNulls: z
    .array(
      z.object({
        column: z.string(),
        name: z.string(),
        noInherit: z.boolean(),
        valid: z.boolean(),
        local: z.boolean(),
        /** The parent's is NOT VALID. */
        validBeforeParent: z.boolean(),
        /** One of its parents calls it otherwise. */
        namedApart: z.boolean().optional(),
      }),
    )
    .nullable()
    .optional(),
  indexes: z.array(
    z.object({
      schema: z.string(),
      name: z.string(),
      definition: z.string(),
      clustered: z.boolean(),
      identity: z.boolean(),
      statistics: z
        .array(z.object({ column: z.number(), target: z.number() }))
        .nullable()
        .optional(),
      parentIndex: z.string().nullable(),
    }),
  ),
  triggers: z.array(z.object({ name: z.string(), definition: z.string(), enabled: z.string() })),
  triggerStates: z
    .array(z.object({ name: z.string(), enabled: z.string() }))
    .nullable()
    .optional(),
  rules: z.array(z.object({ name: z.string(), definition: z.string(), enabled: z.string().optional() })),
  policies: z.array(
    z.object({
      name: z.string(),
      command: z.string(),
      permissive: z.boolean(),
      roles: z.array(z.string()),
      using: z.string().nullable(),
      check: z.string().nullable(),
    }),
  ),
  comments: z.array(z.object({ column: z.string().nullable(), text: z.string() })),
  partComments: z
    .array(z.object({ kind: z.string(), name: z.string(), text: z.string() }))
    .nullable()
    .optional(),
  /** Of facts without `acl`; empty in newer ones. */
  grants: z.array(
    z.object({
      grantee: z.string(),
      privilege: z.string(),
      grantable: z.boolean(),
      column: z.string().nullable(),
    }),
  ),
})

export type TableFacts = z.infer<typeof tableFacts>
export type ColumnFacts = TableFacts['columns'][number]

/** What columns are called now by what they were called before; undefined for those that are gone. */
export function namesNow(
  before: readonly Pick<ColumnFacts, 'attnum' | 'name'>[],
  now: readonly Pick<ColumnFacts, 'attnum' | 'name'>[],
): ReadonlyMap<string, string | undefined> {
  const names = new Map(now.map(({ attnum, name }) => [attnum, name]))
  return new Map(before.map(({ attnum, name }) => [name, names.get(attnum)]))
}

export const typeFacts = z.object({
  oid: z.number(),
  schema: z.string(),
  name: z.string(),
  type: z.string(),
  owner: z.string(),
  labels: z.array(z.object({ oid: z.number(), label: z.string() })).nullable(),
  base: z.string().nullable(),
  notNull: z.boolean(),
  default: z.string().nullable(),
  collation: z.string().nullable(),
  ...rights,
  comment: z.string().nullable().optional(),
  /** It comes with its extension; missing in older records. */
  extension: z.boolean().optional(),
  constraints: z
    .array(
      z.object({
        name: z.string(),
        /** 'c' or 'n' (NOT NULL with a name of its own) */
        type: z.string().optional(),
        definition: z.string(),
        valid: z.boolean().optional(),
        comment: z.string().nullable().optional(),
      }),
    )
    .nullable(),
  attributes: z.array(z.object({ name: z.string(), type: z.string() })).nullable(),
  attributeDetails: z
    .array(z.object({ name: z.string(), collation: z.string().nullable(), comment: z.string().nullable() }))
    .nullable()
    .optional(),
  subtype: z
    .object({
      type: z.string(),
      opclass: z.string().nullable(),
      multirange: z.string().nullable(),
      collation: z.string().nullable().optional(),
      diff: z.string().nullable().optional(),
      canonical: z.string().nullable().optional(),
    })
    .nullable(),
})

export type TypeFacts = z.infer<typeof typeFacts>

export const sequenceFacts = sequenceOptions.extend({
  oid: z.number(),
  owner: z.string(),
  type: z.string(),
  ownedBy: z.string().nullable(),
  /** It comes with its extension; missing in older records. */
  extension: z.boolean().optional(),
})
export type SequenceFacts = z.infer<typeof sequenceFacts>

/** What a command at a partitioned or inherited table did to one that hangs on it: the parts that it reached. */
export const descendantFacts = z.object({
  oid: z.number(),
  schema: z.string(),
  name: z.string(),
  kind: z.string(),
  persistence: z.string(),
  replicaIdentity: z.string(),
  /** Columns that are new or changed, as they are now. */
  columns: z
    .array(
      tableFacts.shape.columns.element
        .pick({
          attnum: true,
          name: true,
          typeOid: true,
          typmod: true,
          type: true,
          notNull: true,
          identity: true,
          generated: true,
          default: true,
          hasMissing: true,
          missing: true,
          collation: true,
          storage: true,
          compression: true,
          statistics: true,
          local: true,
        })
        .loose(),
    )
    .nullish(),
  /** Attribute numbers of columns that are gone. */
  gone: z.array(z.number()).nullish(),
  constraints: z.array(tableFacts.shape.constraints.element).nullish(),
  goneConstraints: z.array(z.string()).nullish(),
  indexes: z.array(tableFacts.shape.indexes.element).nullish(),
  /** Where the replica identity may have changed. */
  keyColumns: z.array(z.string()).nullish(),
})

export type DescendantFacts = z.infer<typeof descendantFacts>

const IDENTITY: Readonly<Record<string, ReplicaIdentity>> = {
  d: 'default',
  n: 'nothing',
  f: 'full',
  i: 'index',
}

/** The part of the facts that carrying rows over needs. */
export function tableVersion(facts: TableFacts): CatalogTable {
  return {
    oid: facts.oid,
    schema: facts.schema,
    name: facts.name,
    kind: facts.kind,
    persistence: facts.persistence,
    identity: IDENTITY[facts.replicaIdentity] ?? 'nothing',
    keyColumns: facts.keyColumns,
    columns: facts.columns.map(tableColumn),
  }
}

export function tableColumn(
  c: Pick<
    ColumnFacts,
    | 'attnum'
    | 'name'
    | 'typeOid'
    | 'typmod'
    | 'type'
    | 'notNull'
    | 'identity'
    | 'generated'
    | 'default'
    | 'hasMissing'
    | 'missing'
  >,
): CatalogColumn {
  return {
    id: c.attnum,
    native: String(c.typeOid),
    isStored: c.generated === '',
    attnum: c.attnum,
    name: c.name,
    typeOid: c.typeOid,
    typmod: c.typmod,
    type: c.type,
    notNull: c.notNull,
    identity: c.identity,
    generated: c.generated,
    hasDefault: c.default !== null,
    ...(c.hasMissing ? { missing: c.missing } : {}),
  }
}

/**
 * DDL records: what a command did, as it comes through the stream. Parsed at the door: they come from a table that only its
 * owner can write, but a reader still checks their form.
 */
import { z } from 'zod'
import { TidemarkError } from '../../../core/errors.ts'
import {
  descendantFacts,
  sequenceFacts,
  tableFacts,
  typeFacts,
  type DescendantFacts,
  type SequenceFacts,
  type TableFacts,
  type TypeFacts,
} from './schema-facts.ts'

const dropFacts = z.object({ type: z.string(), identity: z.string(), names: z.array(z.string()).nullable() })
const rewriteFacts = z.object({
  reason: z.number(),
  plain: z.boolean(),
  /** The columns that were, as far as it matters here. */
  before: z
    .array(
      z.object({
        attnum: z.number(),
        typeOid: z.number(),
        typmod: z.number(),
        generated: z.string().optional(),
      }),
    )
    .nullable(),
})
const definitionFacts = z.object({
  kind: z.string(),
  schema: z.string().nullable(),
  name: z.string(),
  /** As ALTER names it: FUNCTION "s"."f"(integer). */
  named: z.string(),
  owner: z.string(),
  create: z.string().nullable(),
  /** Of a materialized view: whether it has rows; missing in older records. */
  populated: z.boolean().optional(),
})
export type Definition = z.infer<typeof definitionFacts>

const rightsFacts = z.object({
  class: z.string(),
  oid: z.number(),
  /** As SchemaObject.kind has it. */
  kind: z.string(),
  /** As GRANT names it: TABLE, SEQUENCE, FUNCTION, PROCEDURE, TYPE, SCHEMA. */
  on: z.string(),
  schema: z.string().nullable(),
  name: z.string(),
  /** Of routines, as the server prints them. */
  args: z.string().optional(),
  owner: z.string(),
  acl: z.array(z.string()).nullable(),
  aclDefault: z.array(z.string()).nullable(),
  columns: z.array(z.object({ name: z.string(), acl: z.array(z.string()) })).nullish(),
})
export type RightsFacts = z.infer<typeof rightsFacts>

/** GRANT and REVOKE name no single object. */
const otherFacts = z.object({
  type: z.string().nullable(),
  identity: z.string().nullable(),
  /** What makes the object again; null where the server gave no definition, missing in older records. */
  definition: definitionFacts.nullish(),
  /** The rights of the object, or of all that a GRANT or REVOKE changed; missing in older records. */
  rights: z.array(rightsFacts).nullish(),
})

/** Tables with rows that the publication kept from the stream. */
const publicationFacts = z.object({
  /** Tidemark itself made a list of it. Else somebody changed it, between two looks. */
  listed: z.boolean().optional(),
  /** Not tables in it, but the publication, or what it has of Tidemark's own: anything may be missing. */
  altered: z.boolean().optional(),
  /** Tidemark itself put a table into the list, with rows of before: those of this very transaction, which made it, or others. */
  joined: z.enum(['made', 'there']).optional(),
  tables: z.array(z.object({ oid: z.number(), schema: z.string(), name: z.string() })),
})

export type DdlRecord = {
  readonly id: bigint
  readonly xid: string
  readonly command: string
  readonly oid: number
  /** The catalog that `oid` is of, as pg_class; undefined in records of older installations. */
  readonly class?: string | undefined
} & (
  | { readonly kind: 'table'; readonly facts: TableFacts }
  | { readonly kind: 'descendant'; readonly facts: DescendantFacts }
  | { readonly kind: 'type'; readonly facts: TypeFacts }
  | { readonly kind: 'sequence'; readonly facts: SequenceFacts }
  | { readonly kind: 'drop'; readonly facts: z.infer<typeof dropFacts> }
  | { readonly kind: 'rewrite'; readonly facts: z.infer<typeof rewriteFacts> }
  | { readonly kind: 'other'; readonly facts: z.infer<typeof otherFacts> }
  | { readonly kind: 'publication'; readonly facts: z.infer<typeof publicationFacts> }
)

const SCHEMAS = {
  table: tableFacts,
  descendant: descendantFacts,
  type: typeFacts,
  sequence: sequenceFacts,
  drop: dropFacts,
  rewrite: rewriteFacts,
  other: otherFacts,
  publication: publicationFacts,
} as const

/** @throws TidemarkError OBJECT_CORRUPT where a record has no known form */
export function parseDdlRecord(row: {
  readonly id: string
  readonly xid: string
  readonly command: string
  readonly kind: string
  readonly oid: string | null
  readonly facts: string | null
  readonly class?: string | null | undefined
}): DdlRecord {
  const schema = SCHEMAS[row.kind as keyof typeof SCHEMAS] as z.ZodType | undefined
  let json: unknown
  try {
    json = JSON.parse(row.facts ?? 'null')
  } catch (error) {
    throw new TidemarkError('OBJECT_CORRUPT', `DDL record ${row.id} is no JSON`, { cause: error })
  }
  const parsed = schema?.safeParse(json)
  if (parsed === undefined || !parsed.success)
    throw new TidemarkError(
      'OBJECT_CORRUPT',
      `DDL record ${row.id} of kind ${row.kind.slice(0, 20)} is not understood`,
    )
  return {
    id: BigInt(row.id),
    xid: row.xid,
    command: row.command,
    oid: Number(row.oid ?? 0),
    ...(typeof row.class === 'string' ? { class: row.class } : {}),
    kind: row.kind,
    facts: parsed.data,
  } as DdlRecord
}

/**
 * What every kind of catalog object declares: the class that its rows lie in, how they are read (all, or some by OID)
 * with the statements that make them, and where those stand. kinds.ts lists them all.
 */
import type pg from 'pg'
import { RANK, type Say } from '../../../formats/rank.ts'
import { rightsCommands } from '../dialect/rights.ts'
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import type { TableFacts } from '../dialect/schema-facts.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'

/** A database's catalog inside one transaction: its rows, and what the server can say. */
export interface Catalog {
  /** server_version_num */
  readonly version: number
  /** Whether what Tidemark has in the source notes identities that it gave: its first versions did not. */
  readonly hasIdentities: boolean
  rows<T extends pg.QueryResultRow>(sql: string): Promise<T[]>
}

/** One object as it was read. */
export interface CatalogObject {
  readonly oid: number
  /** The statements that make it and everything that is a part of it. */
  readonly statements: readonly SchemaStatement[]
  /** What people must know about it. */
  readonly notes?: readonly string[]
  /** Tables alone. */
  readonly table?: TableFacts
}

export interface CatalogKind {
  /** As SchemaObject.kind has it. */
  readonly name: string
  /** For people, with what of it comes back: docs/objects.md is made from these. */
  readonly title: string
  readonly covers: string
  /** The system catalog that its rows lie in: with an OID it names one object. */
  readonly class: string
  /** In front of everything, among the others as pg_depend says, or behind everything (equal ranks keep this order). */
  readonly order: 'first' | 'by dependency' | 'last'
  /** @param only these OIDs; without it all. What is gone or of another kind is left out. */
  read(catalog: Catalog, only?: readonly number[]): Promise<CatalogObject[]>
}

/** Namespaces that are neither the server's nor Tidemark's, as a condition on pg_namespace n. */
export const OF_APPLICATION = `n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp%'`

export function notOfExtension(catalog: string, oid: string): string {
  return `NOT EXISTS (SELECT FROM pg_depend member WHERE member.classid = '${catalog}'::regclass AND member.objid = ${oid} AND member.deptype = 'e')`
}

/** A condition on the OIDs that are asked for. */
export function among(oid: string, only: readonly number[] | undefined): string {
  return only === undefined ? 'true' : `${oid} = ANY ('{${only.join(',')}}'::oid[])`
}

/** What each kind's rows say of owner, comment and rights. */
export interface Attributes {
  readonly oid: number
  readonly owner: string
  readonly comment: string | null
  readonly acl: readonly string[] | null
  readonly aclDefault: readonly string[] | null
}

/**
 * The columns that make Attributes.
 *
 * @param of.row the alias of the class in the query
 * @param of.kind acldefault()'s letter for it, where it has rights
 */
export function attributes(of: {
  readonly class: string
  readonly row: string
  readonly owner?: string
  readonly acl?: string
  readonly kind?: string
}): string {
  const { acl = 'NULL::aclitem[]', owner = '10' } = of
  const initial = of.kind === undefined ? 'NULL' : `acldefault('${of.kind}', ${owner})::text[]`
  return `${of.row}.oid, pg_get_userbyid(${owner}) AS owner, obj_description(${of.row}.oid, '${of.class}') AS comment, ${acl}::text[] AS acl, CASE WHEN ${acl} IS NOT NULL THEN ${initial} END AS "aclDefault"`
}

/** @param as.grantOn where GRANT names the object otherwise than ALTER and COMMENT do */
export function sayAttributes(
  say: Say,
  row: Attributes,
  as: { readonly address: string; readonly grantOn?: string; readonly owned?: boolean },
): void {
  if (row.comment !== null) say(RANK.behaviour, `COMMENT ON ${as.address} IS ${quoteLiteral(row.comment)}`)
  if (as.owned !== false) say(RANK.rights, `ALTER ${as.address} OWNER TO ${quoteName(row.owner)}`)
  const rights = rightsCommands({ ...row, on: as.grantOn ?? as.address })
  for (const command of rights) say(RANK.rights, command)
}

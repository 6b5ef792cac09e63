/**
 * What every kind of catalog object declares: the class that its rows lie in, how they are read (all, or some by OID)
 * with the statements that make them, and where those stand. kinds.ts lists them all.
 */
import type pg from 'pg'
import { RANK } from '../../../formats/table-statements.ts'
import type { TableFacts } from '../../../formats/schema-facts.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'

/** A database's catalog inside one transaction: its rows, and what the server can say. */
export interface Catalog {
  /** server_version_num */
  readonly version: number
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
  return `NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '${catalog}'::regclass AND e.objid = ${oid} AND e.deptype = 'e')`
}

/** A condition on the OIDs that are asked for. */
export function among(oid: string, only: readonly number[] | undefined): string {
  return only === undefined ? 'true' : `${oid} = ANY ('{${only.join(',')}}'::oid[])`
}

export function statement(rank: number, object: SchemaObject, sql: string): SchemaStatement {
  return { sql, rank, phase: rank < RANK.key ? 'before' : 'after', objects: [object] }
}

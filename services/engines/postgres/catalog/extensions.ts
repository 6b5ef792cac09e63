/**
 * Extensions: made by name; their members come with them. Of their rows those of the tables that they mark as
 * configuration are covered (PostgreSQL manual, "Extension Configuration Tables"); what is not is said.
 */
import { quoteName, quoteTable } from '../dialect/quote.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { tableFacts } from '../dialect/schema-facts.ts'
import { ownSteps } from './extension-rows.ts'
import { among, type Catalog, type CatalogKind, type CatalogObject } from './kind.ts'

export const extensions: CatalogKind = {
  name: 'extension',
  title: 'Extensions',
  covers: 'by name; members come with them',
  class: 'pg_extension',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; name: string; schema: string }>(
      `SELECT e.oid, e.extname AS name, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname <> 'plpgsql' AND ${among('e.oid', only)} ORDER BY e.oid`,
    )
    return [
      ...found.map((e) => ({
        oid: e.oid,
        statements: [
          schemaStatement(
            RANK.extension,
            { kind: 'extension', name: e.name },
            `CREATE EXTENSION IF NOT EXISTS ${quoteName(e.name)} SCHEMA ${quoteName(e.schema)} CASCADE`,
          ),
        ],
        notes: ownSteps(e.name)
          ? [
              `extension ${quoteName(e.name)}: needs steps of its own to be restored; its rows are not covered`,
            ]
          : [],
      })),
      ...(await configurationTables(catalog, only)),
      ...(await otherTables(catalog, only)),
    ]
  },
}

/** Member tables that are in the stream: permanent, and not in the server's own schemas. */
const MEMBERS = `pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e' AND d.classid = 'pg_class'::regclass
   JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p') JOIN pg_namespace n ON n.oid = c.relnamespace`
const STREAMED = `(c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark'))`

/** Copied with the base. Their statements are the extension's. */
async function configurationTables(
  catalog: Catalog,
  only: readonly number[] | undefined,
): Promise<CatalogObject[]> {
  const found = await catalog.rows<{ oid: number; extension: string; facts: unknown }>(
    `SELECT e.oid, e.extname AS extension, tidemark.table_facts(c.oid) AS facts FROM ${MEMBERS}
      WHERE c.oid = ANY (e.extconfig) AND ${STREAMED} AND ${among('e.oid', only)} ORDER BY c.oid`,
  )
  return found
    .filter(({ extension }) => !ownSteps(extension))
    .map(({ oid, facts }) => ({ oid, statements: [], table: tableFacts.parse(facts) }))
}

async function otherTables(catalog: Catalog, only: readonly number[] | undefined): Promise<CatalogObject[]> {
  const found = await catalog.rows<{ oid: number; extension: string; schema: string; name: string }>(
    `SELECT e.oid, e.extname AS extension, n.nspname AS schema, c.relname AS name FROM ${MEMBERS}
      WHERE NOT COALESCE(c.oid = ANY (e.extconfig) AND ${STREAMED}, false) AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0 AND ${among('e.oid', only)} ORDER BY c.oid`,
  )
  return found.map(({ oid, extension, ...table }) => ({
    oid,
    statements: [],
    notes: [
      `table ${quoteTable(table)} of extension ${quoteName(extension)} has rows and is no configuration of it: not covered`,
    ],
  }))
}

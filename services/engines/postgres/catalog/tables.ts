/** Tables with all that is part of them; from the facts that DDL records carry as well. */
import { quoteTable } from '../dialect/quote.ts'
import { tableFacts } from '../dialect/schema-facts.ts'
import { tableStatements } from '../dialect/table-statements.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION } from './kind.ts'

export const tables: CatalogKind = {
  name: 'table',
  title: 'Tables',
  covers:
    'plain, partitioned, inherited, typed, unlogged (without rows); columns with defaults, identity, storage, statistics and options; constraints with names, NO INHERIT and NOT VALID; indexes, rules, triggers and whether they fire; policies, replica identity, comments, rights of tables and columns',
  class: 'pg_class',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<{ facts: unknown }>(`
      SELECT tidemark.table_facts(c.oid) AS facts FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE ${OF_APPLICATION} AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND ${notOfExtension('pg_class', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map(({ facts }) => {
      const table = tableFacts.parse(facts)
      return {
        oid: table.oid,
        statements: tableStatements(table),
        table,
        notes:
          table.persistence === 'u' ? [`unlogged table ${quoteTable(table)}: its rows are not covered`] : [],
      }
    })
  },
}

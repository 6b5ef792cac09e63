/** Foreign tables: what they point at, not the rows, which lie elsewhere. */
import { quoteName, quoteTable } from '../dialect/quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { sayComments, sayOwnerAndRights, sayRulesAndTriggers } from '../dialect/relation-parts.ts'
import { type TableFacts, tableFacts } from '../dialect/schema-facts.ts'
import { columnClause, sayColumns, sayConstraints } from '../dialect/table-statements.ts'
import { optionsClause } from './foreign-data.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION } from './kind.ts'

interface ForeignTableRow {
  readonly oid: number
  readonly facts: unknown
  readonly server: string
  readonly options: readonly string[] | null
  /** By column name. */
  readonly columnOptions: Readonly<Record<string, readonly string[]>>
}

export const foreignTables: CatalogKind = {
  name: 'foreignTable',
  title: 'Foreign tables',
  covers: 'what they point at; their rows lie elsewhere',
  class: 'pg_class',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ForeignTableRow>(`
      SELECT c.oid, tidemark.table_facts(c.oid) AS facts, s.srvname AS server, f.ftoptions AS options,
             (SELECT COALESCE(jsonb_object_agg(a.attname, to_jsonb(a.attfdwoptions)), '{}') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attfdwoptions IS NOT NULL) AS "columnOptions"
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server s ON s.oid = f.ftserver
       WHERE ${OF_APPLICATION} AND c.relkind = 'f' AND ${notOfExtension('pg_class', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map((row) => {
      const table = tableFacts.parse(row.facts)
      return {
        oid: row.oid,
        statements: foreignTableStatements(table, row),
        notes: [
          `foreign table ${quoteTable(table)}: its rows lie on server ${quoteName(row.server)} and are not covered`,
        ],
      }
    })
  },
}

function foreignTableStatements(table: TableFacts, row: ForeignTableRow): SchemaStatement[] {
  const name = quoteTable(table)
  // OPTIONS stand between the type and the rest.
  const columns = table.columns.map((c) => {
    const start = `${quoteName(c.name)} ${c.type}`
    return `${start}${optionsClause(row.columnOptions[c.name] ?? null)}${columnClause(table, c).slice(start.length)}`
  })
  return collect({ kind: 'foreignTable', schema: table.schema, name: table.name }, (say) => {
    say(
      RANK.create,
      `CREATE FOREIGN TABLE ${name} (${columns.join(', ')}) SERVER ${quoteName(row.server)}${optionsClause(row.options)}`,
    )
    sayColumns(say, table, 'FOREIGN TABLE')
    for (const parent of table.parents ?? [])
      say(
        RANK.attach,
        table.partitionBound === null
          ? `ALTER FOREIGN TABLE ${name} INHERIT ${quoteTable(parent)}`
          : `ALTER TABLE ONLY ${quoteTable(parent)} ATTACH PARTITION ${name} ${table.partitionBound}`,
      )
    sayConstraints(say, table, 'FOREIGN TABLE')
    sayRulesAndTriggers(say, table)
    sayComments(say, table, 'FOREIGN TABLE')
    sayOwnerAndRights(say, table, 'FOREIGN TABLE')
  })
}

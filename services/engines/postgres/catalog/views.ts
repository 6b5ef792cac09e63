/** Views and materialized views; the rows of the latter are made again, not stored. */
import { quoteName, quoteTable } from '../dialect/quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { sayComments, sayIndexes, sayOwnerAndRights, sayRulesAndTriggers } from '../dialect/relation-parts.ts'
import { type TableFacts, tableFacts } from '../dialect/schema-facts.ts'
import { optionClause, sayColumns } from '../dialect/table-statements.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION } from './kind.ts'

interface ViewRow {
  readonly oid: number
  readonly facts: unknown
  readonly definition: string
  readonly populated: boolean
}

export const views: CatalogKind = {
  name: 'view',
  title: 'Views and materialized views',
  covers:
    'views with options, defaults, rules, INSTEAD OF triggers; materialized views with indexes, filled again or left WITH NO DATA; comments, rights of views and columns',
  class: 'pg_class',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ViewRow>(`
      SELECT c.oid, tidemark.table_facts(c.oid) AS facts, pg_get_viewdef(c.oid) AS definition, c.relispopulated AS populated
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OF_APPLICATION} AND c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND ${notOfExtension('pg_class', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map((v) => {
      const facts = tableFacts.parse(v.facts)
      const note = `materialized view ${quoteTable(facts)}: its rows are not stored; the restore refreshes it`
      return {
        oid: v.oid,
        statements: viewStatements(facts, v),
        notes: facts.kind === 'm' && v.populated ? [note] : [],
      }
    })
  },
}

function viewStatements(view: TableFacts, row: ViewRow): SchemaStatement[] {
  const materialized = view.kind === 'm'
  const name = quoteTable(view)
  const word = materialized ? 'MATERIALIZED VIEW' : 'VIEW'
  const options = [
    ...(view.options ?? []).map(optionClause),
    ...(view.toastOptions ?? []).map((option) => `toast.${optionClause(option)}`),
  ]
  const columns =
    view.columns.length === 0 ? '' : ` (${view.columns.map((c) => quoteName(c.name)).join(', ')})`
  const method =
    view.accessMethod === null || view.accessMethod === 'heap' ? '' : ` USING ${quoteName(view.accessMethod)}`
  const definition = row.definition.trim().replace(/;$/, '')
  return collect(
    { kind: materialized ? 'materializedView' : 'view', schema: view.schema, name: view.name },
    (say) => {
      say(
        RANK.create,
        `CREATE ${word} ${name}${columns}${method}${options.length === 0 ? '' : ` WITH (${options.join(', ')})`} AS ${definition}${materialized ? ' WITH NO DATA' : ''}`,
      )
      if (materialized) sayMaterialized(say, view, row.populated)
      else
        for (const c of view.columns)
          if (c.default !== null)
            say(
              RANK.behaviour,
              `ALTER VIEW ${name} ALTER COLUMN ${quoteName(c.name)} SET DEFAULT ${c.default}`,
            )
      sayRulesAndTriggers(say, view)
      sayComments(say, view, word)
      sayOwnerAndRights(say, view, word)
    },
  )
}

function sayMaterialized(say: Parameters<typeof sayIndexes>[0], view: TableFacts, populated: boolean): void {
  sayColumns(say, view, 'MATERIALIZED VIEW')
  sayIndexes(say, view, 'MATERIALIZED VIEW')
  if (populated) say(RANK.rights + 2, `REFRESH MATERIALIZED VIEW ${quoteTable(view)}`)
}

/** Views and materialized views; the rows of the latter are made again, not stored. */
import { quoteLiteral, quoteName, quoteTable } from '../../../core/relation.ts'
import type { SchemaObject } from '../../../core/transaction.ts'
import { RANK } from '../../../formats/table-statements.ts'
import {
  among,
  type CatalogKind,
  type CatalogObject,
  notOfExtension,
  OF_APPLICATION,
  statement,
} from './kind.ts'

interface ViewRow {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly kind: string
  readonly definition: string
  readonly owner: string
  readonly comment: string | null
  readonly options: readonly string[] | null
  readonly indexes: readonly string[] | null
  /** Null where it has none: SELECT FROM … GROUP BY …. */
  readonly columns: readonly string[] | null
}

export const views: CatalogKind = {
  name: 'view',
  class: 'pg_class',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ViewRow>(`
      SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, pg_get_viewdef(c.oid) AS definition, pg_get_userbyid(c.relowner) AS owner, obj_description(c.oid, 'pg_class') AS comment, c.reloptions AS options,
             (SELECT array_agg(pg_get_indexdef(x.indexrelid)) FROM pg_index x WHERE x.indrelid = c.oid) AS indexes,
             (SELECT array_agg(quote_ident(a.attname) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OF_APPLICATION} AND c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND ${notOfExtension('pg_class', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map(view)
  },
}

function view(v: ViewRow): CatalogObject {
  const materialized = v.kind === 'm'
  const object: SchemaObject = {
    kind: materialized ? 'materializedView' : 'view',
    schema: v.schema,
    name: v.name,
  }
  const name = quoteTable(v)
  const options = v.options === null ? '' : ` WITH (${v.options.join(', ')})`
  const body = v.definition.trim().replace(/;$/, '')
  const word = materialized ? 'MATERIALIZED VIEW' : 'VIEW'
  const statements = [
    statement(
      RANK.create,
      object,
      `CREATE ${word} ${name}${v.columns === null ? '' : ` (${v.columns.join(', ')})`}${options} AS ${body}${materialized ? ' WITH NO DATA' : ''}`,
    ),
    statement(RANK.rights, object, `ALTER ${word} ${name} OWNER TO ${quoteName(v.owner)}`),
  ]
  if (v.comment !== null)
    statements.push(
      statement(RANK.behaviour, object, `COMMENT ON ${word} ${name} IS ${quoteLiteral(v.comment)}`),
    )
  if (!materialized) return { oid: v.oid, statements }
  for (const index of v.indexes ?? []) statements.push(statement(RANK.index, object, index))
  statements.push(statement(RANK.rights + 2, object, `REFRESH MATERIALIZED VIEW ${name}`))
  return {
    oid: v.oid,
    statements,
    notes: [`materialized view ${name}: its rows are not stored; the restore refreshes it`],
  }
}

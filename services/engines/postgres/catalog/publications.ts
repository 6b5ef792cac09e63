/** Publications of others than Tidemark. Nothing reads them before somebody subscribes. */
import { quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { among, type Attributes, attributes, type CatalogKind, sayAttributes } from './kind.ts'

interface PublicationRow extends Attributes {
  readonly name: string
  readonly all: boolean
  readonly operations: readonly string[]
  readonly viaRoot: boolean
  readonly generated: string | null
  readonly tables: readonly string[]
  readonly schemas: readonly string[]
}

export const publications: CatalogKind = {
  name: 'publication',
  title: 'Publications',
  covers: "all but Tidemark's own",
  class: 'pg_publication',
  order: 'last',
  async read(catalog, only) {
    const since15 = catalog.version >= 150000
    // A list of columns and a condition since 15.
    const more = since15
      ? ` || COALESCE((SELECT ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) || ')' FROM unnest(r.prattrs::int2[]) WITH ORDINALITY AS k(attnum, place) JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = k.attnum), '') || COALESCE(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '')`
      : ''
    const schemas = since15
      ? `ARRAY(SELECT quote_ident(n.nspname) FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid ORDER BY 1)`
      : `'{}'::text[]`
    const found = await catalog.rows<PublicationRow>(`
      SELECT ${attributes({ class: 'pg_publication', row: 'p', owner: 'p.pubowner' })}, p.pubname AS name, p.puballtables AS all, p.pubviaroot AS "viaRoot", ${catalog.version >= 180000 ? 'p.pubgencols::text' : 'NULL'} AS generated,
             array_remove(ARRAY[CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL) AS operations,
             ARRAY(SELECT format('%I.%I', n.nspname, c.relname)${more} FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid ORDER BY 1) AS tables, ${schemas} AS schemas
        FROM pg_publication p WHERE NOT EXISTS (SELECT FROM tidemark.installation i WHERE i.publication = p.pubname) AND ${among('p.oid', only)} ORDER BY p.oid`)
    return found.map((p) => {
      const name = `PUBLICATION ${quoteName(p.name)}`
      const what = [
        ...(p.tables.length === 0 ? [] : [`TABLE ${p.tables.map((t) => `ONLY ${t}`).join(', ')}`]),
        ...(p.schemas.length === 0 ? [] : [`TABLES IN SCHEMA ${p.schemas.join(', ')}`]),
      ]
      const of = p.all ? ' FOR ALL TABLES' : what.length === 0 ? '' : ` FOR ${what.join(', ')}`
      const options = [`publish = '${p.operations.join(', ')}'`]
      if (p.viaRoot) options.push('publish_via_partition_root = true')
      if (p.generated === 's') options.push('publish_generated_columns = stored')
      return {
        oid: p.oid,
        statements: collect({ kind: 'publication', name: p.name }, (say) => {
          say(RANK.settings, `CREATE ${name}${of} WITH (${options.join(', ')})`)
          sayAttributes((_, sql) => say(RANK.settings, sql), p, { address: name })
        }),
      }
    })
  },
}

/** Casts, and conversions between encodings. */
import { quoteLiteral, quoteTable } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  OF_APPLICATION,
  sayAttributes,
} from './kind.ts'

interface CastRow extends Attributes {
  readonly source: string
  readonly target: string
  readonly how: string
  readonly context: string
}

export const casts: CatalogKind = {
  name: 'cast',
  title: 'Casts',
  covers: 'with comment',
  class: 'pg_cast',
  order: 'by dependency',
  async read(catalog, only) {
    // A range type brings its own cast to the multirange.
    const found = await catalog.rows<CastRow>(`
      SELECT ${attributes({ class: 'pg_cast', row: 'c' })}, format_type(c.castsource, NULL) AS source, format_type(c.casttarget, NULL) AS target,
             CASE c.castmethod WHEN 'f' THEN 'WITH FUNCTION ' || c.castfunc::regprocedure::text WHEN 'i' THEN 'WITH INOUT' ELSE 'WITHOUT FUNCTION' END AS how, c.castcontext AS context
        FROM pg_cast c WHERE c.oid >= 16384 AND ${notOfExtension('pg_cast', 'c.oid')} AND ${among('c.oid', only)}
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'i') ORDER BY c.oid`)
    return found.map((c) => {
      const name = `CAST (${c.source} AS ${c.target})`
      const context = { i: ' AS IMPLICIT', a: ' AS ASSIGNMENT' }[c.context] ?? ''
      return {
        oid: c.oid,
        statements: collect({ kind: 'cast', name: `${c.source} AS ${c.target}` }, (say) => {
          say(RANK.create, `CREATE ${name} ${c.how}${context}`)
          sayAttributes(say, c, { address: name, owned: false })
        }),
      }
    })
  },
}

interface ConversionRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly from: string
  readonly to: string
  readonly function: string
  readonly default: boolean
}

export const conversions: CatalogKind = {
  name: 'conversion',
  title: 'Conversions',
  covers: 'with owner and comment',
  class: 'pg_conversion',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ConversionRow>(`
      SELECT ${attributes({ class: 'pg_conversion', row: 'c', owner: 'c.conowner' })}, n.nspname AS schema, c.conname AS name, pg_encoding_to_char(c.conforencoding) AS from, pg_encoding_to_char(c.contoencoding) AS to,
             c.conproc::text AS function, c.condefault AS default
        FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_conversion', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map((c) => {
      const name = `CONVERSION ${quoteTable(c)}`
      return {
        oid: c.oid,
        statements: collect({ kind: 'conversion', schema: c.schema, name: c.name }, (say) => {
          say(
            RANK.create,
            `CREATE ${c.default ? 'DEFAULT ' : ''}${name} FOR ${quoteLiteral(c.from)} TO ${quoteLiteral(c.to)} FROM ${c.function}`,
          )
          sayAttributes(say, c, { address: name })
        }),
      }
    })
  },
}

/** Base types, whose values only their own functions read and print, and shells that were never filled. */
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

interface BaseTypeRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly defined: boolean
  readonly options: readonly string[]
  readonly default: string | null
  readonly delimiter: string
}

const FUNCTIONS: readonly (readonly [string, string])[] = [
  ['INPUT', 'typinput'],
  ['OUTPUT', 'typoutput'],
  ['RECEIVE', 'typreceive'],
  ['SEND', 'typsend'],
  ['TYPMOD_IN', 'typmodin'],
  ['TYPMOD_OUT', 'typmodout'],
  ['ANALYZE', 'typanalyze'],
  ['SUBSCRIPT', 'typsubscript'],
]

export const baseTypes: CatalogKind = {
  name: 'type',
  title: 'Base types',
  covers: 'base types and shells, with owner, comment, rights',
  class: 'pg_type',
  order: 'by dependency',
  async read(catalog, only) {
    const functions = FUNCTIONS.map(
      ([option, column]) => `CASE WHEN t.${column} <> 0 THEN '${option} = ' || t.${column}::text END`,
    )
    const found = await catalog.rows<BaseTypeRow>(`
      SELECT ${attributes({ class: 'pg_type', row: 't', owner: 't.typowner', acl: 't.typacl', kind: 'T' })}, n.nspname AS schema, t.typname AS name, t.typisdefined AS defined, t.typdefault AS default, t.typdelim AS delimiter,
             array_remove(ARRAY[${functions.join(', ')},
               'INTERNALLENGTH = ' || CASE WHEN t.typlen = -1 THEN 'VARIABLE' ELSE t.typlen::text END, CASE WHEN t.typbyval THEN 'PASSEDBYVALUE' END,
               'ALIGNMENT = ' || CASE t.typalign WHEN 'c' THEN 'char' WHEN 's' THEN 'int2' WHEN 'i' THEN 'int4' ELSE 'double' END,
               'STORAGE = ' || CASE t.typstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'x' THEN 'extended' ELSE 'main' END,
               'CATEGORY = ' || quote_literal(t.typcategory::text), CASE WHEN t.typispreferred THEN 'PREFERRED = true' END,
               CASE WHEN t.typelem <> 0 THEN 'ELEMENT = ' || format_type(t.typelem, NULL) END, CASE WHEN t.typcollation <> 0 THEN 'COLLATABLE = true' END], NULL) AS options
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
       WHERE ${OF_APPLICATION} AND (t.typtype = 'b' OR (t.typtype = 'p' AND NOT t.typisdefined)) AND ${notOfExtension('pg_type', 't.oid')} AND ${among('t.oid', only)}
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'i') ORDER BY t.oid`)
    return found.map((t) => {
      const name = quoteTable(t)
      return {
        oid: t.oid,
        statements: collect({ kind: 'type', schema: t.schema, name: t.name }, (say) => {
          // Its functions need its name before it can be made.
          say(RANK.shell, `CREATE TYPE ${name}`)
          const options = [...t.options, `DELIMITER = ${quoteLiteral(t.delimiter)}`]
          if (t.default !== null) options.push(`DEFAULT = ${quoteLiteral(t.default)}`)
          if (t.defined) say(RANK.create, `CREATE TYPE ${name} (${options.join(', ')})`)
          sayAttributes(say, t, { address: `TYPE ${name}`, owned: t.defined })
        }),
      }
    })
  },
}

/** Functions and procedures, as the server's own pg_get_functiondef prints them. */
import { quoteTable } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  type CatalogObject,
  notOfExtension,
  OF_APPLICATION,
  sayAttributes,
} from './kind.ts'

interface RoutineRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly args: string
  readonly kind: string
  readonly definition: string
}

export const routines: CatalogKind = {
  name: 'function',
  title: 'Functions and procedures',
  covers: 'functions, procedures and window functions, with owner, comment, rights',
  class: 'pg_proc',
  order: 'by dependency',
  async read(catalog, only) {
    // The constructors of a range type come with the type.
    const found = await catalog.rows<RoutineRow>(`
      SELECT ${attributes({ class: 'pg_proc', row: 'p', owner: 'p.proowner', acl: 'p.proacl', kind: 'f' })}, n.nspname AS schema, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS args, p.prokind AS kind, pg_get_functiondef(p.oid) AS definition
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OF_APPLICATION} AND p.prokind IN ('f', 'p', 'w') AND ${notOfExtension('pg_proc', 'p.oid')} AND ${among('p.oid', only)}
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i') ORDER BY p.oid`)
    return found.map(routine)
  },
}

function routine(f: RoutineRow): CatalogObject {
  const kind = f.kind === 'p' ? 'procedure' : 'function'
  return {
    oid: f.oid,
    statements: collect({ kind, schema: f.schema, name: f.name }, (say) => {
      say(RANK.create, f.definition.trim())
      sayAttributes(say, f, { address: `${kind.toUpperCase()} ${quoteTable(f)}(${f.args})` })
    }),
  }
}

/** Functions and procedures, as the server's own pg_get_functiondef prints them. */
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

interface RoutineRow {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly args: string
  readonly kind: string
  readonly definition: string
  readonly owner: string
  readonly comment: string | null
  readonly acl: readonly string[] | null
  readonly public: boolean
}

export const routines: CatalogKind = {
  name: 'function',
  class: 'pg_proc',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<RoutineRow>(`
      SELECT p.oid, n.nspname AS schema, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS args, p.prokind AS kind, pg_get_functiondef(p.oid) AS definition, pg_get_userbyid(p.proowner) AS owner,
             obj_description(p.oid, 'pg_proc') AS comment, p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) x WHERE x.grantee = 0) AS public,
             (SELECT array_agg(quote_ident(pg_get_userbyid(x.grantee))) FROM aclexplode(p.proacl) x WHERE x.grantee <> 0 AND x.grantee <> p.proowner) AS acl
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OF_APPLICATION} AND p.prokind IN ('f', 'p', 'w') AND ${notOfExtension('pg_proc', 'p.oid')} AND ${among('p.oid', only)} ORDER BY p.oid`)
    return found.map(routine)
  },
}

function routine(f: RoutineRow): CatalogObject {
  const object: SchemaObject = {
    kind: f.kind === 'p' ? 'procedure' : 'function',
    schema: f.schema,
    name: f.name,
  }
  const name = `${f.kind === 'p' ? 'PROCEDURE' : 'FUNCTION'} ${quoteTable(f)}(${f.args})`
  const statements = [
    statement(RANK.create, object, f.definition.trim()),
    statement(RANK.rights, object, `ALTER ${name} OWNER TO ${quoteName(f.owner)}`),
  ]
  if (f.comment !== null)
    statements.push(statement(RANK.behaviour, object, `COMMENT ON ${name} IS ${quoteLiteral(f.comment)}`))
  if (!f.public) statements.push(statement(RANK.rights, object, `REVOKE ALL ON ${name} FROM PUBLIC`))
  for (const grantee of f.acl ?? [])
    statements.push(statement(RANK.rights, object, `GRANT EXECUTE ON ${name} TO ${grantee}`))
  return { oid: f.oid, statements }
}

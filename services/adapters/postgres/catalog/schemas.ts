/** Schemas, with owner, comment and rights. */
import { quoteLiteral, quoteName } from '../../../core/relation.ts'
import type { SchemaObject } from '../../../core/transaction.ts'
import { RANK } from '../../../formats/table-statements.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION, statement } from './kind.ts'

interface SchemaRow {
  readonly oid: number
  readonly name: string
  readonly owner: string
  readonly comment: string | null
  readonly grants: readonly { grantee: string; privilege: string; grantable: boolean }[]
}

export const schemas: CatalogKind = {
  name: 'schema',
  class: 'pg_namespace',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<SchemaRow>(`
      SELECT n.oid, n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner, obj_description(n.oid, 'pg_namespace') AS comment,
             (SELECT COALESCE(jsonb_agg(g ORDER BY g.grantee, g.privilege), '[]')
                FROM (SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee, x.privilege_type AS privilege, x.is_grantable AS grantable
                        FROM aclexplode(n.nspacl) x WHERE x.grantee <> n.nspowner) g) AS grants
        FROM pg_namespace n WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_namespace', 'n.oid')} AND ${among('n.oid', only)} ORDER BY n.oid`)
    return found.map((s) => {
      const object: SchemaObject = { kind: 'schema', name: s.name }
      const name = quoteName(s.name)
      const statements = [
        statement(RANK.schema, object, `CREATE SCHEMA IF NOT EXISTS ${name}`),
        statement(RANK.rights, object, `ALTER SCHEMA ${name} OWNER TO ${quoteName(s.owner)}`),
      ]
      if (s.comment !== null)
        statements.push(
          statement(RANK.behaviour, object, `COMMENT ON SCHEMA ${name} IS ${quoteLiteral(s.comment)}`),
        )
      for (const g of s.grants)
        statements.push(
          statement(
            RANK.rights,
            object,
            `GRANT ${g.privilege} ON SCHEMA ${name} TO ${g.grantee}${g.grantable ? ' WITH GRANT OPTION' : ''}`,
          ),
        )
      return { oid: s.oid, statements }
    })
  },
}

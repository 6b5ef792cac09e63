/** Default privileges: what a role grants on the objects that it will make. */
import { quoteName } from '../../../core/relation.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { RANK } from '../../../formats/table-statements.ts'
import { among, type CatalogKind, statement } from './kind.ts'

interface DefaultPrivilegeRow {
  readonly oid: number
  readonly role: string
  readonly schema: string | null
  readonly kind: string
  readonly grants: readonly { grantee: string; privilege: string }[]
}

const ON: Readonly<Record<string, string>> = {
  r: 'TABLES',
  S: 'SEQUENCES',
  f: 'FUNCTIONS',
  T: 'TYPES',
  n: 'SCHEMAS',
}

export const defaultPrivileges: CatalogKind = {
  name: 'defaultPrivilege',
  class: 'pg_default_acl',
  order: 'last',
  async read(catalog, only) {
    const found = await catalog.rows<DefaultPrivilegeRow>(`
      SELECT d.oid, pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema, d.defaclobjtype AS kind,
             (SELECT COALESCE(jsonb_agg(g ORDER BY g.grantee, g.privilege), '[]')
                FROM (SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee, x.privilege_type AS privilege
                        FROM aclexplode(d.defaclacl) x WHERE x.grantee <> d.defaclrole) g) AS grants
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE ${among('d.oid', only)} ORDER BY 2, 3, 4`)
    return found.map((d) => ({ oid: d.oid, statements: defaultGrants(d) }))
  },
}

function defaultGrants(d: DefaultPrivilegeRow): SchemaStatement[] {
  const on = ON[d.kind]
  if (on === undefined) return []
  const where = d.schema === null ? '' : ` IN SCHEMA ${quoteName(d.schema)}`
  return d.grants.map((g) =>
    statement(
      RANK.rights,
      { kind: 'defaultPrivilege', name: d.role },
      `ALTER DEFAULT PRIVILEGES FOR ROLE ${quoteName(d.role)}${where} GRANT ${g.privilege} ON ${on} TO ${g.grantee}`,
    ),
  )
}

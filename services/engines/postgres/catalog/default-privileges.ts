/** Default privileges: what a role grants on the objects that it will make. Behind all that a restore makes. */
import { quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { rightsCommands } from '../dialect/rights.ts'
import { among, type CatalogKind } from './kind.ts'

interface DefaultPrivilegeRow {
  readonly oid: number
  readonly role: string
  readonly schema: string | null
  readonly kind: string
  readonly acl: readonly string[]
  readonly aclDefault: readonly string[] | null
}

const ON: Readonly<Record<string, string>> = {
  r: 'TABLES',
  S: 'SEQUENCES',
  f: 'FUNCTIONS',
  T: 'TYPES',
  n: 'SCHEMAS',
  L: 'LARGE OBJECTS',
}

export const defaultPrivileges: CatalogKind = {
  name: 'defaultPrivilege',
  title: 'Default privileges',
  covers: 'granted and revoked, behind all that a restore makes; those of the target go first',
  class: 'pg_default_acl',
  order: 'last',
  async read(catalog, only) {
    // In one schema they come on top of the others, so they begin with none.
    const found = await catalog.rows<DefaultPrivilegeRow>(`
      SELECT d.oid, pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema, d.defaclobjtype AS kind, d.defaclacl::text[] AS acl,
             CASE WHEN d.defaclnamespace = 0 THEN acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole)::text[] END AS "aclDefault"
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE ${among('d.oid', only)} ORDER BY 2, 3, 4`)
    return found.map((d) => {
      const on = ON[d.kind]
      const where = d.schema === null ? '' : ` IN SCHEMA ${quoteName(d.schema)}`
      const prefix = `ALTER DEFAULT PRIVILEGES FOR ROLE ${quoteName(d.role)}${where} `
      return {
        oid: d.oid,
        statements: collect({ kind: 'defaultPrivilege', name: d.role }, (say) => {
          if (on === undefined) return
          const rights = rightsCommands({ ...d, on, owner: d.role, prefix })
          for (const command of rights) say(RANK.settings, command)
        }),
      }
    })
  },
}

/** Roles that own or are granted something; made without login where the target lacks them. */
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK, ROLE_ATTRIBUTES } from '../../../formats/rank.ts'
import { settingClause } from './database.ts'
import { among, type CatalogKind } from './kind.ts'

/** Whom pg_shdepend names for this database's objects and for the database itself; the first role is named by none. */
const NAMED_HERE = `
  r.oid IN (SELECT d.refobjid FROM pg_shdepend d, pg_database b WHERE b.datname = current_database() AND d.refclassid = 'pg_authid'::regclass
               AND (d.dbid = b.oid OR (d.dbid = 0 AND d.classid = 'pg_database'::regclass AND d.objid = b.oid)))
  OR r.oid IN (SELECT s.setrole FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase WHERE b.datname = current_database())
  OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid >= 16384) OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid) OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid AND p.oid >= 16384)`

interface RoleRow {
  readonly oid: number
  readonly name: string
  readonly attributes: readonly string[]
  readonly settings: readonly string[]
  /** Roles that it is a member of, with the options of GRANT. */
  readonly memberships: readonly { readonly role: string; readonly options: readonly string[] }[]
}

/** Each with what turns it off: at the target it may be on. */
const ATTRIBUTES = ['SUPERUSER', 'CREATEDB', 'CREATEROLE', 'INHERIT', 'LOGIN', 'REPLICATION', 'BYPASSRLS']
const COLUMNS = [
  'rolsuper',
  'rolcreatedb',
  'rolcreaterole',
  'rolinherit',
  'rolcanlogin',
  'rolreplication',
  'rolbypassrls',
]

export const roles: CatalogKind = {
  name: 'role',
  title: 'Roles',
  covers:
    'those that own or are granted something here; made without login where the target lacks them. Attributes, settings and memberships only with `--with-role-attributes`',
  class: 'pg_authid',
  order: 'first',
  async read(catalog, only) {
    const attributes = ATTRIBUTES.map(
      (word, i) => `CASE WHEN r.${COLUMNS[i]} THEN '${word}' ELSE 'NO${word}' END`,
    )
    // 16 and newer: whether a member inherits, and may SET ROLE.
    const options =
      catalog.version >= 160000
        ? `ARRAY['ADMIN ' || m.admin_option, 'INHERIT ' || m.inherit_option, 'SET ' || m.set_option]`
        : `CASE WHEN m.admin_option THEN '{ADMIN OPTION}'::text[] ELSE '{}' END`
    const found = await catalog.rows<RoleRow>(
      `SELECT r.oid, r.rolname AS name, ARRAY[${attributes.join(', ')}, 'CONNECTION LIMIT ' || r.rolconnlimit, 'VALID UNTIL ' || quote_literal(COALESCE(r.rolvaliduntil::text, 'infinity'))] AS attributes,
              COALESCE((SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0), '{}') AS settings,
              (SELECT COALESCE(jsonb_agg(jsonb_build_object('role', g.rolname, 'options', to_jsonb(${options})) ORDER BY g.rolname), '[]')
                 FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) AS memberships
         FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%' AND ${among('r.oid', only)} AND (${NAMED_HERE}) ORDER BY r.rolname`,
    )
    return found.map((role) => ({ oid: role.oid, statements: roleStatements(role) }))
  },
}

function roleStatements(role: RoleRow): SchemaStatement[] {
  const { name } = role
  return collect({ kind: 'role', name }, (say) => {
    say(RANK.cluster, made(name))
    // Of the first role, and of whoever restores, nothing is changed.
    if (role.oid < 16384) return
    const object = { kind: ROLE_ATTRIBUTES, name }
    const give = (command: string): void =>
      say(
        RANK.settings + 2,
        `DO $tidemark$ BEGIN IF current_user <> ${quoteLiteral(name)} THEN EXECUTE ${quoteLiteral(command)}; END IF; END $tidemark$`,
        object,
      )
    give(`ALTER ROLE ${quoteName(name)} WITH ${role.attributes.join(' ')}`)
    for (const setting of role.settings) give(`ALTER ROLE ${quoteName(name)} SET ${settingClause(setting)}`)
    for (const { role: of, options } of role.memberships) {
      if (!of.startsWith('pg_')) say(RANK.settings + 2, made(of), object)
      give(
        `GRANT ${quoteName(of)} TO ${quoteName(name)}${options.length === 0 ? '' : ` WITH ${options.join(', ')}`}`,
      )
    }
  })
}

function made(name: string): string {
  return `DO $tidemark$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${quoteLiteral(name)}) THEN CREATE ROLE ${quoteName(name)} NOLOGIN; END IF; END $tidemark$`
}

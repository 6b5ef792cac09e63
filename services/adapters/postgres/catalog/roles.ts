/** Roles that own or are granted something; made without login where the target lacks them. */
import { quoteLiteral, quoteName } from '../../../core/relation.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { among, type CatalogKind } from './kind.ts'

/** Whom pg_shdepend names for this database's objects and for the database itself; the first role is named by none. */
const NAMED_HERE = `
  r.oid IN (SELECT d.refobjid FROM pg_shdepend d, pg_database b WHERE b.datname = current_database() AND d.refclassid = 'pg_authid'::regclass
               AND (d.dbid = b.oid OR (d.dbid = 0 AND d.classid = 'pg_database'::regclass AND d.objid = b.oid)))
  OR r.oid IN (SELECT s.setrole FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase WHERE b.datname = current_database())
  OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid >= 16384) OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid) OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid AND p.oid >= 16384)`

export const roles: CatalogKind = {
  name: 'role',
  title: 'Roles',
  covers: 'those that own or are granted something here; made without login where the target lacks them',
  class: 'pg_authid',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; name: string }>(
      `SELECT r.oid, rolname AS name FROM pg_roles r WHERE rolname NOT LIKE 'pg\\_%' AND ${among('r.oid', only)} AND (${NAMED_HERE}) ORDER BY rolname`,
    )
    return found.map(({ oid, name }) => ({
      oid,
      statements: [
        schemaStatement(
          RANK.cluster,
          { kind: 'role', name },
          `DO $tidemark$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${quoteLiteral(name)}) THEN CREATE ROLE ${quoteName(name)} NOLOGIN; END IF; END $tidemark$`,
        ),
      ],
    }))
  },
}

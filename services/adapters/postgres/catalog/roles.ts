/** Roles that own or are granted something; made without login where the target lacks them. */
import { quoteLiteral, quoteName } from '../../../core/relation.ts'
import { RANK } from '../../../formats/table-statements.ts'
import { among, type CatalogKind, statement } from './kind.ts'

export const roles: CatalogKind = {
  name: 'role',
  class: 'pg_authid',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; name: string }>(`
      SELECT r.oid, rolname AS name FROM pg_roles r WHERE rolname NOT LIKE 'pg\\_%' AND ${among('r.oid', only)}
         AND (EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
           OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid >= 16384) OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid) OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid AND p.oid >= 16384)) ORDER BY rolname`)
    return found.map(({ oid, name }) => ({
      oid,
      statements: [
        statement(
          RANK.cluster,
          { kind: 'role', name },
          `DO $tidemark$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${quoteLiteral(name)}) THEN CREATE ROLE ${quoteName(name)} NOLOGIN; END IF; END $tidemark$`,
        ),
      ],
    }))
  },
}

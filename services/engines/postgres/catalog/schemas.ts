/** Schemas, with owner, comment and rights. */
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { rightsCommands } from '../dialect/rights.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  OF_APPLICATION,
} from './kind.ts'

export const schemas: CatalogKind = {
  name: 'schema',
  title: 'Schemas',
  covers: 'owner, comment, rights; `public` loses what the target gave it',
  class: 'pg_namespace',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<Attributes & { name: string }>(`
      SELECT ${attributes({ class: 'pg_namespace', row: 'n', owner: 'n.nspowner', acl: 'n.nspacl', kind: 'n' })}, n.nspname AS name
        FROM pg_namespace n WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_namespace', 'n.oid')} AND ${among('n.oid', only)} ORDER BY n.oid`)
    return found.map((s) => ({ oid: s.oid, statements: schemaStatements(s) }))
  },
}

function schemaStatements(s: Attributes & { name: string }): ReturnType<typeof collect> {
  const name = quoteName(s.name)
  return collect({ kind: 'schema', name: s.name }, (say) => {
    say(RANK.schema, `CREATE SCHEMA IF NOT EXISTS ${name}`)
    if (s.comment !== null) say(RANK.behaviour, `COMMENT ON SCHEMA ${name} IS ${quoteLiteral(s.comment)}`)
    say(RANK.rights, `ALTER SCHEMA ${name} OWNER TO ${quoteName(s.owner)}`)
    // public is there before, with the rights that the target's version or template gives.
    const revokeFirst = s.name === 'public'
    const rights = rightsCommands({ ...s, on: `SCHEMA ${name}`, revokeFirst })
    if (revokeFirst) rights.unshift(REVOKE_ALL_ON_PUBLIC)
    for (const command of rights) say(RANK.rights, command)
  })
}

const REVOKE_ALL_ON_PUBLIC = `REVOKE ALL ON SCHEMA public FROM PUBLIC; DO $tidemark$ DECLARE who text; BEGIN
  FOR who IN SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) x WHERE n.nspname = 'public' LOOP
    EXECUTE 'REVOKE ALL ON SCHEMA public FROM ' || who || ' CASCADE'; END LOOP; END $tidemark$`

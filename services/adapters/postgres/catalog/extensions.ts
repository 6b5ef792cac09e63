/** Extensions: made by name; their members come with them. */
import { quoteName } from '../../../core/relation.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { among, type CatalogKind } from './kind.ts'

export const extensions: CatalogKind = {
  name: 'extension',
  title: 'Extensions',
  covers: 'by name; members come with them',
  class: 'pg_extension',
  order: 'first',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; name: string; schema: string }>(
      `SELECT e.oid, e.extname AS name, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname <> 'plpgsql' AND ${among('e.oid', only)} ORDER BY e.oid`,
    )
    return found.map((e) => ({
      oid: e.oid,
      statements: [
        schemaStatement(
          RANK.extension,
          { kind: 'extension', name: e.name },
          `CREATE EXTENSION IF NOT EXISTS ${quoteName(e.name)} SCHEMA ${quoteName(e.schema)} CASCADE`,
        ),
      ],
    }))
  },
}

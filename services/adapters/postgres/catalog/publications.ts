/** Publications of others: noted, not made. */
import { quoteName } from '../../../core/relation.ts'
import { among, type CatalogKind } from './kind.ts'

export const publications: CatalogKind = {
  name: 'publication',
  class: 'pg_publication',
  order: 'last',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; name: string }>(
      `SELECT p.oid, p.pubname AS name FROM pg_publication p WHERE NOT EXISTS (SELECT FROM tidemark.installation i WHERE i.publication = p.pubname) AND ${among('p.oid', only)}`,
    )
    return found.map((p) => ({
      oid: p.oid,
      statements: [],
      notes: [`publication ${quoteName(p.name)}: not made in a restore (make it again where it is wanted)`],
    }))
  },
}

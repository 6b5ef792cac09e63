/** Extended statistics. */
import { RANK } from '../../../formats/table-statements.ts'
import { among, type CatalogKind, OF_APPLICATION, statement } from './kind.ts'

export const statistics: CatalogKind = {
  name: 'statistics',
  class: 'pg_statistic_ext',
  order: 'last',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; schema: string; name: string; definition: string }>(
      `SELECT s.oid, n.nspname AS schema, s.stxname AS name, pg_get_statisticsobjdef(s.oid) AS definition
         FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE ${OF_APPLICATION} AND ${among('s.oid', only)} ORDER BY s.oid`,
    )
    return found.map((s) => ({
      oid: s.oid,
      statements: [
        statement(RANK.behaviour, { kind: 'statistics', schema: s.schema, name: s.name }, s.definition),
      ],
    }))
  },
}

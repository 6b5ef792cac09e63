/** Extended statistics. */
import { quoteTable } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  OF_APPLICATION,
  sayAttributes,
} from './kind.ts'

interface StatisticsRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly definition: string
  readonly target: number | null
}

export const statistics: CatalogKind = {
  name: 'statistics',
  title: 'Extended statistics',
  covers: 'with target, owner and comment',
  class: 'pg_statistic_ext',
  order: 'last',
  async read(catalog, only) {
    const found = await catalog.rows<StatisticsRow>(
      `SELECT ${attributes({ class: 'pg_statistic_ext', row: 's', owner: 's.stxowner' })}, n.nspname AS schema, s.stxname AS name, pg_get_statisticsobjdef(s.oid) AS definition, s.stxstattarget AS target
         FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_statistic_ext', 's.oid')} AND ${among('s.oid', only)} ORDER BY s.oid`,
    )
    return found.map((s) => ({
      oid: s.oid,
      statements: collect({ kind: 'statistics', schema: s.schema, name: s.name }, (say) => {
        say(RANK.behaviour, s.definition)
        if (s.target !== null && s.target >= 0)
          say(RANK.behaviour, `ALTER STATISTICS ${quoteTable(s)} SET STATISTICS ${s.target}`)
        sayAttributes(say, s, { address: `STATISTICS ${quoteTable(s)}` })
      }),
    }))
  },
}

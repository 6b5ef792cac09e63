/** Aggregates. */
import { quoteLiteral, quoteTable } from '../dialect/quote.ts'
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

interface AggregateRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly args: string
  readonly types: string
  readonly options: readonly string[]
  readonly initial: string | null
  readonly movingInitial: string | null
}

const PARTS: readonly (readonly [string, string])[] = [
  ['FINALFUNC', 'aggfinalfn'],
  ['COMBINEFUNC', 'aggcombinefn'],
  ['SERIALFUNC', 'aggserialfn'],
  ['DESERIALFUNC', 'aggdeserialfn'],
  ['MSFUNC', 'aggmtransfn'],
  ['MINVFUNC', 'aggminvtransfn'],
  ['MFINALFUNC', 'aggmfinalfn'],
]

export const aggregates: CatalogKind = {
  name: 'aggregate',
  title: 'Aggregates',
  covers: 'with owner, comment, rights',
  class: 'pg_proc',
  order: 'by dependency',
  async read(catalog, only) {
    const functions = PARTS.map(
      ([option, column]) => `CASE WHEN a.${column} <> 0 THEN '${option} = ' || a.${column}::text END`,
    )
    // What the state may be after the final function: the usual differs for ordered sets.
    const modify = (option: string, column: string): string =>
      `CASE WHEN a.${column} <> CASE WHEN a.aggkind = 'n' THEN 'r' ELSE 'w' END::"char" THEN '${option} = ' || CASE a.${column} WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END`
    const found = await catalog.rows<AggregateRow>(`
      SELECT ${attributes({ class: 'pg_proc', row: 'p', owner: 'p.proowner', acl: 'p.proacl', kind: 'f' })}, n.nspname AS schema, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS args, oidvectortypes(p.proargtypes) AS types,
             a.agginitval AS initial, a.aggminitval AS "movingInitial",
             array_remove(ARRAY['SFUNC = ' || a.aggtransfn::text, 'STYPE = ' || format_type(a.aggtranstype, NULL), CASE WHEN a.aggtransspace <> 0 THEN 'SSPACE = ' || a.aggtransspace END, ${functions.join(', ')},
               CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END, CASE WHEN a.aggfinalfn <> 0 OR a.aggfinalmodify = 'w' AND a.aggkind = 'n' THEN ${modify('FINALFUNC_MODIFY', 'aggfinalmodify')} END,
               CASE WHEN a.aggmtranstype <> 0 THEN 'MSTYPE = ' || format_type(a.aggmtranstype, NULL) END, CASE WHEN a.aggmtransspace <> 0 THEN 'MSSPACE = ' || a.aggmtransspace END,
               CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END, CASE WHEN a.aggmfinalfn <> 0 THEN ${modify('MFINALFUNC_MODIFY', 'aggmfinalmodify')} END,
               CASE WHEN a.aggsortop <> 0 THEN (SELECT format('SORTOP = OPERATOR(%I.%s)', sn.nspname, so.oprname) FROM pg_operator so JOIN pg_namespace sn ON sn.oid = so.oprnamespace WHERE so.oid = a.aggsortop) END,
               CASE WHEN a.aggkind = 'h' THEN 'HYPOTHETICAL' END, CASE p.proparallel WHEN 's' THEN 'PARALLEL = SAFE' WHEN 'r' THEN 'PARALLEL = RESTRICTED' END], NULL) AS options
        FROM pg_proc p JOIN pg_aggregate a ON a.aggfnoid = p.oid JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE ${OF_APPLICATION} AND p.prokind = 'a' AND ${notOfExtension('pg_proc', 'p.oid')} AND ${among('p.oid', only)} ORDER BY p.oid`)
    return found.map((a) => {
      const options = [...a.options]
      if (a.initial !== null) options.push(`INITCOND = ${quoteLiteral(a.initial)}`)
      if (a.movingInitial !== null) options.push(`MINITCOND = ${quoteLiteral(a.movingInitial)}`)
      const args = a.args === '' ? '*' : a.args
      return {
        oid: a.oid,
        statements: collect({ kind: 'aggregate', schema: a.schema, name: a.name }, (say) => {
          say(RANK.create, `CREATE AGGREGATE ${quoteTable(a)} (${args}) (${options.join(', ')})`)
          sayAttributes(say, a, {
            address: `AGGREGATE ${quoteTable(a)} (${args})`,
            grantOn: `FUNCTION ${quoteTable(a)}(${a.types})`,
          })
        }),
      }
    })
  },
}

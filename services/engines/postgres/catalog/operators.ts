/** Operators, and the families and classes that indexes find them by. */
import { quoteName, quoteTable } from '../dialect/quote.ts'
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

interface OperatorRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly left: string | null
  readonly right: string
  readonly options: readonly string[]
}

export const operators: CatalogKind = {
  name: 'operator',
  title: 'Operators',
  covers: 'with owner and comment',
  class: 'pg_operator',
  order: 'by dependency',
  async read(catalog, only) {
    const named = (column: string): string =>
      `(SELECT format('OPERATOR(%I.%s)', xn.nspname, x.oprname) FROM pg_operator x JOIN pg_namespace xn ON xn.oid = x.oprnamespace WHERE x.oid = o.${column})`
    const found = await catalog.rows<OperatorRow>(`
      SELECT ${attributes({ class: 'pg_operator', row: 'o', owner: 'o.oprowner' })}, n.nspname AS schema, o.oprname AS name,
             CASE WHEN o.oprleft <> 0 THEN format_type(o.oprleft, NULL) END AS left, format_type(o.oprright, NULL) AS right,
             array_remove(ARRAY['FUNCTION = ' || o.oprcode::text, CASE WHEN o.oprleft <> 0 THEN 'LEFTARG = ' || format_type(o.oprleft, NULL) END, 'RIGHTARG = ' || format_type(o.oprright, NULL),
               'COMMUTATOR = ' || ${named('oprcom')}, 'NEGATOR = ' || ${named('oprnegate')}, CASE WHEN o.oprrest <> 0 THEN 'RESTRICT = ' || o.oprrest::text END, CASE WHEN o.oprjoin <> 0 THEN 'JOIN = ' || o.oprjoin::text END,
               CASE WHEN o.oprcanhash THEN 'HASHES' END, CASE WHEN o.oprcanmerge THEN 'MERGES' END], NULL) AS options
        FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
       WHERE ${OF_APPLICATION} AND o.oprcode <> 0 AND ${notOfExtension('pg_operator', 'o.oid')} AND ${among('o.oid', only)} ORDER BY o.oid`)
    return found.map((o) => {
      const name = `${quoteName(o.schema)}.${o.name}`
      return {
        oid: o.oid,
        statements: collect({ kind: 'operator', schema: o.schema, name: o.name }, (say) => {
          say(RANK.create, `CREATE OPERATOR ${name} (${o.options.join(', ')})`)
          sayAttributes(say, o, { address: `OPERATOR ${name} (${o.left ?? 'NONE'}, ${o.right})` })
        }),
      }
    })
  },
}

/** Operators and functions that pg_depend counts to a class or a family, as both CREATE and ALTER name them. */
function members(owner: string, oid: string): string {
  return `ARRAY(SELECT 'OPERATOR ' || m.amopstrategy || format(' %I.%s', xn.nspname, x.oprname) || format(' (%s, %s)', format_type(m.amoplefttype, NULL), format_type(m.amoprighttype, NULL))
           || COALESCE((SELECT format(' FOR ORDER BY %I.%I', sn.nspname, sf.opfname) FROM pg_opfamily sf JOIN pg_namespace sn ON sn.oid = sf.opfnamespace WHERE sf.oid = m.amopsortfamily), '')
      FROM pg_depend d JOIN pg_amop m ON m.oid = d.objid JOIN pg_operator x ON x.oid = m.amopopr JOIN pg_namespace xn ON xn.oid = x.oprnamespace
     WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = '${owner}'::regclass AND d.refobjid = ${oid} ORDER BY m.amopstrategy, m.oid)
    || ARRAY(SELECT 'FUNCTION ' || m.amprocnum || format(' (%s, %s)', format_type(m.amproclefttype, NULL), format_type(m.amprocrighttype, NULL)) || ' ' || m.amproc::regprocedure::text
      FROM pg_depend d JOIN pg_amproc m ON m.oid = d.objid WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = '${owner}'::regclass AND d.refobjid = ${oid} ORDER BY m.amprocnum, m.oid)`
}

interface FamilyRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly method: string
  readonly members: readonly string[]
}

export const operatorFamilies: CatalogKind = {
  name: 'operatorFamily',
  title: 'Operator families',
  covers: 'with their loose members',
  class: 'pg_opfamily',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<FamilyRow>(`
      SELECT ${attributes({ class: 'pg_opfamily', row: 'f', owner: 'f.opfowner' })}, n.nspname AS schema, f.opfname AS name, am.amname AS method, ${members('pg_opfamily', 'f.oid')} AS members
        FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am am ON am.oid = f.opfmethod
       WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_opfamily', 'f.oid')} AND ${among('f.oid', only)} ORDER BY f.oid`)
    return found.map((f) => {
      const name = `OPERATOR FAMILY ${quoteTable(f)} USING ${quoteName(f.method)}`
      return {
        oid: f.oid,
        statements: collect({ kind: 'operatorFamily', schema: f.schema, name: f.name }, (say) => {
          say(RANK.create, `CREATE ${name}`)
          if (f.members.length > 0) say(RANK.create, `ALTER ${name} ADD ${f.members.join(', ')}`)
          sayAttributes(say, f, { address: name })
        }),
      }
    })
  },
}

interface ClassRow extends FamilyRow {
  readonly family: string
  readonly default: boolean
  readonly type: string
  readonly stored: string
}

export const operatorClasses: CatalogKind = {
  name: 'operatorClass',
  title: 'Operator classes',
  covers: 'with their members',
  class: 'pg_opclass',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ClassRow>(`
      SELECT ${attributes({ class: 'pg_opclass', row: 'c', owner: 'c.opcowner' })}, n.nspname AS schema, c.opcname AS name, am.amname AS method, c.opcdefault AS default, format_type(c.opcintype, NULL) AS type,
             format_type(CASE WHEN c.opckeytype <> 0 THEN c.opckeytype ELSE c.opcintype END, NULL) AS stored, (SELECT format('%I.%I', fn.nspname, f.opfname) FROM pg_opfamily f JOIN pg_namespace fn ON fn.oid = f.opfnamespace WHERE f.oid = c.opcfamily) AS family,
             ${members('pg_opclass', 'c.oid')} AS members
        FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace JOIN pg_am am ON am.oid = c.opcmethod
       WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_opclass', 'c.oid')} AND ${among('c.oid', only)} ORDER BY c.oid`)
    return found.map((c) => {
      const name = `OPERATOR CLASS ${quoteTable(c)}`
      const parts = [...c.members]
      // One clause there must be, and the type that is stored is one.
      if (parts.length === 0 || c.stored !== c.type) parts.push(`STORAGE ${c.stored}`)
      return {
        oid: c.oid,
        statements: collect({ kind: 'operatorClass', schema: c.schema, name: c.name }, (say) => {
          say(
            RANK.create,
            `CREATE ${name}${c.default ? ' DEFAULT' : ''} FOR TYPE ${c.type} USING ${quoteName(c.method)} FAMILY ${c.family} AS ${parts.join(', ')}`,
          )
          sayAttributes(say, c, { address: `${name} USING ${quoteName(c.method)}` })
        }),
      }
    })
  },
}

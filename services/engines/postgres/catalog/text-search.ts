/** Text search: parsers, templates, dictionaries, configurations. */
import { quoteName, quoteTable } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  type CatalogObject,
  notOfExtension,
  OF_APPLICATION,
  sayAttributes,
} from './kind.ts'

interface NamedRow extends Attributes {
  readonly schema: string
  readonly name: string
  readonly options: readonly string[]
}

/** Each token type with its dictionaries in order. */
interface ConfigurationRow extends NamedRow {
  readonly mappings: readonly { token: string; dictionaries: string[] }[]
}

function objectOf(
  kind: string,
  word: string,
  row: NamedRow,
  owned: boolean,
  more: readonly string[] = [],
): CatalogObject {
  const name = `TEXT SEARCH ${word} ${quoteTable(row)}`
  return {
    oid: row.oid,
    statements: collect({ kind, schema: row.schema, name: row.name }, (say) => {
      say(RANK.create, `CREATE ${name} (${row.options.join(', ')})`)
      for (const clause of more) say(RANK.create, `ALTER ${name} ${clause}`)
      sayAttributes(say, row, { address: name, owned })
    }),
  }
}

const functionOptions = (parts: readonly (readonly [string, string])[]): string =>
  `array_remove(ARRAY[${parts.map(([option, column]) => `CASE WHEN t.${column} <> 0 THEN '${option} = ' || t.${column}::text END`).join(', ')}], NULL)`

export const textSearchParsers: CatalogKind = {
  name: 'textSearchParser',
  title: 'Text search parsers',
  covers: 'with comment',
  class: 'pg_ts_parser',
  order: 'by dependency',
  async read(catalog, only) {
    const options = functionOptions([
      ['START', 'prsstart'],
      ['GETTOKEN', 'prstoken'],
      ['END', 'prsend'],
      ['LEXTYPES', 'prslextype'],
      ['HEADLINE', 'prsheadline'],
    ])
    const found = await catalog.rows<NamedRow>(`
      SELECT ${attributes({ class: 'pg_ts_parser', row: 't' })}, n.nspname AS schema, t.prsname AS name, ${options} AS options
        FROM pg_ts_parser t JOIN pg_namespace n ON n.oid = t.prsnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_ts_parser', 't.oid')} AND ${among('t.oid', only)} ORDER BY t.oid`)
    return found.map((row) => objectOf('textSearchParser', 'PARSER', row, false))
  },
}

export const textSearchTemplates: CatalogKind = {
  name: 'textSearchTemplate',
  title: 'Text search templates',
  covers: 'with comment',
  class: 'pg_ts_template',
  order: 'by dependency',
  async read(catalog, only) {
    const options = functionOptions([
      ['INIT', 'tmplinit'],
      ['LEXIZE', 'tmpllexize'],
    ])
    const found = await catalog.rows<NamedRow>(`
      SELECT ${attributes({ class: 'pg_ts_template', row: 't' })}, n.nspname AS schema, t.tmplname AS name, ${options} AS options
        FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_ts_template', 't.oid')} AND ${among('t.oid', only)} ORDER BY t.oid`)
    return found.map((row) => objectOf('textSearchTemplate', 'TEMPLATE', row, false))
  },
}

export const textSearchDictionaries: CatalogKind = {
  name: 'textSearchDictionary',
  title: 'Text search dictionaries',
  covers: 'with owner and comment',
  class: 'pg_ts_dict',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<NamedRow>(`
      SELECT ${attributes({ class: 'pg_ts_dict', row: 't', owner: 't.dictowner' })}, n.nspname AS schema, t.dictname AS name,
             array_remove(ARRAY[(SELECT format('TEMPLATE = %I.%I', xn.nspname, x.tmplname) FROM pg_ts_template x JOIN pg_namespace xn ON xn.oid = x.tmplnamespace WHERE x.oid = t.dicttemplate), t.dictinitoption], NULL) AS options
        FROM pg_ts_dict t JOIN pg_namespace n ON n.oid = t.dictnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_ts_dict', 't.oid')} AND ${among('t.oid', only)} ORDER BY t.oid`)
    return found.map((row) => objectOf('textSearchDictionary', 'DICTIONARY', row, true))
  },
}

export const textSearchConfigurations: CatalogKind = {
  name: 'textSearchConfiguration',
  title: 'Text search configurations',
  covers: 'with mappings, owner and comment',
  class: 'pg_ts_config',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ConfigurationRow>(`
      SELECT ${attributes({ class: 'pg_ts_config', row: 't', owner: 't.cfgowner' })}, n.nspname AS schema, t.cfgname AS name,
             ARRAY(SELECT format('PARSER = %I.%I', xn.nspname, x.prsname) FROM pg_ts_parser x JOIN pg_namespace xn ON xn.oid = x.prsnamespace WHERE x.oid = t.cfgparser) AS options,
             (SELECT COALESCE(jsonb_agg(jsonb_build_object('token', g.token, 'dictionaries', g.dictionaries) ORDER BY g.maptokentype), '[]')
                FROM (SELECT m.maptokentype, (SELECT k.alias FROM ts_token_type(t.cfgparser) k WHERE k.tokid = m.maptokentype) AS token,
                             jsonb_agg(format('%I.%I', dn.nspname, d.dictname) ORDER BY m.mapseqno) AS dictionaries
                        FROM pg_ts_config_map m JOIN pg_ts_dict d ON d.oid = m.mapdict JOIN pg_namespace dn ON dn.oid = d.dictnamespace WHERE m.mapcfg = t.oid GROUP BY m.maptokentype) g) AS mappings
        FROM pg_ts_config t JOIN pg_namespace n ON n.oid = t.cfgnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_ts_config', 't.oid')} AND ${among('t.oid', only)} ORDER BY t.oid`)
    return found.map((row) =>
      objectOf(
        'textSearchConfiguration',
        'CONFIGURATION',
        row,
        true,
        row.mappings.map((m) => `ADD MAPPING FOR ${quoteName(m.token)} WITH ${m.dictionaries.join(', ')}`),
      ),
    )
  },
}

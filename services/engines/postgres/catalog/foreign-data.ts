/** Foreign data wrappers, servers, user mappings: without what looks like a secret, which is named in a note instead. */
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import {
  among,
  type Attributes,
  attributes,
  type CatalogKind,
  notOfExtension,
  sayAttributes,
} from './kind.ts'

/** name=value, as the catalogs have them. */
type Options = readonly string[] | null

const SECRET = /pass|secret|token|credential|private|key$|keytab/i

/** OPTIONS (…), or nothing where there are none. */
export function optionsClause(options: Options): string {
  const all = (options ?? []).map((option) => {
    const cut = option.indexOf('=')
    return `${quoteName(option.slice(0, cut))} ${quoteLiteral(option.slice(cut + 1))}`
  })
  return all.length === 0 ? '' : ` OPTIONS (${all.join(', ')})`
}

/** The clause without secrets, and the names of those left out. */
function withoutSecrets(options: Options): { readonly clause: string; readonly left: readonly string[] } {
  const nameOf = (option: string): string => option.slice(0, option.indexOf('='))
  const all = options ?? []
  return {
    clause: optionsClause(all.filter((option) => !SECRET.test(nameOf(option)))),
    left: all.map(nameOf).filter((name) => SECRET.test(name)),
  }
}

function notesOf(what: string, left: readonly string[]): string[] {
  return left.length === 0 ? [] : [`${what}: not stored, set it again in a restore: ${left.join(', ')}`]
}

interface WrapperRow extends Attributes {
  readonly name: string
  readonly functions: readonly string[]
  readonly options: Options
}

export const foreignDataWrappers: CatalogKind = {
  name: 'foreignDataWrapper',
  title: 'Foreign data wrappers',
  covers: 'without options that look like secrets (a note names them)',
  class: 'pg_foreign_data_wrapper',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<WrapperRow>(`
      SELECT ${attributes({ class: 'pg_foreign_data_wrapper', row: 'f', owner: 'f.fdwowner', acl: 'f.fdwacl', kind: 'F' })}, f.fdwname AS name, f.fdwoptions AS options,
             array_remove(ARRAY[CASE WHEN f.fdwhandler <> 0 THEN 'HANDLER ' || f.fdwhandler::regproc::text END, CASE WHEN f.fdwvalidator <> 0 THEN 'VALIDATOR ' || f.fdwvalidator::regproc::text END], NULL) AS functions
        FROM pg_foreign_data_wrapper f WHERE ${notOfExtension('pg_foreign_data_wrapper', 'f.oid')} AND ${among('f.oid', only)} ORDER BY f.oid`)
    return found.map((f) => {
      const name = `FOREIGN DATA WRAPPER ${quoteName(f.name)}`
      const { clause, left } = withoutSecrets(f.options)
      return {
        oid: f.oid,
        notes: notesOf(`foreign data wrapper ${quoteName(f.name)}`, left),
        statements: collect({ kind: 'foreignDataWrapper', name: f.name }, (say) => {
          say(RANK.create, `${[`CREATE ${name}`, ...f.functions].join(' ')}${clause}`)
          sayAttributes(say, f, { address: name })
        }),
      }
    })
  },
}

interface ServerRow extends Attributes {
  readonly name: string
  readonly type: string | null
  readonly version: string | null
  readonly wrapper: string
  readonly options: Options
}

export const foreignServers: CatalogKind = {
  name: 'foreignServer',
  title: 'Foreign servers',
  covers: 'without options that look like secrets (a note names them)',
  class: 'pg_foreign_server',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<ServerRow>(`
      SELECT ${attributes({ class: 'pg_foreign_server', row: 's', owner: 's.srvowner', acl: 's.srvacl', kind: 'S' })}, s.srvname AS name, s.srvtype AS type, s.srvversion AS version, w.fdwname AS wrapper, s.srvoptions AS options
        FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE ${notOfExtension('pg_foreign_server', 's.oid')} AND ${among('s.oid', only)} ORDER BY s.oid`)
    return found.map((s) => {
      const name = quoteName(s.name)
      const type = s.type === null ? '' : ` TYPE ${quoteLiteral(s.type)}`
      const version = s.version === null ? '' : ` VERSION ${quoteLiteral(s.version)}`
      const { clause, left } = withoutSecrets(s.options)
      return {
        oid: s.oid,
        notes: notesOf(`server ${name}`, left),
        statements: collect({ kind: 'foreignServer', name: s.name }, (say) => {
          say(
            RANK.create,
            `CREATE SERVER ${name}${type}${version} FOREIGN DATA WRAPPER ${quoteName(s.wrapper)}${clause}`,
          )
          sayAttributes(say, s, { address: `SERVER ${name}`, grantOn: `FOREIGN SERVER ${name}` })
        }),
      }
    })
  },
}

interface MappingRow {
  readonly oid: number
  readonly role: string
  readonly server: string
  readonly options: Options
  readonly readable: boolean
}

export const userMappings: CatalogKind = {
  name: 'userMapping',
  title: 'User mappings',
  covers: 'without options that look like secrets (a note names them)',
  class: 'pg_user_mapping',
  order: 'by dependency',
  async read(catalog, only) {
    // The view shows the options to those who may see them.
    const found = await catalog.rows<MappingRow>(`
      SELECT m.umid AS oid, CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE quote_ident(m.usename) END AS role, m.srvname AS server, m.umoptions AS options,
             m.umoptions IS NOT NULL OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS readable
        FROM pg_user_mappings m WHERE ${notOfExtension('pg_user_mapping', 'm.umid')} AND ${among('m.umid', only)} ORDER BY m.umid`)
    return found.map((m) => {
      const { clause, left } = withoutSecrets(m.options)
      const name = `user mapping of ${m.role} for server ${quoteName(m.server)}`
      return {
        oid: m.oid,
        notes: m.readable ? notesOf(name, left) : [`${name}: its options cannot be read by Tidemark's role`],
        statements: collect({ kind: 'userMapping', name: `${m.role} ${m.server}` }, (say) =>
          say(RANK.rights, `CREATE USER MAPPING FOR ${m.role} SERVER ${quoteName(m.server)}${clause}`),
        ),
      }
    })
  },
}

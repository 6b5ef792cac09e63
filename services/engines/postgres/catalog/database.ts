/** The database itself: owner, comment, rights, and what it and roles in it are set to. Its name may be another. */
import { quoteLiteral, quoteName } from '../dialect/quote.ts'
import { collect, RANK, type Say } from '../../../formats/rank.ts'
import { rightsCommands } from '../dialect/rights.ts'
import { among, type CatalogKind } from './kind.ts'

interface DatabaseRow {
  readonly oid: number
  readonly owner: string
  readonly comment: string | null
  readonly acl: readonly string[] | null
  readonly aclDefault: readonly string[]
  readonly settings: readonly { readonly role: string | null; readonly settings: readonly string[] }[]
}

/** Settings whose value is a list that is quoted already (guc_tables.c: GUC_LIST_QUOTE). */
const LISTS = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
])

export const database: CatalogKind = {
  name: 'database',
  title: 'The database',
  covers: "owner, comment, rights, settings of the database and of roles in it; its name is the target's",
  class: 'pg_database',
  order: 'last',
  async read(catalog, only) {
    const found = await catalog.rows<DatabaseRow>(`
      SELECT d.oid, pg_get_userbyid(d.datdba) AS owner, shobj_description(d.oid, 'pg_database') AS comment, d.datacl::text[] AS acl, acldefault('d', d.datdba)::text[] AS "aclDefault",
             (SELECT COALESCE(jsonb_agg(jsonb_build_object('role', r.rolname, 'settings', to_jsonb(s.setconfig)) ORDER BY r.rolname NULLS FIRST), '[]')
                FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid) AS settings
        FROM pg_database d WHERE d.datname = current_database() AND ${among('d.oid', only)}`)
    return found.map((d) => ({
      oid: d.oid,
      statements: collect({ kind: 'database', name: 'the database' }, (say) => {
        say(RANK.cluster + 1, FORGET_DEFAULT_PRIVILEGES)
        sayHere(say, [`ALTER DATABASE %1$I OWNER TO ${escaped(quoteName(d.owner))}`])
        const rights = rightsCommands({ ...d, on: 'DATABASE %1$I', revokeFirst: true })
        sayHere(
          say,
          rights.map((command) =>
            command.replace(
              /^(.* ON DATABASE %1\$I)(.*)$/s,
              (_, head: string, tail: string) => head + escaped(tail),
            ),
          ),
        )
        if (d.comment !== null)
          sayHere(say, [`COMMENT ON DATABASE %1$I IS ${escaped(quoteLiteral(d.comment))}`])
        for (const { role, settings } of d.settings)
          for (const setting of settings)
            sayHere(say, [
              `ALTER ${role === null ? 'DATABASE' : `ROLE ${escaped(quoteName(role))} IN DATABASE`} %1$I SET ${escaped(settingClause(setting))}`,
            ])
      }),
    }))
  },
}

/** The target's own would be added to all that a restore makes: the source's come last. */
const FORGET_DEFAULT_PRIVILEGES = `DO $tidemark$ DECLARE d record; who text; head text; BEGIN
  FOR d IN SELECT pg_catalog.pg_get_userbyid(a.defaclrole) AS role, n.nspname, a.defaclobjtype AS kind, a.defaclacl AS acl,
                  CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kinds
             FROM pg_catalog.pg_default_acl a LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace LOOP
    head := pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s ', d.role, CASE WHEN d.nspname IS NULL THEN '' ELSE pg_catalog.format(' IN SCHEMA %I', d.nspname) END);
    FOR who IN SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END FROM pg_catalog.aclexplode(d.acl) x LOOP
      EXECUTE head || 'REVOKE ALL ON ' || d.kinds || ' FROM ' || who;
    END LOOP;
    CONTINUE WHEN d.nspname IS NOT NULL;
    IF d.kind IN ('f', 'T') THEN EXECUTE head || 'GRANT ALL ON ' || d.kinds || ' TO PUBLIC'; END IF;
    EXECUTE head || pg_catalog.format('GRANT ALL ON %s TO %I', d.kinds, d.role);
  END LOOP; END $tidemark$`

/** Commands as format() templates, with the name of the database where they run in place of %1$I. */
function sayHere(say: Say, templates: readonly string[]): void {
  if (templates.length === 0) return
  const lines = templates.map(
    (template) => `EXECUTE pg_catalog.format(${quoteLiteral(template)}, pg_catalog.current_database())`,
  )
  say(RANK.settings, `DO $tidemark$ BEGIN ${lines.join('; ')}; END $tidemark$`)
}

function escaped(text: string): string {
  return text.replaceAll('%', '%%')
}

/** What stands behind SET. @param setting name=value, as pg_db_role_setting has it */
export function settingClause(setting: string): string {
  const cut = setting.indexOf('=')
  const name = setting.slice(0, cut)
  const value = setting.slice(cut + 1)
  const words = LISTS.has(name.toLowerCase())
    ? listWords(value).map(quoteLiteral).join(', ')
    : quoteLiteral(value)
  return `${name.split('.').map(quoteName).join('.')} TO ${words === '' ? "''" : words}`
}

/** SplitGUCList of the server: comma-separated, each bare or in double quotes. */
function listWords(value: string): string[] {
  return [...value.matchAll(/\s*("(?:[^"]|"")*"|[^,]+)\s*(?:,|$)/g)].map(([, word = '']) =>
    word.startsWith('"') ? word.slice(1, -1).replaceAll('""', '"') : word.trim(),
  )
}

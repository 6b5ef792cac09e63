/**
 * Rights that were changed on what the server or an extension brought (pg_init_privs has what it came with): only the
 * difference is made, for the target's version may bring other ones.
 */
import { quoteName } from '../dialect/quote.ts'
import { collect, RANK } from '../../../formats/rank.ts'
import { columnRightsDifference, rightsDifference } from '../dialect/rights.ts'
import type { CatalogKind } from './kind.ts'

interface InitialRightsRow {
  readonly oid: number
  readonly on: string
  readonly owner: string
  readonly acl: readonly string[]
  readonly initial: readonly string[]
  readonly column: string | null
}

/** Each class with rights: how GRANT names an object of it, and where owner and rights stand. */
const CLASSES: readonly (readonly [string, string, string, string, string])[] = [
  [
    'pg_proc',
    `(CASE o.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END || format(' %I.%I(%s)', n.nspname, o.proname, oidvectortypes(o.proargtypes)))`,
    'o.proowner',
    'o.proacl',
    'f',
  ],
  [
    'pg_class',
    `((CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END) || format(' %I.%I', n.nspname, o.relname))`,
    'o.relowner',
    'o.relacl',
    'r',
  ],
  ['pg_type', `format('TYPE %I.%I', n.nspname, o.typname)`, 'o.typowner', 'o.typacl', 'T'],
  ['pg_language', `format('LANGUAGE %I', o.lanname)`, 'o.lanowner', 'o.lanacl', 'l'],
]

const NAMESPACE: Readonly<Record<string, string>> = {
  pg_proc: 'JOIN pg_namespace n ON n.oid = o.pronamespace',
  pg_class: "JOIN pg_namespace n ON n.oid = o.relnamespace AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
  pg_type: 'JOIN pg_namespace n ON n.oid = o.typnamespace',
  pg_language: '',
}

const COLUMNS = `
      SELECT o.oid, format('TABLE %I.%I', n.nspname, o.relname), pg_get_userbyid(o.relowner), COALESCE(a.attacl, '{}')::text[], COALESCE(i.initprivs, '{}')::text[], a.attname
        FROM pg_attribute a JOIN pg_class o ON o.oid = a.attrelid ${NAMESPACE['pg_class'] ?? ''} LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = o.oid AND i.objsubid = a.attnum
       WHERE (o.oid < 16384 OR EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = o.oid AND e.deptype = 'e'))
         AND NOT a.attisdropped AND (a.attacl IS NOT NULL OR i.initprivs IS NOT NULL) AND a.attacl IS DISTINCT FROM i.initprivs`

export const initialRights: CatalogKind = {
  name: 'initialRights',
  title: 'Rights on built-in objects and on members of extensions',
  covers: 'rights changed on what the server or an extension brought; only the difference is made',
  class: 'pg_init_privs',
  order: 'last',
  async read(catalog) {
    const queries = CLASSES.map(
      ([name, on, owner, acl, kind]) => `
      SELECT o.oid, ${on} AS on, pg_get_userbyid(${owner}) AS owner, COALESCE(${acl}, acldefault('${kind}', ${owner}))::text[] AS acl, COALESCE(i.initprivs, acldefault('${kind}', ${owner}))::text[] AS initial, NULL AS column
        FROM ${name} o ${NAMESPACE[name] ?? ''} LEFT JOIN pg_init_privs i ON i.classoid = '${name}'::regclass AND i.objoid = o.oid AND i.objsubid = 0
       WHERE (o.oid < 16384 OR EXISTS (SELECT FROM pg_depend e WHERE e.classid = '${name}'::regclass AND e.objid = o.oid AND e.deptype = 'e'))
         AND (${acl} IS NOT NULL OR i.initprivs IS NOT NULL) AND ${acl} IS DISTINCT FROM i.initprivs`,
    )
    const found = await catalog.rows<InitialRightsRow>(
      `${[...queries, COLUMNS].join(' UNION ALL ')} ORDER BY "on", "column"`,
    )
    return found.map((row) => ({
      oid: row.oid,
      statements: collect({ kind: 'initialRights', name: row.on }, (say) => {
        const owner = quoteName(row.owner)
        const commands =
          row.column === null
            ? rightsDifference(row.on, owner, row.initial, row.acl)
            : columnRightsDifference(row.on, owner, row.column, row.initial, row.acl)
        for (const command of commands) say(RANK.rights, command)
      }),
    }))
  },
}

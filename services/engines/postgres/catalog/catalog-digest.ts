/**
 * One number over the whole catalog, from one query without a lock: another one says that the schema was changed since,
 * whether or not a record tells it. What only moves is not in it: files (TRUNCATE, REFRESH), statistics, temporary objects.
 */
import { type Catalog, OF_APPLICATION } from './kind.ts'

/** Parts of relations: the class, and its column with the relation. */
const OF_RELATIONS: readonly (readonly [string, string, string?])[] = [
  ['pg_attribute', 'attrelid', 'o.attnum > 0 AND o.attrelid >= 16384'],
  ['pg_index', 'indrelid'],
  ['pg_attrdef', 'adrelid'],
  ['pg_constraint', 'conrelid'],
  ['pg_trigger', 'tgrelid'],
  ['pg_policy', 'polrelid'],
  ['pg_rewrite', 'ev_class'],
  ['pg_inherits', 'inhrelid'],
  ['pg_sequence', 'seqrelid'],
  ['pg_partitioned_table', 'partrelid'],
  ['pg_foreign_table', 'ftrelid'],
  // Whose a sequence is, and what belongs to an extension.
  ['pg_depend', 'objid', `(o.deptype = 'e' OR o.classid = 'pg_class'::regclass AND o.deptype IN ('a', 'i'))`],
  ['pg_description', 'objoid', 'o.objoid >= 16384 OR o.classoid IN (2615, 3456)'],
]

const MADE = 'o.oid >= 16384'
const OURS = '(SELECT p.oid FROM pg_publication p JOIN tidemark.installation i ON i.publication = p.pubname)'
/** The others, each with what of it counts. */
const OTHERS: readonly (readonly [string, string])[] = [
  ['pg_type', `${MADE} AND o.typnamespace NOT IN (SELECT t.oid FROM temporary_schema t)`],
  ['pg_proc', 'o.pronamespace NOT IN (SELECT t.oid FROM temporary_schema t)'],
  ['pg_namespace', 'o.oid NOT IN (SELECT t.oid FROM temporary_schema t)'],
  ['pg_enum', 'true'],
  ['pg_range', 'o.rngtypid >= 16384'],
  ['pg_aggregate', 'o.aggfnoid >= 16384'],
  ['pg_language', 'true'],
  ['pg_extension', 'true'],
  ['pg_default_acl', 'true'],
  ['pg_init_privs', 'true'],
  ['pg_event_trigger', 'true'],
  ['pg_statistic_ext', 'true'],
  ['pg_publication', `o.oid NOT IN ${OURS}`],
  ['pg_publication_rel', `o.prpubid NOT IN ${OURS}`],
  ['pg_publication_namespace', `o.pnpubid NOT IN ${OURS}`],
  ['pg_foreign_data_wrapper', 'true'],
  ['pg_foreign_server', 'true'],
  ['pg_user_mapping', 'true'],
  ...[
    'pg_am',
    'pg_amop',
    'pg_amproc',
    'pg_cast',
    'pg_collation',
    'pg_conversion',
    'pg_opclass',
    'pg_operator',
    'pg_opfamily',
    'pg_transform',
    'pg_ts_config',
    'pg_ts_dict',
    'pg_ts_parser',
    'pg_ts_template',
  ].map((name): [string, string] => [name, MADE]),
  ['pg_ts_config_map', 'o.mapcfg >= 16384'],
  ['pg_database', 'o.datname = current_database()'],
  [
    'pg_db_role_setting',
    'o.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))',
  ],
  ['pg_auth_members', 'true'],
  ['pg_shdescription', 'true'],
]

/** Of a relation all but its file, its sizes and its age. */
const RELATION = `concat_ws('|', 'pg_class', o.oid, o.relname, o.relnamespace, o.relowner, o.relam, o.reltablespace, o.relpersistence, o.relkind, o.reloftype, o.relrowsecurity, o.relforcerowsecurity,
  o.relispopulated, o.relreplident, o.relispartition, o.relpartbound::text, o.relacl::text, o.reloptions::text)`
/** Readable for everybody, where pg_authid is not. */
const ROLE = `concat_ws('|', 'pg_authid', o.oid, o.rolname, o.rolsuper, o.rolinherit, o.rolcreaterole, o.rolcreatedb, o.rolcanlogin, o.rolreplication, o.rolconnlimit, o.rolbypassrls, o.rolvaliduntil, o.rolconfig::text)`

const row = (name: string): string =>
  `hashtidextended(o.ctid, hashtextextended('${name}' || o.xmin::text, 0))`

/** @returns the same text for the same schema, as far as this role may read the catalog */
export async function catalogDigest(catalog: Catalog): Promise<string> {
  const readable = new Set(
    (
      await catalog.rows<{ name: string }>(
        `SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT')`,
      )
    ).map(({ name }) => name),
  )
  const parts = [
    `SELECT hashtextextended(${RELATION}, 0) FROM pg_class o WHERE o.relpersistence <> 't' AND o.relkind <> 't'`,
    `SELECT hashtextextended(${ROLE}, 0) FROM pg_roles o`,
    ...OF_RELATIONS.filter(([name]) => readable.has(name)).map(
      ([name, relation, where = 'true']) =>
        `SELECT ${row(name)} FROM ${name} o WHERE (${where}) AND o.${relation} NOT IN (SELECT t.oid FROM temporary t)`,
    ),
    ...OTHERS.filter(([name]) => readable.has(name)).map(
      ([name, where]) => `SELECT ${row(name)} FROM ${name} o WHERE ${where}`,
    ),
  ]
  const [found] = await catalog.rows<{ digest: string }>(`
    WITH temporary AS MATERIALIZED (SELECT c.oid FROM pg_class c WHERE c.relpersistence = 't'),
         temporary_schema AS MATERIALIZED (SELECT n.oid FROM pg_namespace n WHERE n.nspname LIKE 'pg\\_%' AND NOT (${OF_APPLICATION}) AND n.nspname NOT IN ('pg_catalog', 'pg_toast')),
         parts(part) AS (${parts.join(' UNION ALL ')})
    SELECT count(*) || ':' || bit_xor(part) AS digest FROM parts`)
  return found?.digest ?? ''
}

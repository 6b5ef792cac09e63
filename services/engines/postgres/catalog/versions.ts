/**
 * What tells that an object changed without reading it: a digest of the versions (xmin, ctid) of all catalog rows that
 * belong to it. Cheap over the whole catalog, sees what no DDL record tells, and needs none.
 */
import type { Catalog } from './kind.ts'

/** The classes whose objects are many and costly to print; those of all others are read each time. */
export const VERSIONED: ReadonlySet<string> = new Set(['pg_class', 'pg_type', 'pg_proc'])

/** Those, apart from what all databases share: roles and databases come and go with other people's work. */
const LIGHT_CLASSES: readonly string[] = [
  'pg_am',
  'pg_cast',
  'pg_collation',
  'pg_conversion',
  'pg_default_acl',
  'pg_event_trigger',
  'pg_extension',
  'pg_foreign_data_wrapper',
  'pg_foreign_server',
  'pg_language',
  'pg_namespace',
  'pg_opclass',
  'pg_operator',
  'pg_opfamily',
  'pg_publication',
  'pg_statistic_ext',
  'pg_transform',
  'pg_ts_config',
  'pg_ts_dict',
  'pg_ts_parser',
  'pg_ts_template',
  'pg_user_mapping',
]

/** Of each object (class:oid), a text that is another one after any change to it. */
export type Versions = ReadonlyMap<string, string>

export interface VersionsRead {
  readonly versions: Versions
  /** By class:oid, the transactions (32 bits) from `since` on that wrote rows of it. */
  readonly writers: ReadonlyMap<string, ReadonlySet<number>>
}

/** A row's own version, as 64 bits, and who wrote it. */
function row(alias: string): string {
  return `hashtextextended('${alias}' || ${alias}.xmin::text || ${alias}.ctid::text, 0), ${alias}.xmin`
}

const OF_RELATIONS: readonly (readonly [string, string])[] = [
  ['pg_class c', 'c.oid'],
  ['pg_attribute a', 'a.attrelid'],
  ['pg_index x', 'x.indexrelid'],
  ['pg_attrdef d', 'd.adrelid'],
  ['pg_constraint k', 'k.conrelid'],
  ['pg_trigger g', 'g.tgrelid'],
  ['pg_policy p', 'p.polrelid'],
  ['pg_rewrite w', 'w.ev_class'],
  ['pg_inherits h', 'h.inhrelid'],
  ['pg_sequence s', 's.seqrelid'],
  ['pg_partitioned_table pt', 'pt.partrelid'],
  ['pg_foreign_table ft', 'ft.ftrelid'],
]

/** Comments on what is a part of a relation. */
const COMMENTED: readonly (readonly [string, string, string])[] = [
  ['pg_constraint', 'conrelid', 'k'],
  ['pg_trigger', 'tgrelid', 'g'],
  ['pg_policy', 'polrelid', 'p'],
  ['pg_rewrite', 'ev_class', 'w'],
]

const own = (catalog: string, alias: string, condition: string): string =>
  `SELECT '${catalog}' AS class, ${alias}.oid AS id, ${row(alias)} FROM ${catalog} ${alias} WHERE ${condition}`

const sql = (since: string, hasIdentities: boolean): string => `
  WITH rel(oid, class, id) AS (
    SELECT c.oid, 'pg_class', c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.oid >= 16384
    UNION ALL SELECT c.oid, 'pg_type', c.reltype FROM pg_class c WHERE c.relkind = 'c' AND c.oid >= 16384
    UNION ALL SELECT x.indexrelid, 'pg_class', x.indrelid FROM pg_index x WHERE x.indexrelid >= 16384
    UNION ALL SELECT c.reltoastrelid, 'pg_class', c.oid FROM pg_class c WHERE c.reltoastrelid <> 0 AND c.oid >= 16384
    -- The sequence of an identity column is told with its table.
    UNION ALL SELECT d.objid, 'pg_class', d.refobjid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
  ), parts(class, id, part, writer) AS (
    ${OF_RELATIONS.map(([catalog, id]) => `SELECT r.class, r.id, ${row(catalog.split(' ')[1]!)} FROM rel r JOIN ${catalog} ON ${id} = r.oid`).join('\n    UNION ALL ')}
    UNION ALL ${COMMENTED.map(([catalog, id, alias]) => `SELECT r.class, r.id, ${row('ds')} FROM rel r JOIN ${catalog} ${alias} ON ${alias}.${id} = r.oid JOIN pg_description ds ON ds.classoid = '${catalog}'::regclass AND ds.objoid = ${alias}.oid`).join('\n    UNION ALL ')}
    UNION ALL SELECT r.class, r.id, ${row('ds')} FROM rel r JOIN pg_description ds ON ds.classoid = 'pg_class'::regclass AND ds.objoid = r.oid
    -- Whose a sequence is, and which objects belong to an extension.
    UNION ALL SELECT r.class, r.id, ${row('dp')} FROM rel r JOIN pg_depend dp ON dp.classid = 'pg_class'::regclass AND dp.objid = r.oid AND dp.deptype IN ('e', 'a', 'i')
    -- Whose an identity is decides what is printed of it, and a command that leaves it as it is may change that.
    ${hasIdentities ? `UNION ALL SELECT 'pg_class', g.oid::oid, ${row('g')} FROM tidemark.identity g` : ''}
    -- Arrays that came with their element's type are told with it; a domain over an array is one too by its category.
    UNION ALL ${own('pg_type', 't', "t.oid >= 16384 AND t.typtype IN ('e', 'd', 'r', 'b', 'p') AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)")}
    UNION ALL SELECT 'pg_type', c.reltype, ${row('t')} FROM pg_class c JOIN pg_type t ON t.oid = c.reltype WHERE c.relkind = 'c' AND c.oid >= 16384
    UNION ALL SELECT 'pg_type', e.enumtypid, ${row('e')} FROM pg_enum e
    UNION ALL SELECT 'pg_type', r.rngtypid, ${row('r')} FROM pg_range r WHERE r.rngtypid >= 16384
    UNION ALL SELECT 'pg_type', k.contypid, ${row('k')} FROM pg_constraint k WHERE k.contypid <> 0
    UNION ALL ${own('pg_proc', 'f', 'f.oid >= 16384')}
    UNION ALL SELECT 'pg_proc', g.aggfnoid, ${row('g')} FROM pg_aggregate g WHERE g.aggfnoid >= 16384
    UNION ALL SELECT ds.classoid::regclass::text, ds.objoid, ${row('ds')} FROM pg_description ds WHERE ds.classoid IN ('pg_type'::regclass, 'pg_proc'::regclass) AND ds.objoid >= 16384
    UNION ALL SELECT dp.classid::regclass::text, dp.objid, ${row('dp')} FROM pg_depend dp WHERE dp.classid IN ('pg_type'::regclass, 'pg_proc'::regclass) AND dp.deptype = 'e'
  )
  SELECT class || ':' || id AS key, count(*) || ':' || bit_xor(part) AS version, string_agg(writer::text, ' ') FILTER (WHERE age(writer) <= ${since}) AS writers
    FROM parts WHERE id <> 0 GROUP BY class, id`

/** @param since the writers from this transaction on are told; without it none */
export async function readVersions(catalog: Catalog, since?: bigint): Promise<VersionsRead> {
  const found = await catalog.rows<{ key: string; version: string; writers: string | null }>(
    sql(since === undefined ? '-1' : `age('${since & 0xffffffffn}'::xid)`, catalog.hasIdentities),
  )
  const versions = new Map(found.map(({ key, version }) => [key, version]))
  const writers = new Map<string, Set<number>>()
  for (const { key, writers: text } of found)
    if (text !== null) writers.set(key, new Set(text.split(' ').map(Number)))
  return { versions, writers }
}

/**
 * Of the classes that are read each time, the row of each object alone: enough to tell what went away, or became another,
 * while it was printed.
 */
export async function readLightVersions(catalog: Catalog): Promise<Versions> {
  const readable = await catalog.rows<{ name: string }>(
    `SELECT name FROM unnest('{${LIGHT_CLASSES.join(',')}}'::text[]) name WHERE has_table_privilege('pg_catalog.' || name, 'SELECT')`,
  )
  const parts = readable.map(
    ({ name }) =>
      `SELECT '${name}:' || o.oid AS key, o.xmin::text || o.ctid::text AS version FROM pg_catalog.${name} o WHERE o.oid >= 16384`,
  )
  const found = await catalog.rows<{ key: string; version: string }>(parts.join(' UNION ALL '))
  return new Map(found.map(({ key, version }) => [key, version]))
}

/** What is there in one of the two alone, or is another. */
export function changedKeys(before: Versions, after: Versions): Set<string> {
  const changed = new Set<string>()
  for (const [key, version] of after) if (before.get(key) !== version) changed.add(key)
  for (const key of before.keys()) if (!after.has(key)) changed.add(key)
  return changed
}

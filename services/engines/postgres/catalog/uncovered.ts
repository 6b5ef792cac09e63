/**
 * What exists in a database and no statement makes, counted by catalog class: from the server's own list of classes, so
 * that a kind of object that nobody thought of is said and not silent.
 */
import { type Catalog, OF_APPLICATION } from './kind.ts'

/** An object that some statement makes. */
export interface Made {
  readonly class: string
  readonly oid: number
}

/** Rows of these classes come with the object that they belong to: a condition on row o. */
export const PARTS: Readonly<Record<string, { readonly of: string; readonly where: string }>> = {
  pg_class: {
    of: 'indexes of tables and materialized views',
    where: `EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = o.oid AND (x.indisvalid OR o.relkind = 'I') AND ${isMade('pg_class', 'x.indrelid')})`,
  },
  pg_attrdef: { of: 'defaults', where: isMade('pg_class', 'o.adrelid') },
  pg_constraint: {
    of: 'constraints of tables and domains',
    where: `(${isMade('pg_class', 'o.conrelid')} OR ${isMade('pg_type', 'o.contypid')})`,
  },
  pg_trigger: { of: 'triggers', where: isMade('pg_class', 'o.tgrelid') },
  pg_rewrite: { of: 'rules', where: isMade('pg_class', 'o.ev_class') },
  pg_policy: { of: 'policies', where: isMade('pg_class', 'o.polrelid') },
  pg_enum: { of: 'labels of enums', where: isMade('pg_type', 'o.enumtypid') },
  pg_amop: { of: 'operators of operator families', where: isMade('pg_opfamily', 'o.amopfamily') },
  pg_amproc: { of: 'functions of operator families', where: isMade('pg_opfamily', 'o.amprocfamily') },
  pg_publication_rel: { of: 'tables of publications', where: isMade('pg_publication', 'o.prpubid') },
  pg_publication_namespace: { of: 'schemas of publications', where: isMade('pg_publication', 'o.pnpubid') },
}

/** What people call the classes that no kind covers; the others go by their own name. */
const WORDS: Readonly<Record<string, string>> = {
  pg_class: 'relations (invalid indexes among them)',
  pg_largeobject_metadata: 'large objects',
  pg_subscription: 'subscriptions',
  pg_proc: 'routines',
  pg_type: 'types',
}

function isMade(catalogClass: string, oid: string): string {
  return `EXISTS (SELECT FROM made m WHERE m.class = '${catalogClass}'::regclass AND m.id = ${oid})`
}

/** Classes whose rows have OIDs, of this database; what Tidemark may not see is not among them. */
const CLASSES = `
  SELECT c.relname AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'
   WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND (NOT c.relisshared OR c.relname = 'pg_subscription') AND has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY 1`

export async function uncovered(catalog: Catalog, made: readonly Made[]): Promise<string[]> {
  const classes = (await catalog.rows<{ name: string }>(CLASSES)).map((row) => row.name)
  const byClass = new Map<string, number[]>()
  for (const { class: name, oid } of made) {
    const known = byClass.get(name)
    if (known === undefined) byClass.set(name, [oid])
    else known.push(oid)
  }
  const lists = [...byClass].map(
    ([name, oids]) => `SELECT '${name}'::regclass::oid, unnest('{${oids.join(',')}}'::oid[])`,
  )
  const counts = await catalog.rows<{ class: string; n: string }>(`
    WITH made(class, id) AS MATERIALIZED (${[...lists, ...ELSEWHERE].join(' UNION ALL ')})
    ${classes.map(countOf).join(' UNION ALL ')}`)
  const [other] = await catalog.rows<{ labels: string; placed: string }>(OTHER)
  return [
    ...counts
      .filter((row) => row.n !== '0')
      .map((row) => `${row.n} ${WORDS[row.class] ?? `objects of ${row.class}`}: not covered`),
    ...(other?.labels === '0' ? [] : [`${other?.labels ?? ''} security labels: not covered`]),
    ...(other?.placed === '0'
      ? []
      : [
          `${other?.placed ?? ''} relations in a tablespace of their own: a restore makes them in the target's`,
        ]),
  ]
}

/** What comes with an extension, and what is Tidemark's or a session's own. */
const ELSEWHERE = [
  `SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e'`,
  `SELECT 'pg_namespace'::regclass::oid, n.oid FROM pg_namespace n WHERE NOT (${OF_APPLICATION})`,
  ...[
    ['pg_class', 'relnamespace'],
    ['pg_type', 'typnamespace'],
    ['pg_proc', 'pronamespace'],
  ].map(
    ([name, namespace]) =>
      `SELECT '${name}'::regclass::oid, x.oid FROM ${name} x JOIN pg_namespace n ON n.oid = x.${namespace} WHERE x.oid >= 16384 AND NOT (${OF_APPLICATION})`,
  ),
  `SELECT 'pg_event_trigger'::regclass::oid, e.oid FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tidemark'`,
  `SELECT 'pg_publication'::regclass::oid, p.oid FROM pg_publication p JOIN tidemark.installation i ON i.publication = p.pubname`,
  // The language that every database has, and its extension.
  `SELECT 'pg_extension'::regclass::oid, e.oid FROM pg_extension e WHERE e.extname = 'plpgsql'`,
]

function countOf(name: string): string {
  const part = PARTS[name]
  const here =
    name === 'pg_subscription'
      ? 'AND o.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())'
      : ''
  // What depends on another object internally comes with it (a row type, a range's constructors and cast); that one is
  // counted where nothing makes it.
  return `
    SELECT '${name}' AS class, count(*)::text AS n FROM ${name} o
     WHERE o.oid >= 16384 ${here} AND NOT ${isMade(name, 'o.oid')}${part === undefined ? '' : ` AND NOT ${part.where}`}
       AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = '${name}'::regclass AND i.objid = o.oid AND i.deptype = 'i')`
}

const OTHER = `
  SELECT (SELECT count(*) FROM pg_seclabel)::text AS labels,
         (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.reltablespace <> 0 AND c.oid >= 16384 AND c.relkind IN ('r', 'i', 'm', 'p', 'I') AND ${OF_APPLICATION})::text AS placed`

/** What a database has at this moment, in the order of names: what the next statement of a random history works on. */
import type pg from 'pg'

export interface Column {
  readonly name: string
  readonly type: string
  readonly generated: string
  readonly identity: string
}

export interface Relation {
  /** With its schema, quoted. */
  readonly name: string
  readonly bare: string
  readonly kind: 'r' | 'p' | 'f' | 'v' | 'm' | 'S'
  readonly columns: readonly Column[]
  readonly parent: string | null
  /** How it is partitioned: by range, hash or list. */
  readonly strategy: 'r' | 'h' | 'l' | null
  readonly isPartition: boolean
  readonly constraints: readonly string[]
  readonly indexes: readonly string[]
  readonly uniqueIndexes: readonly string[]
  readonly owner: string
}

export interface State {
  readonly version: number
  readonly roles: readonly string[]
  readonly tables: readonly Relation[]
  readonly partitioned: readonly Relation[]
  readonly foreign: readonly Relation[]
  readonly views: readonly Relation[]
  readonly sequences: readonly Relation[]
  readonly functions: readonly string[]
  readonly enums: readonly { readonly name: string; readonly labels: readonly string[] }[]
  readonly composites: readonly { readonly name: string; readonly attributes: readonly string[] }[]
}

const RELATIONS = `SELECT c.oid::regclass::text AS name, c.relname AS bare, c.relkind AS kind, c.relispartition AS "isPartition", pg_get_userbyid(c.relowner) AS owner,
    (SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1) AS parent,
    (SELECT k.partstrat FROM pg_partitioned_table k WHERE k.partrelid = c.oid) AS strategy,
    COALESCE((SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'generated', a.attgenerated, 'identity', a.attidentity) ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
    COALESCE((SELECT json_agg(k.conname ORDER BY k.conname) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'c', 'f')), '[]') AS constraints,
    COALESCE((SELECT json_agg(x.indexrelid::regclass::text ORDER BY x.indexrelid::regclass::text) FROM pg_index x WHERE x.indrelid = c.oid), '[]') AS indexes,
    COALESCE((SELECT json_agg(n.relname ORDER BY n.relname) FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisunique AND x.indpred IS NULL), '[]') AS "uniqueIndexes"
  FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
 WHERE s.nspname IN ('public', 'side') AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relname NOT LIKE 'behind\\_%' ORDER BY 1`
const FUNCTIONS = `SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace WHERE s.nspname IN ('public', 'side') ORDER BY 1`
const ENUMS = `SELECT t.oid::regtype::text AS name, json_agg(e.enumlabel ORDER BY e.enumsortorder) AS labels FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid JOIN pg_namespace s ON s.oid = t.typnamespace WHERE s.nspname IN ('public', 'side') GROUP BY t.oid ORDER BY 1`
const COMPOSITES = `SELECT t.oid::regtype::text AS name, COALESCE(json_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '[]') AS attributes FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
  JOIN pg_namespace s ON s.oid = t.typnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE s.nspname IN ('public', 'side') GROUP BY t.oid ORDER BY 1`

export async function readState(
  client: pg.Client,
  roles: readonly string[],
  version: number,
): Promise<State> {
  const relations = (await client.query<Relation>(RELATIONS)).rows
  const of = (...kinds: string[]): Relation[] => relations.filter((r) => kinds.includes(r.kind))
  return {
    version,
    roles,
    tables: of('r', 'p'),
    partitioned: of('p'),
    foreign: of('f'),
    views: of('v', 'm'),
    sequences: of('S'),
    functions: (await client.query<{ name: string }>(FUNCTIONS)).rows.map((row) => row.name),
    enums: (await client.query<State['enums'][number]>(ENUMS)).rows,
    composites: (await client.query<State['composites'][number]>(COMPOSITES)).rows,
  }
}

/**
 * Which steps of a restore run code of the source: functions, operators and types that its users wrote. What calls only
 * functions of PostgreSQL itself that can do nothing but compute is harmless, and may run as anybody.
 */
import type pg from 'pg'
import { tableKey } from '../../../core/ports/target.ts'
import { quoteLiteral } from '../dialect/quote.ts'

/** Objects below were there when the cluster was made (FirstNormalObjectId). */
const FIRST_OF_USERS = 16384

/** Not immutable by name (they go by the clock or the time zone), and yet only compute. */
const COMPUTES = `p.proname ~ '^(now|(statement|transaction|clock)_timestamp|to_(char|date|timestamp|number)|date_part|date_trunc|extract|timezone|age|gen_random_uuid|random|concat|(date|timestamp|timestamptz|time|timetz|interval)_.*)$'`

/** Whether an expression (pg_node_tree) calls what could do more than compute. */
function callsCode(tree: string): string {
  return `(EXISTS (SELECT FROM regexp_matches(${tree}::text, ':(?:funcid|opfuncid) (\\d+)', 'g') m WHERE m[1] <> '0'
      AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = m[1]::oid AND p.oid < ${FIRST_OF_USERS} AND (p.provolatile = 'i' OR ${COMPUTES})))
    OR EXISTS (SELECT FROM regexp_matches(${tree}::text, ':opno (\\d+)', 'g') m WHERE m[1]::oid >= ${FIRST_OF_USERS}))`
}

/** Whether an object depends on functions, operators or types of users; enums hold no code. */
function dependsOnCode(catalog: string, oid: string): string {
  return `EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_type t ON t.oid = d.refobjid AND d.refclassid = 'pg_type'::regclass
     WHERE d.classid = '${catalog}'::regclass AND d.objid = ${oid} AND d.refobjid >= ${FIRST_OF_USERS} AND d.deptype = 'n'
       AND (d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass) OR t.typtype NOT IN ('e', 'd')))`
}

/** Types whose input runs code: domains with a check, ranges compared by an operator class, and what holds them. */
const CODE_TYPES = `code(type) AS (
  SELECT first.type FROM (
    SELECT k.contypid AS type FROM pg_constraint k WHERE k.contypid <> 0 AND k.contype = 'c' AND (${callsCode('k.conbin')} OR ${dependsOnCode('pg_constraint', 'k.oid')})
    UNION SELECT r.rngtypid FROM pg_range r WHERE r.rngsubopc >= ${FIRST_OF_USERS}) first
  UNION SELECT holders.type FROM code JOIN LATERAL (
    SELECT t.oid AS type FROM pg_type t WHERE (t.typtype = 'd' AND t.typbasetype = code.type) OR (t.typelem = code.type AND t.typcategory = 'A')
    UNION ALL SELECT c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.atttypid = code.type AND a.attnum > 0 AND c.reltype <> 0
    UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngsubtype = code.type
    UNION ALL SELECT r.rngmultitypid FROM pg_range r WHERE r.rngtypid = code.type) holders ON true)`

const PARTITIONED_BY_CODE = (partitioned: string): string =>
  `(${callsCode(`${partitioned}.partexprs`)} OR EXISTS (SELECT FROM unnest(${partitioned}.partclass::oid[]) AS c(oid) WHERE c.oid >= ${FIRST_OF_USERS}))`

/** By OID: its name may change while code of the source runs. */
export interface OwnedObject {
  readonly kind: 'TABLE' | 'MATERIALIZED VIEW' | 'DOMAIN' | 'ROUTINE'
  readonly oid: string
  readonly owner: string
}

/** Tables whose rows run code when they are copied in (generated columns, checked domains, keys of partitions), by `tableKey`. */
export async function tablesLoadedByCode(client: pg.Client): Promise<ReadonlyMap<string, OwnedObject>> {
  const { rows } = await client.query<OwnedObject & { schema: string; name: string }>(`
    WITH RECURSIVE ${CODE_TYPES}
    SELECT n.nspname AS schema, c.relname AS name, 'TABLE' AS kind, c.oid::text AS oid, pg_get_userbyid(c.relowner) AS owner
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.oid >= ${FIRST_OF_USERS}
       AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
       AND (EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN (SELECT code.type FROM code))
         OR EXISTS (SELECT FROM pg_attribute a JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
                     WHERE a.attrelid = c.oid AND a.attgenerated = 's' AND (${callsCode('e.adbin')} OR ${dependsOnCode('pg_attrdef', 'e.oid')}))
         OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) up(oid) JOIN pg_partitioned_table k ON k.partrelid = up.oid WHERE ${PARTITIONED_BY_CODE('k')}))`)
  return new Map(rows.map((row) => [tableKey(row), row]))
}

/** Of a table's or a domain's constraint: what it is of, where looking at the rows runs code. */
export async function constraintWithCode(
  client: pg.Client,
  on: { readonly table: string } | { readonly domain: string },
  constraint: string,
): Promise<OwnedObject | undefined> {
  const [what, where] =
    'table' in on
      ? [`'TABLE' AS kind, k.conrelid::text AS oid`, `k.conrelid = to_regclass(${quoteLiteral(on.table)})`]
      : [`'DOMAIN' AS kind, k.contypid::text AS oid`, `k.contypid = to_regtype(${quoteLiteral(on.domain)})`]
  const owner =
    'table' in on
      ? 'SELECT c.relowner FROM pg_class c WHERE c.oid = k.conrelid'
      : 'SELECT t.typowner FROM pg_type t WHERE t.oid = k.contypid'
  const { rows } = await client.query<OwnedObject>(`
    SELECT ${what}, pg_get_userbyid((${owner})) AS owner FROM pg_constraint k
     WHERE ${where} AND k.conname = ${quoteLiteral(constraint)} AND CASE k.contype
       WHEN 'f' THEN EXISTS (SELECT FROM unnest(k.conpfeqop) o(oid) WHERE o.oid >= ${FIRST_OF_USERS})
         OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE (a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) OR a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey))
               AND a.atttypid >= ${FIRST_OF_USERS} AND t.typtype NOT IN ('e', 'd'))
       ELSE ${callsCode('k.conbin')} OR ${dependsOnCode('pg_constraint', 'k.oid')} END`)
  return rows[0]
}

/** Functions of a name that run by their owner's rights, and are not held by anybody. */
export async function definerRoutines(
  client: pg.Client,
  schema: string,
  name: string,
): Promise<readonly OwnedObject[]> {
  const { rows } = await client.query<OwnedObject>(
    `SELECT 'ROUTINE' AS kind, p.oid::text AS oid, pg_get_userbyid(p.proowner) AS owner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = $1 AND p.proname = $2 AND p.prosecdef AND NOT EXISTS (SELECT FROM tidemark_restore.stand_in s WHERE s.oid = p.oid)`,
    [schema, name],
  )
  return rows
}

/** Whether columns of a table have types of users: comparing them may run code. */
export async function hasUserTypes(client: pg.Client, relation: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND a.atttypid >= ${FIRST_OF_USERS} AND t.typtype NOT IN ('e', 'd')) AS found`,
    [relation],
  )
  return rows[0]?.found === true
}

/** A table or materialized view of the restore. */
export async function ownedRelation(client: pg.Client, relation: string): Promise<OwnedObject | undefined> {
  const { rows } = await client.query<OwnedObject>(
    `SELECT CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind, c.oid::text AS oid, pg_get_userbyid(c.relowner) AS owner FROM pg_class c WHERE c.oid = to_regclass($1)`,
    [relation],
  )
  return rows[0]
}

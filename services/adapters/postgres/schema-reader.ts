/**
 * Reads a database's schema in one snapshot and gives the ordered SQL that makes it from nothing, in two parts (before
 * and after the load): a restore works from that alone, by hand if need be.
 *
 * The order of creation follows pg_depend. What is not covered is said in the notes, never dropped silently.
 */
import type pg from 'pg'
import { TidemarkError } from '../../core/errors.ts'
import { quoteLiteral, quoteName, quoteTable } from '../../core/relation.ts'
import type { SchemaFacts, SchemaObject, SchemaStatement } from '../../core/transaction.ts'
import { sqlState } from './session.ts'
import { RANK, sequenceStatements, tableStatements, typeStatements } from '../../formats/table-statements.ts'
import { sequenceFacts, tableFacts, type TableFacts, typeFacts } from '../../formats/schema-facts.ts'

/** Namespaces that are the server's or ours. */
const OURS = `n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp%'`
const NOT_OF_EXTENSION = (catalog: string, oid: string): string =>
  `NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '${catalog}'::regclass AND e.objid = ${oid} AND e.deptype = 'e')`

interface Node {
  readonly key: string
  readonly oid: number
  readonly statements: readonly SchemaStatement[]
}

export interface ReadSchema extends SchemaFacts {
  readonly tables: readonly TableFacts[]
}

/** Must run inside a REPEATABLE READ transaction; everything is seen as of its snapshot. */
export async function readSchema(client: pg.Client): Promise<ReadSchema> {
  const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> =>
    (await client.query<T>(sql)).rows
  const notes: string[] = []
  const [moment] = await rows<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot')
  const seen = await rows<{ xid: string }>('SELECT DISTINCT xid FROM tidemark.ddl')
  const version = Number(
    (await rows<{ v: string }>(`SELECT current_setting('server_version_num') AS v`))[0]?.v,
  )

  const statements: SchemaStatement[] = [...(await globalStatements(rows))]
  const nodes: Node[] = []

  for (const { facts } of await rows<{
    facts: unknown
  }>(`SELECT tidemark.type_facts(t.oid) AS facts FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class r ON r.oid = t.typrelid
      WHERE ${OURS} AND t.typtype IN ('e', 'd', 'c', 'r') AND (t.typrelid = 0 OR r.relkind = 'c') AND ${NOT_OF_EXTENSION('pg_type', 't.oid')} ORDER BY t.oid`)) {
    const type = typeFacts.parse(facts)
    nodes.push({ key: `pg_type:${type.oid}`, oid: type.oid, statements: typeStatements(type) })
  }
  const tables: TableFacts[] = []
  for (const { facts } of await rows<{
    facts: unknown
  }>(`SELECT tidemark.table_facts(c.oid) AS facts FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE ${OURS} AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND ${NOT_OF_EXTENSION('pg_class', 'c.oid')} ORDER BY c.oid`)) {
    const table = tableFacts.parse(facts)
    tables.push(table)
    nodes.push({ key: `pg_class:${table.oid}`, oid: table.oid, statements: tableStatements(table) })
    if (table.persistence === 'u') notes.push(`unlogged table ${quoteTable(table)}: its rows are not covered`)
  }
  nodes.push(...(await sequenceNodes(rows)), ...(await routineNodes(rows)), ...(await viewNodes(rows, notes)))
  const edges = await rows<{ from: string; to: string }>(EDGES)
  statements.push(...inOrder(nodes, edges).map(viewsLate(nodes, edges)))
  statements.push(...(await databaseStatements(rows, notes, version)))
  notes.push(...(await uncovered(rows)))
  statements.sort((a, b) => a.rank - b.rank)
  return { snapshot: moment?.snapshot ?? '', ddlSeen: seen.map((row) => row.xid), statements, notes, tables }
}

/** Readings that DDL may disturb before it is given up. */
const TRIES = 40

/**
 * Reads the schema until nothing changed meanwhile: pg_get_*def functions look past the snapshot, so facts read while
 * somebody's DDL commits may be of two moments, or fail on an object that is gone.
 */
export async function readSteadySchema(client: pg.Client): Promise<ReadSchema> {
  for (let left = TRIES; ; left--) {
    const before = await newestRecord(client)
    let failure: unknown
    let read: ReadSchema | undefined
    try {
      await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
      read = await readSchema(client)
    } catch (error) {
      failure = error
    } finally {
      await client.query('ROLLBACK')
    }
    const undisturbed = before === (await newestRecord(client))
    if (read !== undefined && undisturbed) return read
    if (left <= 0 || (failure !== undefined && (undisturbed || sqlState(failure) === undefined)))
      throw failure ?? new TidemarkError('SOURCE_UNREACHABLE', 'the schema kept changing while it was read')
  }
}

async function newestRecord(client: pg.Client): Promise<string> {
  return (
    (
      await client.query<{ n: string }>(
        "SELECT count(*)::text || ':' || COALESCE(max(id), 0)::text AS n FROM tidemark.ddl",
      )
    ).rows[0]?.n ?? ''
  )
}

type Rows = <T extends pg.QueryResultRow>(sql: string) => Promise<T[]>

function statement(rank: number, object: SchemaObject, sql: string): SchemaStatement {
  return { sql, rank, phase: rank < RANK.key ? 'before' : 'after', objects: [object] }
}

/** Roles that own or are granted something (made without login where they are missing), schemas, extensions. */
async function globalStatements(rows: Rows): Promise<SchemaStatement[]> {
  const out: SchemaStatement[] = []
  for (const { name } of await rows<{
    name: string
  }>(`SELECT rolname AS name FROM pg_roles r WHERE rolname NOT LIKE 'pg\\_%' AND (EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
      OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.oid >= 16384) OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid) OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid AND p.oid >= 16384)) ORDER BY rolname`)) {
    out.push(
      statement(
        RANK.cluster,
        { kind: 'role', name },
        `DO $tidemark$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${quoteLiteral(name)}) THEN CREATE ROLE ${quoteName(name)} NOLOGIN; END IF; END $tidemark$`,
      ),
    )
  }
  for (const s of await rows<{ name: string; owner: string; comment: string | null }>(
    `SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner, obj_description(n.oid, 'pg_namespace') AS comment FROM pg_namespace n WHERE ${OURS} AND ${NOT_OF_EXTENSION('pg_namespace', 'n.oid')} ORDER BY n.oid`,
  )) {
    const object: SchemaObject = { kind: 'schema', name: s.name }
    out.push(statement(RANK.schema, object, `CREATE SCHEMA IF NOT EXISTS ${quoteName(s.name)}`))
    out.push(
      statement(RANK.rights, object, `ALTER SCHEMA ${quoteName(s.name)} OWNER TO ${quoteName(s.owner)}`),
    )
    if (s.comment !== null)
      out.push(
        statement(
          RANK.behaviour,
          object,
          `COMMENT ON SCHEMA ${quoteName(s.name)} IS ${quoteLiteral(s.comment)}`,
        ),
      )
  }
  for (const g of await rows<{
    name: string
    grantee: string
    privilege: string
    grantable: boolean
  }>(`SELECT n.nspname AS name, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee, x.privilege_type AS privilege, x.is_grantable AS grantable
      FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) x WHERE ${OURS} AND x.grantee <> n.nspowner ORDER BY 1, 2, 3`)) {
    out.push(
      statement(
        RANK.rights,
        { kind: 'schema', name: g.name },
        `GRANT ${g.privilege} ON SCHEMA ${quoteName(g.name)} TO ${g.grantee}${g.grantable ? ' WITH GRANT OPTION' : ''}`,
      ),
    )
  }
  for (const e of await rows<{ name: string; schema: string }>(
    `SELECT e.extname AS name, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY e.oid`,
  )) {
    out.push(
      statement(
        RANK.extension,
        { kind: 'extension', name: e.name },
        `CREATE EXTENSION IF NOT EXISTS ${quoteName(e.name)} SCHEMA ${quoteName(e.schema)} CASCADE`,
      ),
    )
  }
  return out
}

async function sequenceNodes(rows: Rows): Promise<Node[]> {
  const found = await rows<{
    oid: number
    facts: unknown
  }>(`SELECT c.oid, tidemark.sequence_facts(c.oid) AS facts FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE ${OURS} AND c.relkind = 'S' AND c.relpersistence <> 't' AND ${NOT_OF_EXTENSION('pg_class', 'c.oid')}
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i') ORDER BY c.oid`)
  return found.map((s) => ({
    key: `pg_class:${s.oid}`,
    oid: s.oid,
    statements: sequenceStatements(sequenceFacts.parse(s.facts)),
  }))
}

async function routineNodes(rows: Rows): Promise<Node[]> {
  const found = await rows<{
    oid: number
    schema: string
    name: string
    args: string
    kind: string
    definition: string
    owner: string
    comment: string | null
    acl: string[] | null
    public: boolean
  }>(`
    SELECT p.oid, n.nspname AS schema, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS args, p.prokind AS kind, pg_get_functiondef(p.oid) AS definition, pg_get_userbyid(p.proowner) AS owner,
           obj_description(p.oid, 'pg_proc') AS comment, p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) x WHERE x.grantee = 0) AS public,
           (SELECT array_agg(quote_ident(pg_get_userbyid(x.grantee))) FROM aclexplode(p.proacl) x WHERE x.grantee <> 0 AND x.grantee <> p.proowner) AS acl
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OURS} AND p.prokind IN ('f', 'p', 'w') AND ${NOT_OF_EXTENSION('pg_proc', 'p.oid')} ORDER BY p.oid`)
  return found.map((f) => {
    const object: SchemaObject = {
      kind: f.kind === 'p' ? 'procedure' : 'function',
      schema: f.schema,
      name: f.name,
    }
    const name = `${f.kind === 'p' ? 'PROCEDURE' : 'FUNCTION'} ${quoteTable(f)}(${f.args})`
    const statements = [
      statement(RANK.create, object, f.definition.trim()),
      statement(RANK.rights, object, `ALTER ${name} OWNER TO ${quoteName(f.owner)}`),
    ]
    if (f.comment !== null)
      statements.push(statement(RANK.behaviour, object, `COMMENT ON ${name} IS ${quoteLiteral(f.comment)}`))
    if (!f.public) statements.push(statement(RANK.rights, object, `REVOKE ALL ON ${name} FROM PUBLIC`))
    for (const grantee of f.acl ?? [])
      statements.push(statement(RANK.rights, object, `GRANT EXECUTE ON ${name} TO ${grantee}`))
    return { key: `pg_proc:${f.oid}`, oid: f.oid, statements }
  })
}

async function viewNodes(rows: Rows, notes: string[]): Promise<Node[]> {
  const found = await rows<{
    oid: number
    schema: string
    name: string
    kind: string
    definition: string
    owner: string
    comment: string | null
    options: string[] | null
    indexes: string[] | null
    columns: string[]
  }>(`
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, pg_get_viewdef(c.oid) AS definition, pg_get_userbyid(c.relowner) AS owner, obj_description(c.oid, 'pg_class') AS comment, c.reloptions AS options,
           (SELECT array_agg(pg_get_indexdef(x.indexrelid)) FROM pg_index x WHERE x.indrelid = c.oid) AS indexes,
           (SELECT array_agg(quote_ident(a.attname) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${OURS} AND c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND ${NOT_OF_EXTENSION('pg_class', 'c.oid')} ORDER BY c.oid`)
  return found.map((v) => {
    const materialized = v.kind === 'm'
    const object: SchemaObject = {
      kind: materialized ? 'materializedView' : 'view',
      schema: v.schema,
      name: v.name,
    }
    const name = quoteTable(v)
    const options = v.options === null ? '' : ` WITH (${v.options.join(', ')})`
    const body = v.definition.trim().replace(/;$/, '')
    const word = materialized ? 'MATERIALIZED VIEW' : 'VIEW'
    const statements = [
      statement(
        RANK.create,
        object,
        `CREATE ${word} ${name} (${v.columns.join(', ')})${options} AS ${body}${materialized ? ' WITH NO DATA' : ''}`,
      ),
      statement(RANK.rights, object, `ALTER ${word} ${name} OWNER TO ${quoteName(v.owner)}`),
    ]
    if (v.comment !== null)
      statements.push(
        statement(RANK.behaviour, object, `COMMENT ON ${word} ${name} IS ${quoteLiteral(v.comment)}`),
      )
    if (materialized) {
      notes.push(`materialized view ${name}: its rows are not stored; the restore refreshes it`)
      for (const index of v.indexes ?? []) statements.push(statement(RANK.index, object, index))
      statements.push(statement(RANK.rights + 2, object, `REFRESH MATERIALIZED VIEW ${name}`))
    }
    return { key: `pg_class:${v.oid}`, oid: v.oid, statements }
  })
}

/** What hangs on the database as a whole: collations, extended statistics, publications of others, comments on types. */
async function databaseStatements(rows: Rows, notes: string[], version: number): Promise<SchemaStatement[]> {
  const out: SchemaStatement[] = []
  const icu = version >= 170000 ? 'c.colllocale' : version >= 150000 ? 'c.colliculocale' : 'NULL'
  for (const c of await rows<{
    schema: string
    name: string
    provider: string
    collate: string | null
    ctype: string | null
    locale: string | null
    deterministic: boolean
  }>(`SELECT n.nspname AS schema, c.collname AS name, c.collprovider AS provider, c.collcollate AS collate, c.collctype AS ctype, ${icu} AS locale, c.collisdeterministic AS deterministic
      FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE ${OURS} AND ${NOT_OF_EXTENSION('pg_collation', 'c.oid')} ORDER BY c.oid`)) {
    const locale = c.locale ?? c.collate ?? ''
    const provider = { i: 'icu', b: 'builtin' }[c.provider] ?? 'libc'
    const place =
      provider === 'libc'
        ? `LC_COLLATE = ${quoteLiteral(c.collate ?? '')}, LC_CTYPE = ${quoteLiteral(c.ctype ?? '')}`
        : `LOCALE = ${quoteLiteral(locale)}`
    out.push(
      statement(
        RANK.extension,
        { kind: 'collation', schema: c.schema, name: c.name },
        `CREATE COLLATION ${quoteTable(c)} (PROVIDER = ${provider}, ${place}, DETERMINISTIC = ${String(c.deterministic)})`,
      ),
    )
  }
  for (const s of await rows<{ schema: string; name: string; definition: string }>(
    `SELECT n.nspname AS schema, s.stxname AS name, pg_get_statisticsobjdef(s.oid) AS definition FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE ${OURS} ORDER BY s.oid`,
  )) {
    out.push(statement(RANK.behaviour, { kind: 'statistics', schema: s.schema, name: s.name }, s.definition))
  }
  for (const d of await rows<{
    role: string
    schema: string | null
    kind: string
    grantee: string
    privilege: string
  }>(`SELECT pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema, d.defaclobjtype AS kind, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee, x.privilege_type AS privilege
      FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) x WHERE x.grantee <> d.defaclrole ORDER BY 1, 2, 3, 4, 5`)) {
    const on = { r: 'TABLES', S: 'SEQUENCES', f: 'FUNCTIONS', T: 'TYPES', n: 'SCHEMAS' }[d.kind]
    if (on === undefined) continue
    out.push(
      statement(
        RANK.rights,
        { kind: 'defaultPrivilege', name: d.role },
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${quoteName(d.role)}${d.schema === null ? '' : ` IN SCHEMA ${quoteName(d.schema)}`} GRANT ${d.privilege} ON ${on} TO ${d.grantee}`,
      ),
    )
  }
  for (const p of await rows<{ name: string }>(
    `SELECT p.pubname AS name FROM pg_publication p WHERE NOT EXISTS (SELECT FROM tidemark.installation i WHERE i.publication = p.pubname)`,
  )) {
    notes.push(`publication ${quoteName(p.name)}: not made in a restore (make it again where it is wanted)`)
  }
  return out
}

/** Kinds that exist here and are not covered. */
async function uncovered(rows: Rows): Promise<string[]> {
  const counts = await rows<{ what: string; n: string }>(`
    SELECT 'large objects' AS what, count(*)::text AS n FROM pg_largeobject_metadata
    UNION ALL SELECT 'foreign tables', count(*)::text FROM pg_class c WHERE c.relkind = 'f'
    UNION ALL SELECT 'subscriptions', count(*)::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()
    UNION ALL SELECT 'event triggers', count(*)::text FROM pg_event_trigger WHERE evtname NOT LIKE 'tidemark\\_%'
    UNION ALL SELECT 'aggregates', count(*)::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OURS} AND p.prokind = 'a' AND ${NOT_OF_EXTENSION('pg_proc', 'p.oid')}
    UNION ALL SELECT 'operators', count(*)::text FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE ${OURS} AND ${NOT_OF_EXTENSION('pg_operator', 'o.oid')}
    UNION ALL SELECT 'casts', count(*)::text FROM pg_cast c WHERE c.oid >= 16384 AND ${NOT_OF_EXTENSION('pg_cast', 'c.oid')}
    UNION ALL SELECT 'text search configurations', count(*)::text FROM pg_ts_config t JOIN pg_namespace n ON n.oid = t.cfgnamespace WHERE ${OURS} AND ${NOT_OF_EXTENSION('pg_ts_config', 't.oid')}`)
  return counts.filter((row) => row.n !== '0').map((row) => `${row.n} ${row.what}: not covered`)
}

const CLASSES = `('pg_type'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass, 'pg_rewrite'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass)`

/** "from needs to", over the objects that stand for others: a view's rule, a table's row type, an array, a default. */
const EDGES = `
  WITH owner_of(class, id, owner_class, owner) AS (
    SELECT 'pg_rewrite'::regclass, r.oid, 'pg_class'::regclass, r.ev_class FROM pg_rewrite r
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, d.adrelid FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attgenerated <> ''
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid, 'pg_type'::regclass, k.contypid FROM pg_constraint k WHERE k.contypid <> 0
    UNION ALL SELECT 'pg_type'::regclass, t.oid, 'pg_class'::regclass, t.typrelid FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE c.relkind <> 'c'
    UNION ALL SELECT 'pg_type'::regclass, t.oid, 'pg_type'::regclass, t.typelem FROM pg_type t WHERE t.typelem <> 0 AND t.typcategory = 'A'
    UNION ALL SELECT 'pg_type'::regclass, r.rngmultitypid, 'pg_type'::regclass, r.rngtypid FROM pg_range r
    UNION ALL SELECT 'pg_class'::regclass, c.oid, 'pg_type'::regclass, c.reltype FROM pg_class c WHERE c.relkind = 'c'
  )
  SELECT DISTINCT COALESCE(fo.owner_class, d.classid)::regclass::text || ':' || COALESCE(fo.owner, d.objid)::text AS "from",
         COALESCE(two.owner_class, too.owner_class, d.refclassid)::regclass::text || ':' || COALESCE(two.owner, too.owner, d.refobjid)::text AS "to"
    FROM pg_depend d
    LEFT JOIN owner_of fo ON fo.class = d.classid AND fo.id = d.objid
    LEFT JOIN owner_of too ON too.class = d.refclassid AND too.id = d.refobjid
    LEFT JOIN owner_of two ON two.class = too.owner_class AND two.id = too.owner
   WHERE d.deptype IN ('n', 'a') AND d.classid IN ${CLASSES} AND d.refclassid IN ${CLASSES} AND d.objid >= 16384 AND d.refobjid >= 16384
     AND (d.classid <> 'pg_attrdef'::regclass OR fo.id IS NOT NULL) AND (d.classid <> 'pg_constraint'::regclass OR fo.id IS NOT NULL)`

/**
 * A view may need a table's primary key (GROUP BY of it), which comes after the load: views come behind keys, unless a
 * table or a function needs the view's row type.
 */
function viewsLate(
  nodes: readonly Node[],
  edges: readonly { from: string; to: string }[],
): (statement: SchemaStatement) => SchemaStatement {
  const isView = (node: Node | undefined): boolean =>
    node?.statements[0]?.objects[0]?.kind === 'view' ||
    node?.statements[0]?.objects[0]?.kind === 'materializedView'
  const byKey = new Map(nodes.map((node) => [node.key, node]))
  const early = new Set<SchemaStatement>()
  const mark = (node: Node): void => {
    for (const s of node.statements) early.add(s)
    for (const edge of edges) {
      const needed = byKey.get(edge.to)
      if (
        edge.from === node.key &&
        needed !== undefined &&
        isView(needed) &&
        !early.has(needed.statements[0]!)
      )
        mark(needed)
    }
  }
  for (const edge of edges) {
    const needed = byKey.get(edge.to)
    if (
      needed !== undefined &&
      isView(needed) &&
      byKey.has(edge.from) &&
      !isView(byKey.get(edge.from)) &&
      !early.has(needed.statements[0]!)
    )
      mark(needed)
  }
  return (s) =>
    s.rank === RANK.create && /iew$/.test(s.objects[0]?.kind ?? '') && !early.has(s)
      ? { ...s, rank: RANK.index - 1, phase: 'after' }
      : s
}

/** Depth first over the dependencies, in the order of OIDs; a cycle is cut where it is met. */
function inOrder(nodes: readonly Node[], edges: readonly { from: string; to: string }[]): SchemaStatement[] {
  const byKey = new Map(nodes.map((node) => [node.key, node]))
  const needs = new Map<string, string[]>()
  for (const edge of edges) {
    if (edge.from === edge.to || !byKey.has(edge.from) || !byKey.has(edge.to)) continue
    needs.set(edge.from, [...(needs.get(edge.from) ?? []), edge.to])
  }
  const out: SchemaStatement[] = []
  const state = new Map<string, 'open' | 'done'>()
  const stack: { key: string; left: string[] }[] = []
  const enter = (key: string): void => {
    if (state.has(key)) return
    state.set(key, 'open')
    stack.push({
      key,
      left: [...(needs.get(key) ?? [])].sort((a, b) => byKey.get(a)!.oid - byKey.get(b)!.oid),
    })
  }
  for (const node of [...nodes].sort((a, b) => a.oid - b.oid)) {
    enter(node.key)
    while (stack.length > 0) {
      const top = stack.at(-1)!
      const next = top.left.shift()
      if (next !== undefined) {
        enter(next)
        continue
      }
      stack.pop()
      state.set(top.key, 'done')
      out.push(...byKey.get(top.key)!.statements)
    }
  }
  return out
}

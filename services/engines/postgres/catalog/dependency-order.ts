/** In which order objects are made: what pg_depend says that they need, and views as late as they can be. */
import type { SchemaStatement } from '../../../core/transaction.ts'
import { RANK } from '../../../formats/rank.ts'
import type { Catalog } from './kind.ts'

export interface OrderedObject {
  /** class:oid */
  readonly key: string
  readonly oid: number
  readonly statements: readonly SchemaStatement[]
}

/** "from" needs "to"; both class:oid. */
export interface Edge {
  readonly from: string
  readonly to: string
}

/**
 * "from needs to", over the objects that stand for others: a view's rule, a table's row type, an array, a default, a
 * member of an operator class. Columns' defaults come after the rows and need nothing here, but for generated ones.
 */
const EDGES = `
  WITH owner_of(class, id, owner_class, owner) AS (
    SELECT 'pg_rewrite'::regclass, r.oid, 'pg_class'::regclass, r.ev_class FROM pg_rewrite r WHERE r.rulename = '_RETURN'
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, d.adrelid FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attgenerated <> ''
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid, 'pg_type'::regclass, k.contypid FROM pg_constraint k WHERE k.contypid <> 0
    UNION ALL SELECT 'pg_type'::regclass, t.oid, 'pg_class'::regclass, t.typrelid FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE c.relkind <> 'c'
    UNION ALL SELECT 'pg_type'::regclass, e.typarray, 'pg_type'::regclass, e.oid FROM pg_type e WHERE e.typarray <> 0
    UNION ALL SELECT 'pg_type'::regclass, r.rngmultitypid, 'pg_type'::regclass, r.rngtypid FROM pg_range r
    UNION ALL SELECT 'pg_class'::regclass, c.oid, 'pg_type'::regclass, c.reltype FROM pg_class c WHERE c.relkind = 'c'
    UNION ALL SELECT d.classid, d.objid, d.refclassid, d.refobjid FROM pg_depend d WHERE d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass) AND d.refclassid IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass)
  ), own_function(type, function) AS (
    SELECT t.oid, f.oid FROM pg_type t CROSS JOIN LATERAL (VALUES (t.typinput::oid), (t.typoutput), (t.typreceive), (t.typsend), (t.typmodin), (t.typmodout), (t.typanalyze), (t.typsubscript)) f(oid) WHERE t.typtype = 'b' AND t.oid >= 16384
    UNION ALL SELECT r.rngtypid, r.rngcanonical FROM pg_range r
  )
  SELECT DISTINCT COALESCE(fo.owner_class, d.classid)::regclass::text || ':' || COALESCE(fo.owner, d.objid)::text AS "from",
         COALESCE(two.owner_class, too.owner_class, d.refclassid)::regclass::text || ':' || COALESCE(two.owner, too.owner, d.refobjid)::text AS "to"
    FROM pg_depend d
    LEFT JOIN owner_of fo ON fo.class = d.classid AND fo.id = d.objid
    LEFT JOIN owner_of too ON too.class = d.refclassid AND too.id = d.refobjid
    LEFT JOIN owner_of two ON two.class = too.owner_class AND two.id = too.owner
   WHERE d.deptype IN ('n', 'a') AND d.objid >= 16384 AND d.refobjid >= 16384
     AND (d.classid NOT IN ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_rewrite'::regclass) OR fo.id IS NOT NULL)
     -- A type's own functions need no more than its shell.
     AND NOT EXISTS (SELECT FROM own_function o WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_type'::regclass AND o.type = d.refobjid AND o.function = d.objid)`

export function readEdges(catalog: Catalog): Promise<Edge[]> {
  return catalog.rows<{ from: string; to: string }>(EDGES)
}

/** The objects' statements, with each behind those of what it needs. */
export function inOrder(objects: readonly OrderedObject[], edges: readonly Edge[]): SchemaStatement[] {
  const late = lateObjects(objects, edges)
  return byDependency(objects, edges).flatMap((object) =>
    late.has(object.key)
      ? object.statements.map((s) =>
          s.rank === RANK.create ? { ...s, rank: RANK.late, phase: 'after' as const } : s,
        )
      : object.statements,
  )
}

/** Kinds that rows need: they can't wait for the keys. */
const NEEDED_BY_ROWS = new Set(['table', 'type', 'sequence', 'foreignTable'])
const isView = (object: OrderedObject): boolean => /view$/i.test(kindOf(object))
const kindOf = (object: OrderedObject): string => object.statements[0]?.objects[0]?.kind ?? ''

/**
 * What needs a key (a view that groups by it, a function on such a view) comes behind the keys, and with it what needs
 * that. So do views, unless something that comes before the rows needs their row type.
 */
function lateObjects(objects: readonly OrderedObject[], edges: readonly Edge[]): ReadonlySet<string> {
  const byKey = new Map(objects.map((object) => [object.key, object]))
  const neededBy = new Map<string, string[]>()
  const needs = new Map<string, string[]>()
  for (const { from, to } of edges) {
    append(neededBy, to, from)
    append(needs, from, to)
  }
  const late = new Set<string>()
  const wait = (key: string): void => {
    const object = byKey.get(key)
    if (object === undefined || late.has(key) || NEEDED_BY_ROWS.has(kindOf(object))) return
    late.add(key)
    for (const further of neededBy.get(key) ?? []) wait(further)
  }
  for (const [key, dependents] of neededBy) if (key.startsWith('pg_constraint:')) dependents.forEach(wait)
  const early = new Set<string>()
  const hurry = (key: string): void => {
    for (const needed of needs.get(key) ?? []) {
      const object = byKey.get(needed)
      if (object === undefined || !isView(object) || early.has(needed) || late.has(needed)) continue
      early.add(needed)
      hurry(needed)
    }
  }
  for (const object of objects) if (!isView(object) && !late.has(object.key)) hurry(object.key)
  for (const object of objects) if (isView(object) && !early.has(object.key)) late.add(object.key)
  return late
}

function append(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}

/** Depth first over the dependencies, in the order of OIDs; a cycle is cut where it is met. */
function byDependency(nodes: readonly OrderedObject[], edges: readonly Edge[]): OrderedObject[] {
  const byKey = new Map(nodes.map((node) => [node.key, node]))
  const needs = new Map<string, string[]>()
  for (const edge of edges) {
    if (edge.from === edge.to || !byKey.has(edge.from) || !byKey.has(edge.to)) continue
    append(needs, edge.from, edge.to)
  }
  const out: OrderedObject[] = []
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
      out.push(byKey.get(top.key)!)
    }
  }
  return out
}

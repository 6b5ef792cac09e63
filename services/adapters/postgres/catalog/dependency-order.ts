/** In which order objects are made: what pg_depend says that they need, and views as late as they can be. */
import type { SchemaStatement } from '../../../core/transaction.ts'
import { RANK } from '../../../formats/table-statements.ts'
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

export function readEdges(catalog: Catalog): Promise<Edge[]> {
  return catalog.rows<{ from: string; to: string }>(EDGES)
}

/** The objects' statements, with each behind those of what it needs. */
export function inOrder(objects: readonly OrderedObject[], edges: readonly Edge[]): SchemaStatement[] {
  return byDependency(objects, edges).map(viewsLate(objects, edges))
}

/**
 * A view may need a table's primary key (GROUP BY of it), which comes after the load: views come behind keys, unless a
 * table or a function needs the view's row type.
 */
function viewsLate(
  nodes: readonly OrderedObject[],
  edges: readonly Edge[],
): (statement: SchemaStatement) => SchemaStatement {
  const isView = (node: OrderedObject | undefined): boolean =>
    node?.statements[0]?.objects[0]?.kind === 'view' ||
    node?.statements[0]?.objects[0]?.kind === 'materializedView'
  const byKey = new Map(nodes.map((node) => [node.key, node]))
  const early = new Set<SchemaStatement>()
  const mark = (node: OrderedObject): void => {
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
function byDependency(nodes: readonly OrderedObject[], edges: readonly Edge[]): SchemaStatement[] {
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

/**
 * What has to be read again with an object that changed: a rename changes the printed form of views, indexes, constraints
 * and policies whose own rows stay as they are. Those name it, so pg_depend has them; what names them does not change.
 */
import type { Catalog } from './kind.ts'

/** @param changed class:oid; returned likewise, of classes that are read */
export async function dependentsOf(catalog: Catalog, changed: Iterable<string>): Promise<Set<string>> {
  const values = [...changed].map((key) => {
    const [name, oid] = key.split(':')
    return `('${name}'::regclass::oid, ${Number(oid)}::oid)`
  })
  if (values.length === 0) return new Set()
  const found = await catalog.rows<{ key: string }>(`
    WITH changed(class, id) AS (VALUES ${values.join(', ')}),
    -- A table stands for its row type, its indexes and constraints as well, a type for its array and multirange.
    rels AS (
      SELECT h.class, h.id FROM changed h
      UNION SELECT 'pg_type'::regclass::oid, c.reltype FROM changed h JOIN pg_class c ON h.class = 'pg_class'::regclass AND c.oid = h.id AND c.reltype <> 0
      UNION SELECT 'pg_class'::regclass::oid, t.typrelid FROM changed h JOIN pg_type t ON h.class = 'pg_type'::regclass AND t.oid = h.id AND t.typrelid <> 0
      UNION SELECT 'pg_class'::regclass::oid, x.indexrelid FROM changed h JOIN pg_index x ON h.class = 'pg_class'::regclass AND x.indrelid = h.id
      UNION SELECT 'pg_constraint'::regclass::oid, k.oid FROM changed h JOIN pg_constraint k ON h.class = 'pg_class'::regclass AND k.conrelid = h.id
    ), whole AS (
      SELECT class, id FROM rels
      UNION SELECT 'pg_type'::regclass::oid, t.typarray FROM rels h JOIN pg_type t ON h.class = 'pg_type'::regclass AND t.oid = h.id AND t.typarray <> 0
      UNION SELECT 'pg_type'::regclass::oid, r.rngmultitypid FROM rels h JOIN pg_range r ON h.class = 'pg_type'::regclass AND r.rngtypid = h.id
    ), needing AS (
      SELECT DISTINCT d.classid, d.objid FROM pg_depend d JOIN whole w ON d.refclassid = w.class AND d.refobjid = w.id
    ), part_of(class, id, owner_class, owner) AS (
      SELECT 'pg_rewrite'::regclass::oid, w.oid, 'pg_class'::regclass::oid, w.ev_class FROM pg_rewrite w
      UNION ALL SELECT 'pg_attrdef'::regclass::oid, d.oid, 'pg_class'::regclass::oid, d.adrelid FROM pg_attrdef d
      UNION ALL SELECT 'pg_constraint'::regclass::oid, k.oid, 'pg_class'::regclass::oid, k.conrelid FROM pg_constraint k WHERE k.conrelid <> 0
      UNION ALL SELECT 'pg_constraint'::regclass::oid, k.oid, 'pg_type'::regclass::oid, k.contypid FROM pg_constraint k WHERE k.contypid <> 0
      UNION ALL SELECT 'pg_trigger'::regclass::oid, g.oid, 'pg_class'::regclass::oid, g.tgrelid FROM pg_trigger g
      UNION ALL SELECT 'pg_policy'::regclass::oid, p.oid, 'pg_class'::regclass::oid, p.polrelid FROM pg_policy p
      UNION ALL SELECT 'pg_class'::regclass::oid, x.indexrelid, 'pg_class'::regclass::oid, x.indrelid FROM pg_index x
      UNION ALL SELECT 'pg_class'::regclass::oid, c.oid, 'pg_type'::regclass::oid, c.reltype FROM pg_class c WHERE c.relkind = 'c'
      UNION ALL SELECT 'pg_type'::regclass::oid, t.oid, 'pg_class'::regclass::oid, t.typrelid FROM pg_type t WHERE t.typrelid <> 0
      UNION ALL SELECT 'pg_class'::regclass::oid, d.objid, 'pg_class'::regclass::oid, d.refobjid FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
    )
    SELECT n.classid::regclass::text || ':' || n.objid AS key FROM needing n
    UNION SELECT p.owner_class::regclass::text || ':' || p.owner FROM needing n JOIN part_of p ON p.class = n.classid AND p.id = n.objid`)
  return new Set(found.map(({ key }) => key))
}

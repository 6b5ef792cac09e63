/** Sequences of their own (those of identity columns come with their table). */
import { sequenceFacts } from '../dialect/schema-facts.ts'
import { sequenceStatements } from '../dialect/sequence-statements.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION } from './kind.ts'

export const sequences: CatalogKind = {
  name: 'sequence',
  title: 'Sequences',
  covers: 'with state, owner, comment, rights',
  class: 'pg_class',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<{ oid: number; facts: unknown }>(`
      SELECT c.oid, tidemark.sequence_facts(c.oid) AS facts FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE ${OF_APPLICATION} AND c.relkind = 'S' AND c.relpersistence <> 't' AND ${notOfExtension('pg_class', 'c.oid')} AND ${among('c.oid', only)}
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i') ORDER BY c.oid`)
    return found.map((s) => ({ oid: s.oid, statements: sequenceStatements(sequenceFacts.parse(s.facts)) }))
  },
}

/** Enums, domains, composite and range types; from the facts that DDL records carry as well. */
import { typeFacts } from '../dialect/schema-facts.ts'
import { typeStatements } from '../dialect/type-statements.ts'
import { among, type CatalogKind, notOfExtension, OF_APPLICATION } from './kind.ts'

export const types: CatalogKind = {
  name: 'type',
  title: 'Other types',
  covers:
    'enums, domains, composite and range types (own constructors, multirange and cast come with them), with owner, comments, rights',
  class: 'pg_type',
  order: 'by dependency',
  async read(catalog, only) {
    const found = await catalog.rows<{ facts: unknown }>(`
      SELECT tidemark.type_facts(t.oid) AS facts FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class r ON r.oid = t.typrelid
       WHERE ${OF_APPLICATION} AND t.typtype IN ('e', 'd', 'c', 'r') AND (t.typrelid = 0 OR r.relkind = 'c') AND ${notOfExtension('pg_type', 't.oid')} AND ${among('t.oid', only)} ORDER BY t.oid`)
    return found.map(({ facts }) => {
      const type = typeFacts.parse(facts)
      return { oid: type.oid, statements: typeStatements(type) }
    })
  },
}

/** The relation version that a table's facts stand for: its stored columns, with the identity's keys. */
import type { RelationVersion } from '../core/relation.ts'
import { type TableFacts, tableVersion } from '../formats/schema-facts.ts'

export function relationOfFacts(facts: TableFacts): RelationVersion {
  const version = tableVersion(facts)
  const keys = new Set(version.keyColumns)
  return {
    oid: version.oid,
    schema: version.schema,
    name: version.name,
    identity: version.identity,
    columns: version.columns
      .filter((c) => c.generated === '')
      .map((c) => ({
        name: c.name,
        typeOid: c.typeOid,
        typmod: c.typmod,
        key: version.identity === 'full' || keys.has(c.name),
      })),
  }
}

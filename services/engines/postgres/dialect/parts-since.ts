/**
 * What commands at a parent did to tables of which nothing but a reading of the schema tells: partitioned tables below another
 * one, foreign and unlogged partitions. They have no rows in a copy, and so no facts there that a record's parts complete.
 */
import type { LeftOut } from '../../../core/ports/dialect.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { changesColumns } from './descendant-facts.ts'
import type { DescendantFacts } from './schema-facts.ts'
import { partStatements } from './table-statements.ts'

export class PartsSince {
  /** By table, the statements of each part that is new or another one; none where it is gone. */
  readonly #of = new Map<number, Map<string, readonly SchemaStatement[]>>()
  readonly notes: string[] = []
  readonly leftOut: LeftOut[] = []

  see(oid: number, facts: DescendantFacts): void {
    const parts = this.#of.get(oid) ?? new Map<string, readonly SchemaStatement[]>()
    this.#of.set(oid, parts)
    const { schema, name } = facts
    for (const gone of facts.goneConstraints ?? []) parts.set(`constraint ${schema}.${name}.${gone}`, [])
    for (const [key, statements] of Map.groupBy(partStatements(facts), partKey))
      if (key !== undefined)
        parts.set(
          key,
          statements.map((statement) => ({ ...statement, of: `pg_class:${oid}` })),
        )
    if (changesColumns(facts)) {
      const what = `what a command at the parent of ${schema}.${name} did to its columns came after the last reading of the schema`
      this.notes.push(`${what}: check it by hand`)
      this.leftOut.push({ object: `table ${schema}.${name}`, reason: what })
    }
  }

  /** Whether the reading's statement is of a part that is another one by now. */
  replaces(statement: SchemaStatement): boolean {
    const key = partKey(statement)
    return key !== undefined && [...this.#of.values()].some((parts) => parts.has(key))
  }

  /** @param anew tables that are made from facts of their own, which have all of it */
  statements(anew: ReadonlySet<number>): SchemaStatement[] {
    return [...this.#of].flatMap(([oid, parts]) => (anew.has(oid) ? [] : [...parts.values()].flat()))
  }
}

/** An index has its name in its schema, a constraint in its table. */
function partKey({ objects: [object] }: SchemaStatement): string | undefined {
  if (object?.kind === 'index') return `index ${object.schema ?? ''}.${object.name}`
  if (object?.kind === 'constraint')
    return `constraint ${object.schema ?? ''}.${object.table ?? ''}.${object.name}`
  return undefined
}

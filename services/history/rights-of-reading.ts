/**
 * Rights of tables that are made anew though no record tells all of them: a command at a parent records parts alone, and they are
 * laid over facts that are older than the reading of the schema. The reading has the rights as they were by then, whoever gave them.
 */
import type { SchemaFacts, SchemaStatement } from '../core/transaction.ts'
import type { PlacedRecord } from './table-history.ts'

export const isRights = ({ sql }: SchemaStatement): boolean =>
  /^(?:SET ROLE \S+; )?(?:GRANT|REVOKE) /.test(sql)

export interface RightsOfReading {
  /** Whether this statement of the reading stays. */
  has(statement: SchemaStatement): boolean
  /** class:oid of the tables whose rights are the reading's. */
  readonly of: ReadonlySet<string | undefined>
}

/**
 * @param made tables that are made anew; those whose columns changed are not among the reading's, because rights name columns
 * @param later the records behind the reading
 */
export function rightsOfReading(
  facts: SchemaFacts,
  made: ReadonlySet<number>,
  later: readonly PlacedRecord[],
): RightsOfReading {
  const told = new Set<number>()
  for (const { record } of later)
    if (
      record.kind === 'table' ||
      (record.kind === 'descendant' &&
        (record.facts.columns ?? []).length + (record.facts.gone ?? []).length > 0)
    )
      told.add(record.oid)
  const read = new Set(facts.statements.map((statement) => statement.of))
  const of = new Set<string | undefined>(
    [...made]
      .filter((oid) => !told.has(oid))
      .map((oid) => `pg_class:${oid}`)
      .filter((key) => read.has(key)),
  )
  return { of, has: (statement) => of.has(statement.of) && isRights(statement) }
}

/**
 * Rights of tables that are made anew though no record tells all of them: a command at a parent records parts alone, and they are
 * laid over facts that are older than the reading of the schema. The reading has the rights as they were by then, whoever gave them.
 */
import type { SchemaFacts, SchemaStatement } from '../../../core/transaction.ts'
import { changesColumns } from './descendant-facts.ts'
import type { PlacedDdl } from './placed-records.ts'

export const isRights = ({ sql }: SchemaStatement): boolean =>
  /^(?:SET ROLE \S+; )?(?:GRANT|REVOKE) /.test(sql)

export interface RightsOfReading {
  /** Whether this statement of the reading stays. */
  has(statement: SchemaStatement): boolean
  /** class:oid of the tables whose rights are the reading's. */
  readonly of: ReadonlySet<string | undefined>
  /** Tables that no later record tells whole, and for which the reading's rights cannot serve: they name columns that changed. */
  readonly lacking: ReadonlySet<number>
}

/**
 * @param made tables that are made anew
 * @param later the records behind the reading
 */
export function rightsOfReading(
  facts: SchemaFacts,
  made: ReadonlySet<number>,
  later: readonly PlacedDdl[],
): RightsOfReading {
  const whole = new Set<number>()
  const altered = new Set<number>()
  for (const { record } of later)
    if (record.kind === 'table') whole.add(record.oid)
    else if (record.kind === 'descendant' && changesColumns(record.facts)) altered.add(record.oid)
  const read = new Set(facts.statements.map((statement) => statement.of))
  const of = new Set<string | undefined>()
  const lacking = new Set<number>()
  for (const oid of made) {
    if (whole.has(oid)) continue
    const key = `pg_class:${oid}`
    if (altered.has(oid) || !read.has(key)) lacking.add(oid)
    else of.add(key)
  }
  return { of, lacking, has: (statement) => of.has(statement.of) && isRights(statement) }
}

/** Tables that records behind a reading of the schema tell of, made anew from their facts. */
import { isBefore } from '../../../core/position.ts'
import type { SchemaFacts, SchemaStatement } from '../../../core/transaction.ts'
import type { PlacedDdl } from './placed-records.ts'
import type { PostgresSteps } from './postgres-table.ts'
import type { TableFacts } from './schema-facts.ts'
import { tableAsRead } from './table-as-read.ts'
import { tableStatements } from './table-statements.ts'

/**
 * @param tables by their OIDs; what is gone by the point is left out
 * @param facts the reading
 * @param later the records behind it
 */
export function tablesAnew(
  tables: ReadonlySet<number>,
  histories: ReadonlyMap<number, PostgresSteps>,
  facts: SchemaFacts,
  later: readonly PlacedDdl[],
): {
  readonly statements: SchemaStatement[]
  /** By their OIDs, those whose rights are neither in a later record nor in the reading: facts of before it tell, and its records. */
  readonly lacking: ReadonlySet<number>
  readonly notes: string[]
} {
  const [statements, lacking, notes]: [SchemaStatement[], Set<number>, string[]] = [[], new Set(), []]
  const read = Map.groupBy(facts.statements, ({ of }) => of)
  const first = new Map<number, PlacedDdl>()
  const whole = new Set<number>()
  for (const placed of later) {
    const { kind, oid } = placed.record
    if (kind === 'table') whole.add(oid)
    else if (kind === 'descendant' && !first.has(oid)) first.set(oid, placed)
  }
  for (const oid of tables) {
    const history = histories.get(oid)
    const last = history?.last
    if (history === undefined || last === undefined || history.droppedAt !== undefined) continue
    const of = `pg_class:${oid}`
    const now = withOrder(last.table.facts, histories)
    // By the records in front of the reading: none where a copy of its rows is newer than that, and with it these facts.
    const since = whole.has(oid) ? undefined : first.get(oid)
    const before = since && history.steps.findLast((step) => isBefore(step, since))?.table.facts
    const seen = read.get(of)
    if (before === undefined || seen === undefined || !isCalled(now, before, seen)) {
      if (before !== undefined) lacking.add(oid)
      statements.push(...tableStatements(now).map((statement) => ({ ...statement, of })))
      continue
    }
    const { statements: own, isTorn } = tableAsRead(seen, withOrder(before, histories), now)
    statements.push(...own.map((statement) => ({ ...statement, of })))
    if (isTorn)
      notes.push(
        `table ${now.schema}.${now.name} changed without a record before a command at its parent changed its columns: check it by hand`,
      )
  }
  return { statements, lacking, notes }
}

/** Whether the table is called so in all of them: parts have its name in their statements. */
function isCalled(now: TableFacts, before: TableFacts, seen: readonly SchemaStatement[]): boolean {
  return (
    now.schema === before.schema &&
    now.name === before.name &&
    seen.some(
      ({ objects: [object] }) =>
        object?.kind === 'table' && object.schema === now.schema && object.name === now.name,
    )
  )
}

/** What a command at a parent leaves unsaid of its children: whether INHERITS gives the columns in the order that they have. */
function withOrder(facts: TableFacts, histories: ReadonlyMap<number, PostgresSteps>): TableFacts {
  if (facts.inheritsInOrder !== undefined || facts.parents === null || facts.partitionBound !== null)
    return facts
  const given = new Set<string>()
  for (const { schema, name } of facts.parents) {
    const parent = [...histories.values()].find(
      ({ last, droppedAt }) =>
        droppedAt === undefined && last?.table.facts.schema === schema && last.table.facts.name === name,
    )
    if (parent === undefined) return facts
    for (const column of parent.last!.table.facts.columns) given.add(column.name)
  }
  const own = facts.columns.map((column) => column.name)
  const isGiven = facts.columns.every((column) => column.local || given.has(column.name))
  return { ...facts, inheritsInOrder: isGiven && [...given].every((name, place) => own[place] === name) }
}

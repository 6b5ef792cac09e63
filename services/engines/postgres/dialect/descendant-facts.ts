/** The facts of a table behind a command at one that it hangs on: those of before, with what the command reached laid over them. */
import type { ColumnFacts, DescendantFacts, TableFacts } from './schema-facts.ts'

export function changesColumns({ columns, gone }: DescendantFacts): boolean {
  return (columns ?? []).length + (gone ?? []).length > 0
}

export function withDescent(before: TableFacts, change: DescendantFacts): TableFacts {
  const columns = columnsAfter(before.columns, change)
  const constraints = change.constraints ?? []
  const goneConstraints = new Set([
    ...(change.goneConstraints ?? []),
    ...constraints.map((constraint) => constraint.name),
  ])
  const indexes = change.indexes ?? []
  const renewed = new Set(indexes.map((index) => `${index.schema}.${index.name}`))
  const nameOf = new Map(columns.map((c) => [c.attnum, c.name]))
  const numberOf = new Map(before.columns.map((c) => [c.name, c.attnum]))
  return {
    ...before,
    schema: change.schema,
    name: change.name,
    replicaIdentity: change.replicaIdentity,
    identityBefore: change.replicaIdentity === before.replicaIdentity ? before.identityBefore : null,
    columns,
    // A parent's new column may be one that the table had before, in another place.
    inheritsInOrder: change.columns == null ? before.inheritsInOrder : undefined,
    constraints: [...before.constraints.filter((c) => !goneConstraints.has(c.name)), ...constraints],
    indexes: [...before.indexes.filter((x) => !renewed.has(`${x.schema}.${x.name}`)), ...indexes],
    keyColumns:
      change.keyColumns ??
      before.keyColumns.flatMap((name) => nameOf.get(numberOf.get(name) ?? Number.NaN) ?? []),
  }
}

function columnsAfter(before: readonly ColumnFacts[], change: DescendantFacts): ColumnFacts[] {
  const after = new Map(before.map((c) => [c.attnum, c]))
  for (const attnum of change.gone ?? []) after.delete(attnum)
  for (const changed of change.columns ?? []) {
    const was = after.get(changed.attnum)
    after.set(changed.attnum, { ...(was ?? { sequence: null }), ...changed } as ColumnFacts)
  }
  return [...after.values()].sort((a, b) => a.attnum - b.attnum)
}

/** What DDL records do to a table, and whether its rows of before are carried over it. */
import type { TableChange, TableChanges } from '../../../core/ports/dialect.ts'
import { assessAlteration, assessRewrite } from './carry-over.ts'
import type { DdlRecord } from './ddl-record.ts'
import { withDescent } from './descendant-facts.ts'
import type { TableFacts } from './schema-facts.ts'
import { PostgresTable } from './postgres-table.ts'

type Rewrite = (DdlRecord & { kind: 'rewrite' })['facts']

export class PostgresTableChanges implements TableChanges {
  /** Of tables whose next record says what the rewrite made of them. */
  readonly #rewrites = new Map<number, Rewrite>()

  next(record: DdlRecord, latest: PostgresTable | undefined): TableChange | undefined {
    switch (record.kind) {
      case 'rewrite':
        this.#rewrites.set(record.oid, record.facts)
        return undefined
      case 'table':
        return versionOf(record.facts, latest, this.#taken(record.oid))
      case 'descendant': {
        // Without a record before there is nothing that it completes; rows of such a table are refused by the fold.
        if (latest === undefined) return undefined
        // A dropped constraint is told before the command's end, where the columns are.
        const told = (record.facts.columns ?? null) !== null
        const rewrite = told ? this.#taken(record.oid) : undefined
        return versionOf(withDescent(latest.facts, record.facts), latest, rewrite)
      }
      case 'drop':
        // Up to PostgreSQL 15 a rule makes a view of a table.
        return /^(table|partitioned table|view)$/.test(record.facts.type) ? { kind: 'drop' } : undefined
      case 'type':
      case 'sequence':
      case 'other':
      case 'publication':
        return undefined
    }
  }

  #taken(oid: number): Rewrite | undefined {
    const rewrite = this.#rewrites.get(oid)
    this.#rewrites.delete(oid)
    return rewrite
  }
}

function versionOf(
  facts: TableFacts,
  latest: PostgresTable | undefined,
  rewrite: Rewrite | undefined,
): TableChange {
  const table = new PostgresTable(facts)
  const after = table.version.columns
  const known = latest?.version.columns
  let gap = known === undefined ? undefined : assessAlteration(known, after)
  if (rewrite !== undefined) {
    const before = rewrite.before ?? known
    gap ??=
      before === undefined
        ? 'the table was rewritten, and what it was before is not known'
        : assessRewrite(rewrite.reason, rewrite.plain, before, after)
  }
  return { kind: 'version', table, gap }
}

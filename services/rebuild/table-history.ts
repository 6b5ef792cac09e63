/**
 * A table's versions over time: from the base's facts and the DDL records. Answers what a relation version's columns are
 * by attribute number, and how a row is carried from one version to a later one.
 */
import { TidemarkError } from '../core/errors.ts'
import { compareLsn, formatLsn, type Lsn } from '../core/position.ts'
import type { RelationVersion, TableColumn } from '../core/relation.ts'
import { assessRewrite } from '../formats/carry-over.ts'
import { type DdlRecord, tableColumn, type TableFacts, tableVersion } from '../formats/schema-facts.ts'

export interface PlacedRecord {
  readonly lsn: Lsn
  readonly record: DdlRecord
}

export interface TableStep {
  readonly lsn: Lsn
  readonly facts: TableFacts
  readonly columns: readonly TableColumn[]
  /** Why rows could not be carried to this version; only a re-snapshot after it helps. */
  readonly gap: string | undefined
}

/** Where a column's value comes from when a row is carried: a field of the older row, or a constant for all rows. */
export type CarriedColumn =
  | { readonly kind: 'field'; readonly index: number }
  | { readonly kind: 'constant'; readonly text: string | null }

export class TableHistory {
  readonly oid: number
  readonly steps: TableStep[] = []
  droppedAt: Lsn | undefined

  constructor(oid: number) {
    this.oid = oid
  }

  get last(): TableStep | undefined {
    return this.steps.at(-1)
  }

  get name(): string {
    const facts = this.last?.facts
    return facts === undefined ? `table ${this.oid}` : `${facts.schema}.${facts.name}`
  }

  begin(lsn: Lsn, facts: TableFacts): void {
    this.steps.push({ lsn, facts, columns: stored(facts), gap: undefined })
  }

  add(lsn: Lsn, facts: TableFacts, rewrite: (DdlRecord & { kind: 'rewrite' })['facts'] | undefined): void {
    const before = rewrite?.before?.map(tableColumn) ?? this.last?.facts.columns.map(tableColumn)
    let gap: string | undefined
    if (rewrite !== undefined)
      gap =
        before === undefined
          ? 'the table was rewritten, and what it was before is not known'
          : assessRewrite(rewrite.reason, rewrite.plain, before, tableVersion(facts).columns)
    this.steps.push({ lsn, facts, columns: stored(facts), gap })
  }

  /**
   * The step whose stored columns are those of the relation version, at or after step `from`: the stream may show rows
   * of a table before the record of the command that made it (hazard 27).
   */
  stepOf(relation: RelationVersion, from: number): number {
    for (let i = Math.max(0, from); i < this.steps.length; i++) {
      const columns = this.steps[i]!.columns
      if (
        columns.length === relation.columns.length &&
        columns.every(
          (column, k) =>
            column.name === relation.columns[k]!.name && column.typeOid === relation.columns[k]!.typeOid,
        )
      )
        return i
    }
    throw new TidemarkError(
      'FOLD_MISMATCH',
      `${this.name}: rows with columns that no recorded version of the table has`,
    )
  }

  /**
   * How the stored columns of step `to` come from those of step `from`.
   *
   * @throws TidemarkError GAP where a rewrite lies between them that only the source could have answered
   */
  carry(from: number, to: number): readonly CarriedColumn[] {
    let carried = new Map<number, CarriedColumn>(
      this.steps[from]!.columns.map((column, index) => [column.attnum, { kind: 'field', index }]),
    )
    for (let i = from + 1; i <= to; i++) {
      const step = this.steps[i]!
      if (step.gap !== undefined) {
        throw new TidemarkError(
          'GAP',
          `${this.name}: at ${formatLsn(step.lsn)} ${step.gap}, and no later copy of the table covers the point`,
          { next: `restore with --except-table ${this.name}, or to a point before ${formatLsn(step.lsn)}` },
        )
      }
      const next = new Map<number, CarriedColumn>()
      for (const column of step.columns) {
        next.set(
          column.attnum,
          carried.get(column.attnum) ?? { kind: 'constant', text: column.missing ?? null },
        )
      }
      carried = next
    }
    return this.steps[to]!.columns.map((column) => carried.get(column.attnum)!)
  }
}

function stored(facts: TableFacts): readonly TableColumn[] {
  return facts.columns.filter((column) => column.generated === '').map(tableColumn)
}

export interface Histories {
  readonly tables: ReadonlyMap<number, TableHistory>
}

/**
 * Applies DDL records in commit order on top of what the base says.
 *
 * @param starts tables of the base by OID, each with its position: records below it are in the copy already
 */
export function buildHistories(
  starts: ReadonlyMap<number, { readonly position: Lsn; readonly facts: TableFacts }>,
  records: readonly PlacedRecord[],
  to: Lsn,
): Map<number, TableHistory> {
  const tables = new Map<number, TableHistory>()
  for (const [oid, start] of starts) {
    const history = new TableHistory(oid)
    history.begin(start.position, start.facts)
    tables.set(oid, history)
  }
  const rewrites = new Map<number, (DdlRecord & { kind: 'rewrite' })['facts']>()
  for (const { lsn, record } of records) {
    if (compareLsn(lsn, to) > 0) break
    const start = starts.get(record.oid)
    if (start !== undefined && compareLsn(lsn, start.position) < 0) continue
    if (record.kind === 'rewrite') rewrites.set(record.oid, record.facts)
    else if (record.kind === 'table') {
      let history = tables.get(record.oid)
      if (history === undefined) {
        history = new TableHistory(record.oid)
        tables.set(record.oid, history)
      }
      history.add(lsn, record.facts, rewrites.get(record.oid))
      rewrites.delete(record.oid)
    } else if (record.kind === 'drop' && /^(table|partitioned table)$/.test(record.facts.type)) {
      const history = tables.get(record.oid)
      if (history !== undefined) history.droppedAt = lsn
    }
  }
  return tables
}

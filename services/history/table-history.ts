/**
 * A table's versions over time: from the base's facts and the DDL records. Answers which version a row of the stream
 * belongs to, what its columns are by attribute number, and how it is carried from one version to a later one.
 */
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, type Position, positionText } from '../core/position.ts'
import type { RelationVersion, TableColumn } from '../core/relation.ts'
import { assessAlteration, assessRewrite } from '../formats/carry-over.ts'
import { withDescent } from '../formats/descendant-facts.ts'
import type { DdlRecord } from '../formats/ddl-record.ts'
import { tableColumn, type TableFacts, tableVersion } from '../formats/schema-facts.ts'
import { leavingOut } from '../core/shell-word.ts'

export interface PlacedRecord {
  readonly position: Position
  /** Among the changes of its transaction. */
  readonly ordinal: number
  readonly record: DdlRecord
}

/** Where a change stands in a generation: its transaction, and its number in there. */
export interface ChangePlace {
  readonly position: Position
  readonly ordinal: number
}

/** Before every change of a transaction: where what a copy says begins. */
const AHEAD = -1

export interface TableStep extends ChangePlace {
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
  droppedAt: Position | undefined
  /** What rows have that are older than a column: as its first record says. A number never stands for two columns. */
  readonly #missing = new Map<number, string | null>()

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

  begin(position: Position, facts: TableFacts): void {
    this.#push({ position, ordinal: AHEAD, facts, columns: stored(facts), gap: undefined })
  }

  add(
    { position, ordinal }: ChangePlace,
    facts: TableFacts,
    rewrite: (DdlRecord & { kind: 'rewrite' })['facts'] | undefined,
  ): void {
    const latest = this.last?.facts.columns.map(tableColumn)
    const after = tableVersion(facts).columns
    let gap = latest === undefined ? undefined : assessAlteration(latest, after)
    if (rewrite !== undefined) {
      const before = rewrite.before ?? latest
      gap ??=
        before === undefined
          ? 'the table was rewritten, and what it was before is not known'
          : assessRewrite(rewrite.reason, rewrite.plain, before, after)
    }
    this.#push({ position, ordinal, facts, columns: stored(facts), gap })
  }

  /** Under a name of its own, in its last step. @see same-names.ts */
  callLast(name: string): void {
    const last = this.steps.pop()!
    this.steps.push({ ...last, facts: { ...last.facts, name } })
  }

  #push(step: TableStep): void {
    this.steps.push(step)
    for (const { attnum, missing } of step.columns)
      if (!this.#missing.has(attnum)) this.#missing.set(attnum, missing ?? null)
  }

  /**
   * The step that a change at `place` belongs to: by its place among the DDL records, never by its columns' names and
   * types alone, because a column that is dropped and added again looks the same and is another one. Only a row whose
   * transaction has its record later (hazard 27: CREATE TABLE AS) is looked up by its columns.
   *
   * @throws TidemarkError FOLD_MISMATCH where no step in question has these columns
   */
  stepOf(relation: RelationVersion, place: ChangePlace): number {
    const at = this.#stepBefore(place)
    for (let i = Math.max(0, at); i < this.steps.length; i++) {
      if (i > at && this.steps[i]!.position !== place.position) break
      if (this.attnumsOf(relation, i) !== undefined) return i
    }
    throw new TidemarkError(
      'FOLD_MISMATCH',
      `${this.name}: at ${positionText(place.position)} rows with columns that no recorded version of the table has`,
      {
        next: `tidemark backup base  (points behind it are whole), or restore with ${leavingOut([this.name])}`,
      },
    )
  }

  /** The last step whose record stands before the place, or -1. */
  #stepBefore(place: ChangePlace): number {
    let low = 0
    let high = this.steps.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(this.steps[middle]!, place)) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /**
   * The attribute number of each of the relation's columns at a step; undefined where they are not that step's: it has
   * every stored column, and beyond them at most generated ones. The stream has columns by their numbers: the same names in
   * another order are other columns, as while two names were swapped without a record.
   */
  attnumsOf(relation: RelationVersion, step: number): readonly number[] | undefined {
    const { facts, columns } = this.steps[step]!
    const byName = new Map(facts.columns.map((column) => [column.name, column]))
    const attnums: number[] = []
    let found = 0
    for (const { name, typeOid } of relation.columns) {
      const column = byName.get(name)
      if (column === undefined || column.typeOid !== typeOid || column.attnum <= (attnums.at(-1) ?? 0))
        return undefined
      if (column.generated === '') found++
      attnums.push(column.attnum)
    }
    return found === columns.length ? attnums : undefined
  }

  /** The last step up to which rows may be brought before they are folded: the replica identity stays what it is. */
  foldedAt(step: number): number {
    const identity = identityOf(this.steps[step]!.facts)
    let last = step
    while (last + 1 < this.steps.length && identityOf(this.steps[last + 1]!.facts) === identity) last++
    return last
  }

  /**
   * How the stored columns of step `to` come from rows of step `from`.
   *
   * @param attnums what the fields of those rows are
   * @throws TidemarkError GAP where a rewrite lies between them that only the source could have answered
   */
  carry(attnums: readonly number[], from: number, to: number): readonly CarriedColumn[] {
    const broken = this.steps.slice(from + 1, to + 1).find((step) => step.gap !== undefined)
    if (broken !== undefined)
      throw new TidemarkError(
        'GAP',
        `${this.name}: at ${positionText(broken.position)} ${broken.gap}, and no later copy of the table covers the point`,
        {
          next: `restore with ${leavingOut([this.name])}, or to a point before ${positionText(broken.position)}`,
        },
      )
    return this.steps[to]!.columns.map(({ attnum }) => {
      const index = attnums.indexOf(attnum)
      return index >= 0
        ? { kind: 'field', index }
        : { kind: 'constant', text: this.#missing.get(attnum) ?? null }
    })
  }
}

export function isBefore(a: ChangePlace, b: ChangePlace): boolean {
  return (comparePositions(a.position, b.position) || a.ordinal - b.ordinal) < 0
}

/** What makes two rows of a table the same row, by column identities. */
function identityOf(facts: TableFacts): string {
  if (facts.replicaIdentity === 'f' || facts.keyColumns.length === 0) return 'whole'
  const keys = new Set(facts.keyColumns)
  return facts.columns
    .filter((column) => keys.has(column.name))
    .map((column) => column.attnum)
    .join(',')
}

function stored(facts: TableFacts): readonly TableColumn[] {
  return facts.columns.filter((column) => column.generated === '').map(tableColumn)
}

/**
 * Applies DDL records in commit order on top of what the base says.
 *
 * @param starts tables of the base by OID, each with its position: records below it are in the copy already
 */
export function buildHistories(
  starts: ReadonlyMap<number, { readonly position: Position; readonly facts: TableFacts }>,
  records: readonly PlacedRecord[],
  to: Position,
): Map<number, TableHistory> {
  const tables = new Map<number, TableHistory>()
  for (const [oid, start] of starts) {
    const history = new TableHistory(oid)
    history.begin(start.position, start.facts)
    tables.set(oid, history)
  }
  const rewrites = new Map<number, (DdlRecord & { kind: 'rewrite' })['facts']>()
  for (const { position, ordinal, record } of records) {
    if (comparePositions(position, to) > 0) break
    const start = starts.get(record.oid)
    if (start !== undefined && comparePositions(position, start.position) < 0) continue
    if (record.kind === 'rewrite') rewrites.set(record.oid, record.facts)
    else if (record.kind === 'table') {
      let history = tables.get(record.oid)
      if (history === undefined) {
        history = new TableHistory(record.oid)
        tables.set(record.oid, history)
      }
      history.add({ position, ordinal }, record.facts, rewrites.get(record.oid))
      rewrites.delete(record.oid)
    } else if (record.kind === 'descendant') {
      // Without a record before there is nothing that it completes; rows of such a table are refused by the fold.
      const history = tables.get(record.oid)
      const before = history?.last?.facts
      if (history === undefined || before === undefined) continue
      // A dropped constraint is told before the command's end, where the columns are.
      const told = (record.facts.columns ?? null) !== null
      history.add(
        { position, ordinal },
        withDescent(before, record.facts),
        told ? rewrites.get(record.oid) : undefined,
      )
      if (told) rewrites.delete(record.oid)
    } else if (record.kind === 'drop' && /^(table|partitioned table|view)$/.test(record.facts.type)) {
      // Up to PostgreSQL 15 a rule makes a view of a table.
      const history = tables.get(record.oid)
      if (history !== undefined) history.droppedAt = position
    }
  }
  return tables
}

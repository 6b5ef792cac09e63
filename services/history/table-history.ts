/**
 * A table's versions over time: from the base's facts and the DDL records. Answers which version a row of the stream
 * belongs to, what its columns are by their ids, and how it is carried from one version to a later one.
 */
import { TidemarkError } from '../core/errors.ts'
import type { PlacedRecord, TableDocument, TableStep, TableSteps, TableWords } from '../core/ports/dialect.ts'
import {
  type ChangePlace,
  comparePositions,
  isBefore,
  type Position,
  positionText,
} from '../core/position.ts'
import type { RelationVersion } from '../core/relation.ts'
import { leavingOut } from '../core/shell-word.ts'

/** Before every change of a transaction: where what a copy says begins. */
const AHEAD = -1

/** Where a column's value comes from when a row is carried: a field of the older row, or a constant for all rows. */
export type CarriedColumn =
  | { readonly kind: 'field'; readonly index: number }
  | { readonly kind: 'constant'; readonly text: string | null }

export class TableHistory implements TableSteps {
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
    const version = this.last?.table.version
    return version === undefined ? `table ${this.oid}` : `${version.schema}.${version.name}`
  }

  begin(position: Position, table: TableDocument): void {
    this.add({ position, ordinal: AHEAD }, table, undefined)
  }

  add({ position, ordinal }: ChangePlace, table: TableDocument, gap: string | undefined): void {
    const columns = table.version.columns.filter((column) => column.isStored)
    this.#push({ position, ordinal, table, columns, gap })
  }

  /** The last step under a name of its own. @see same-names.ts */
  callLast(table: TableDocument): void {
    this.steps.push({ ...this.steps.pop()!, table })
  }

  #push(step: TableStep): void {
    this.steps.push(step)
    for (const { id, missing } of step.columns)
      if (!this.#missing.has(id)) this.#missing.set(id, missing ?? null)
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
      if (this.idsOf(relation, i) !== undefined) return i
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
   * The id of each of the relation's columns at a step; undefined where they are not that step's: it has
   * every stored column, and beyond them at most generated ones. The stream has columns in the order of their ids: the same names in
   * another order are other columns, as while two names were swapped without a record.
   */
  idsOf(relation: RelationVersion, step: number): readonly number[] | undefined {
    const { table, columns } = this.steps[step]!
    const byName = new Map(table.version.columns.map((column) => [column.name, column]))
    const ids: number[] = []
    let found = 0
    for (const { name, native } of relation.columns) {
      const column = byName.get(name)
      if (column === undefined || column.native !== native || column.id <= (ids.at(-1) ?? 0)) return undefined
      if (column.isStored) found++
      ids.push(column.id)
    }
    return found === columns.length ? ids : undefined
  }

  /** The last step up to which rows may be brought before they are folded: the replica identity stays what it is. */
  foldedAt(step: number): number {
    const identity = identityOf(this.steps[step]!.table)
    let last = step
    while (last + 1 < this.steps.length && identityOf(this.steps[last + 1]!.table) === identity) last++
    return last
  }

  /**
   * How the stored columns of step `to` come from rows of step `from`.
   *
   * @param ids what the fields of those rows are
   * @throws TidemarkError GAP where a rewrite lies between them that only the source could have answered
   */
  carry(ids: readonly number[], from: number, to: number): readonly CarriedColumn[] {
    const broken = this.steps.slice(from + 1, to + 1).find((step) => step.gap !== undefined)
    if (broken !== undefined)
      throw new TidemarkError(
        'GAP',
        `${this.name}: at ${positionText(broken.position)} ${broken.gap}, and no later copy of the table covers the point`,
        {
          next: `restore with ${leavingOut([this.name])}, or to a point before ${positionText(broken.position)}`,
        },
      )
    return this.steps[to]!.columns.map(({ id }) => {
      const index = ids.indexOf(id)
      return index >= 0 ? { kind: 'field', index } : { kind: 'constant', text: this.#missing.get(id) ?? null }
    })
  }
}

/** What makes two rows of a table the same row, by column identities. */
function identityOf({ version }: TableDocument): string {
  if (version.identity === 'full' || version.keyColumns.length === 0) return 'whole'
  const keys = new Set(version.keyColumns)
  return version.columns
    .filter((column) => keys.has(column.name))
    .map((column) => column.id)
    .join(',')
}

/**
 * Applies schema records in commit order on top of what the base says.
 *
 * @param starts tables of the base by OID, each with its position: records below it are in the copy already
 */
export function buildHistories(
  words: TableWords,
  starts: ReadonlyMap<number, { readonly position: Position; readonly table: TableDocument }>,
  records: readonly PlacedRecord[],
  to: Position,
): Map<number, TableHistory> {
  const histories = new Map<number, TableHistory>()
  for (const [oid, start] of starts) {
    const history = new TableHistory(oid)
    history.begin(start.position, start.table)
    histories.set(oid, history)
  }
  const changes = words.changes()
  for (const placed of records) {
    const { position, record } = placed
    if (comparePositions(position, to) > 0) break
    const start = starts.get(record.oid)
    if (start !== undefined && comparePositions(position, start.position) < 0) continue
    const known = histories.get(record.oid)
    const change = changes.next(record, known?.last?.table)
    if (change === undefined) continue
    if (change.kind === 'drop') {
      if (known !== undefined) known.droppedAt = position
      continue
    }
    // Also of a table that nobody has described: once it is dropped, its gap is none.
    const history = known ?? new TableHistory(record.oid)
    histories.set(record.oid, history)
    if (change.kind === 'made' || change.isMade === true) history.droppedAt = undefined
    if (change.kind === 'version') history.add(placed, change.table, change.gap)
  }
  return histories
}

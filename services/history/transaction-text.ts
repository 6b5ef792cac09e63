/** What a transaction did, by table and by schema change: from indexes and records, without any value of a row. */
import { comparePositions, type Position } from '../core/position.ts'
import type { DdlRecord } from '../formats/ddl-record.ts'
import type { IndexedTransaction, SegmentIndex } from '../formats/segment-index.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { readIndex } from './read-index.ts'
import type { PlacedRecord } from './table-history.ts'

export interface CountedTable {
  readonly table: string
  readonly inserts: number
  readonly updates: number
  readonly deletes: number
  readonly truncates: number
}

/** Of the application's tables: Tidemark's own records are none of them. */
export function countedTables(
  { counts }: IndexedTransaction,
  tables: SegmentIndex['tables'],
): readonly CountedTable[] {
  return counts.flatMap(([table, inserts, updates, deletes, truncates]) => {
    const { schema, name } = tables[table]!
    return schema === 'tidemark' ? [] : [{ table: `${schema}.${name}`, inserts, updates, deletes, truncates }]
  })
}

export function rowsOf(tables: readonly CountedTable[]): number {
  return tables.reduce((sum, c) => sum + c.inserts + c.updates + c.deletes + c.truncates, 0)
}

/** What the transaction that commits at `position` did to rows. */
export async function countsAt(
  repository: Repository,
  generation: Generation,
  position: Position,
): Promise<readonly CountedTable[]> {
  for await (const entry of generation.segments.segments(
    (c) => comparePositions(c.from, position) < 0 && comparePositions(c.to, position) >= 0,
  )) {
    const { tables, transactions } = await readIndex(repository, entry)
    const found = transactions.find((t) => comparePositions(t.position, position) === 0)
    if (found !== undefined) return countedTables(found, tables)
  }
  return []
}

/** The commands that changed the schema in the transaction that commits at `position`, each once: `DROP TABLE public.t`. */
export function schemaChangesAt(records: readonly PlacedRecord[], position: Position): readonly string[] {
  return [
    ...new Set(
      records.flatMap((placed) =>
        comparePositions(placed.position, position) === 0 ? (changeText(placed.record) ?? []) : [],
      ),
    ),
  ]
}

/** Undefined for what only tells more of another record's command. */
export function changeText(record: DdlRecord): string | undefined {
  switch (record.kind) {
    case 'table':
    case 'type':
    case 'sequence':
      return `${record.command} ${record.facts.schema}.${record.facts.name}`
    case 'drop':
      // With a table go its types, indexes and constraints; with a column, the table's own record tells.
      return record.command === `DROP ${record.facts.type.toUpperCase()}`
        ? `${record.command} ${record.facts.identity}`
        : undefined
    case 'other':
      return record.facts.identity === null ? record.command : `${record.command} ${record.facts.identity}`
    case 'descendant':
    case 'rewrite':
    case 'publication':
      return undefined
  }
}

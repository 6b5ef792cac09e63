/** What a transaction did, by table and by schema change: from indexes and records, without any value of a row. */
import type { PlacedRecord, RecordWords } from '../core/ports/dialect.ts'
import { comparePositions, type Position } from '../core/position.ts'
import type { IndexedTransaction, SegmentIndex } from '../formats/segment-index.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { readIndex } from './read-index.ts'

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
export function schemaChangesAt(
  words: RecordWords,
  records: readonly PlacedRecord[],
  position: Position,
): readonly string[] {
  return [
    ...new Set(
      records.flatMap((placed) =>
        comparePositions(placed.position, position) === 0 ? (words.text(placed.record) ?? []) : [],
      ),
    ),
  ]
}

/** Finds transactions around a time from the indexes alone, the unusual first: what to restore to just before of. */
import type { RecordWords } from '../core/ports/dialect.ts'
import { parsePosition, type Position } from '../core/position.ts'
import { OPERATIONS, type Operation } from '../core/transaction.ts'
import { formatInstant, parseInstant } from '../formats/temporal.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { damageAt, type DamagedRange, damagedRanges } from '../repository/damaged-ranges.ts'
import { offered, pointText, stateBefore, transactionText } from '../repository/restorable.ts'
import type { Coverage } from '../repository/segment-log.ts'
import { readIndex } from './read-index.ts'
import { SKEW } from './unsearched.ts'
import { ddlOf } from './schema-at.ts'
import { type CountedTable, countedTables, rowsOf, schemaChangesAt } from './transaction-text.ts'

export interface FoundTransaction {
  /** As `--at` takes it: `xid:N@GENERATION` where there are several. */
  readonly point: string
  readonly position: string
  readonly xid: number
  readonly committedAt: string
  readonly rows: number
  readonly tables: readonly CountedTable[]
  /** Commands that changed the schema. */
  readonly schema: readonly string[]
  /** What a restore makes of the point, and of the one before it. */
  readonly restorable: boolean
  readonly without: readonly string[]
  /** A restore of it needs what is known to be damaged in every store. */
  readonly damaged: boolean
  readonly before: {
    readonly point: string
    readonly restorable: boolean
    readonly without: readonly string[]
    readonly damaged: boolean
  }
  /** How far it stands out; larger is more unusual. */
  readonly score: number
}

export interface FindQuery {
  /** Microseconds since 1970. */
  readonly from: bigint
  readonly to: bigint
  /** Whether what happened to a table (`schema.name`) is asked for; undefined for all. */
  readonly isWanted?: (name: string) => boolean
  readonly operation?: Operation
  readonly minRows: number
  readonly limit: number
}

/** Weights by operation: what takes data away is what people look for. */
const WEIGHT = [0.2, 1, 4, 1000]

export async function findTransactions(
  repository: Repository,
  words: RecordWords,
  query: FindQuery,
): Promise<FoundTransaction[]> {
  const found: FoundTransaction[] = []
  const sizes: number[] = []
  const { catalog } = repository
  const ranges = damagedRanges(repository)
  for (const generation of catalog.generations) {
    const around = (c: Coverage): boolean =>
      c.latestCommittedAt !== undefined &&
      parseInstant(c.latestCommittedAt) >= query.from &&
      parseInstant(c.firstCommittedAt!) - SKEW <= query.to
    for await (const entry of generation.segments.segments(around)) {
      const index = await readIndex(repository, entry)
      const records = entry.body.hasDdl ? await ddlOf(repository, words, entry) : []
      for (const [i, t] of index.transactions.entries()) {
        if (t.committedAt < query.from || t.committedAt > query.to) continue
        const tables = countedTables(t, index.tables)
        const schema = schemaChangesAt(words, records, t.position)
        // Our own records of when and what: nothing of the application's.
        if (tables.length === 0 && schema.length === 0) continue
        const rows = rowsOf(tables)
        sizes.push(rows)
        if (!matches(query, tables, schema, rows)) continue
        found.push({
          point: transactionText(catalog, generation, t.transactionId),
          position: pointText(catalog, generation, t.position),
          ...offer(catalog, ranges, generation, t.position),
          before: {
            point: `before:${transactionText(catalog, generation, t.transactionId)}`,
            ...offer(
              catalog,
              ranges,
              generation,
              stateBefore(
                generation,
                index.transactions[i - 1]?.position ?? parsePosition(entry.body.from),
                t.position,
              ),
            ),
          },
          xid: t.transactionId,
          committedAt: formatInstant(t.committedAt),
          rows,
          tables,
          schema,
          score: scoreOf(tables, schema),
        })
      }
    }
  }
  const median = sizes.sort((a, b) => a - b)[Math.floor(sizes.length / 2)] ?? 1
  return found
    .map((t) => ({ ...t, score: Math.round((t.score / Math.max(1, median)) * 10) / 10 }))
    .sort((a, b) => b.score - a.score)
    .slice(0, query.limit)
}

function offer(
  catalog: Repository['catalog'],
  ranges: readonly DamagedRange[],
  generation: Generation,
  position: Position,
): Omit<FoundTransaction['before'], 'point'> {
  return {
    ...offered(catalog, generation, position),
    damaged: damageAt(ranges, generation, position).length > 0,
  }
}

function matches(
  query: FindQuery,
  tables: readonly CountedTable[],
  schema: readonly string[],
  rows: number,
): boolean {
  const { isWanted = () => true, operation, minRows } = query
  if (
    rows >= minRows &&
    tables.some((c) => isWanted(c.table) && (operation === undefined || countOf(c, operation) > 0))
  )
    return true
  // A schema change has no rows: whoever asks for so many, or for an operation, asks for another thing.
  return (
    operation === undefined && minRows <= 1 && schema.some((text) => isWanted(text.split(' ').at(-1) ?? ''))
  )
}

function scoreOf(tables: readonly CountedTable[], schema: readonly string[]): number {
  const ofRows = tables.reduce(
    (sum, c) =>
      sum +
      c.inserts * WEIGHT[0]! +
      c.updates * WEIGHT[1]! +
      c.deletes * WEIGHT[2]! +
      c.truncates * WEIGHT[3]!,
    0,
  )
  return schema.reduce((sum, text) => sum + (text.startsWith('DROP ') ? WEIGHT[3]! : WEIGHT[2]!), ofRows)
}

function countOf(
  counts: { inserts: number; updates: number; deletes: number; truncates: number },
  operation: Operation,
): number {
  return [counts.inserts, counts.updates, counts.deletes, counts.truncates][OPERATIONS.indexOf(operation)]!
}

/** Finds transactions around a time from the indexes alone, the unusual first: what to restore to just before of. */
import { parseLsn } from '../core/position.ts'
import { OPERATIONS, type Operation } from '../core/transaction.ts'
import { formatInstant, parseInstant } from '../formats/temporal.ts'
import type { Repository } from '../repository/repository.ts'
import { offered, pointText } from '../repository/restorable.ts'
import type { Coverage } from '../repository/segment-log.ts'
import { readIndex } from './point.ts'

export interface FoundTransaction {
  readonly position: string
  readonly xid: number
  readonly committedAt: string
  readonly rows: number
  readonly tables: readonly {
    readonly table: string
    readonly inserts: number
    readonly updates: number
    readonly deletes: number
    readonly truncates: number
  }[]
  /** What a restore makes of the point, and of the one before it. */
  readonly restorable: boolean
  readonly without: readonly string[]
  readonly before: { readonly restorable: boolean; readonly without: readonly string[] }
  /** How far it stands out; larger is more unusual. */
  readonly score: number
}

export interface FindQuery {
  /** Microseconds since 1970. */
  readonly from: bigint
  readonly to: bigint
  readonly table?: string
  readonly operation?: Operation
  readonly minRows: number
  readonly limit: number
}

/** Weights by operation: what takes data away is what people look for. */
const WEIGHT = [0.2, 1, 4, 1000]

export async function findTransactions(
  repository: Repository,
  query: FindQuery,
): Promise<FoundTransaction[]> {
  const found: FoundTransaction[] = []
  const sizes: number[] = []
  const { catalog } = repository
  for (const generation of catalog.generations) {
    const around = (c: Coverage): boolean =>
      c.latestCommittedAt !== undefined &&
      parseInstant(c.latestCommittedAt) >= query.from &&
      parseInstant(c.firstCommittedAt!) - SKEW <= query.to
    for await (const entry of generation.segments.segments(around)) {
      const index = await readIndex(repository, entry)
      for (const [i, t] of index.transactions.entries()) {
        if (t.committedAt < query.from || t.committedAt > query.to) continue
        const tables = t.counts.map(([table, inserts, updates, deletes, truncates]) => {
          const { schema, name } = index.tables[table]!
          return { table: `${schema}.${name}`, inserts, updates, deletes, truncates }
        })
        const rows = tables.reduce((sum, c) => sum + c.inserts + c.updates + c.deletes + c.truncates, 0)
        sizes.push(rows)
        const matches = tables.some(
          (c) =>
            (query.table === undefined || c.table === query.table || c.table.endsWith(`.${query.table}`)) &&
            (query.operation === undefined || countOf(c, query.operation) > 0),
        )
        if (!matches || rows < query.minRows) continue
        found.push({
          position: pointText(catalog, generation, t.lsn),
          ...offered(catalog, generation, t.lsn),
          before: offered(catalog, generation, index.transactions[i - 1]?.lsn ?? parseLsn(entry.body.from)),
          xid: t.xid,
          committedAt: formatInstant(t.committedAt),
          rows,
          tables: tables.filter((c) => !c.table.startsWith('tidemark.') || tables.length === 1),
          score: tables.reduce(
            (sum, c) =>
              sum +
              c.inserts * WEIGHT[0]! +
              c.updates * WEIGHT[1]! +
              c.deletes * WEIGHT[2]! +
              c.truncates * WEIGHT[3]!,
            0,
          ),
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

/** Commit times in one entry need not be in order. */
const SKEW = 60_000_000n

function countOf(
  counts: { inserts: number; updates: number; deletes: number; truncates: number },
  operation: Operation,
): number {
  return [counts.inserts, counts.updates, counts.deletes, counts.truncates][OPERATIONS.indexOf(operation)]!
}

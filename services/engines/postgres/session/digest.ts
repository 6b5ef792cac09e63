/**
 * Order-free digests of tables, taken in the server: per row SHA-256 over the row's text under the fixed session
 * settings, summed in two 64-bit halves. Equal tables have equal digests; two differing ones collide with probability
 * 2^-128 against accident.
 */
import type { TableDigest } from '../../../core/ports/target.ts'
import { quoteName, quoteTable } from '../dialect/quote.ts'

export interface DigestedTable {
  readonly schema: string
  readonly name: string
  readonly columns: readonly string[]
}

/** One row: rows, digest. The columns are named, so that their order on either side does not matter. */
export function digestSql(table: DigestedTable): string {
  const row =
    table.columns.length === 0 ? `''::text` : `ROW(${table.columns.map(quoteName).join(', ')})::text`
  return `SELECT count(*)::text AS rows, COALESCE(sum(('x' || substr(h, 1, 16))::bit(64)::bigint::numeric), 0)::text || ':' || COALESCE(sum(('x' || substr(h, 17, 16))::bit(64)::bigint::numeric), 0)::text AS digest
    FROM (SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.textsend(${row})), 'hex') AS h FROM ONLY ${quoteTable(table)}) d`
}

/** All ordinary tables' names and columns (generated ones too: they are compared as computed). */
export const DIGESTED_TABLES = `SELECT n.nspname AS schema, c.relname AS name, COALESCE((SELECT json_agg(a.attname ORDER BY a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark', 'tidemark_restore') AND n.nspname NOT LIKE 'pg\\_toast%' ORDER BY 1, 2`

export async function digestTables(
  query: (sql: string) => Promise<Record<string, unknown>[]>,
  tables?: readonly DigestedTable[],
): Promise<readonly TableDigest[]> {
  const wanted = tables ?? ((await query(DIGESTED_TABLES)) as unknown as DigestedTable[])
  const out: TableDigest[] = []
  for (const table of wanted) {
    const [row] = await query(digestSql(table))
    out.push({
      schema: table.schema,
      name: table.name,
      rows: BigInt(String(row?.['rows'] ?? 0)),
      digest: String(row?.['digest'] ?? ''),
    })
  }
  return out
}

/**
 * A table that is read by its name under an exported snapshot: locked, and proven to be the one that the snapshot saw.
 * Name resolution and locks look past the snapshot: a name may have come to stand for another table, and the table may
 * have been rewritten, altered or emptied, which the snapshot does not undo (hazard 48).
 */
import type pg from 'pg'
import { quoteLiteral, quoteTable } from '../dialect/quote.ts'
import { sqlState } from '../session/session.ts'

/** The table changed or vanished after the snapshot: it has to be read under a newer one. */
export class TableMoved extends Error {
  readonly vanished: boolean
  constructor(vanished: boolean) {
    super('the table is not the one that the snapshot saw')
    this.vanished = vanished
  }
}

/** A table as the snapshot has it. */
export interface SeenTable {
  readonly oid: number
  readonly schema: string
  readonly name: string
  /** relfilenode; 0 for none. */
  readonly filenode: string
  /** COLUMNS_FINGERPRINT */
  readonly fingerprint: string
}

/** Rows as texts, from the session that reads the table. */
type Query = (sql: string) => Promise<(string | null)[][]>

/** A look at the catalog as it is now, from a connection without the snapshot. */
export type CatalogNow = (
  oid: number,
) => Promise<{ readonly filenode: string; readonly fingerprint: string } | undefined>

/** What `CatalogNow` and the snapshot must agree on. Of pg_class as c. */
export const COLUMNS_FINGERPRINT = `COALESCE((SELECT string_agg(format('%s:%s:%s:%s:%s', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attgenerated), ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')`

export function catalogNow(client: pg.Client): CatalogNow {
  return async (oid) => {
    const found = await client.query<{ filenode: string; fingerprint: string }>(
      `SELECT pg_relation_filenode(c.oid)::text AS filenode, ${COLUMNS_FINGERPRINT} AS fingerprint FROM pg_class c WHERE c.oid = $1`,
      [oid],
    )
    return found.rows[0]
  }
}

/**
 * Locks the table for reading; only what renames a schema may still move its name.
 *
 * @throws TableMoved
 */
export async function pinTable(query: Query, table: SeenTable, now: CatalogNow): Promise<void> {
  try {
    await query(`LOCK TABLE ONLY ${quoteTable(table)} IN ACCESS SHARE MODE`)
  } catch (error) {
    // Renamed, dropped, or its schema is: 42P01, 3F000.
    if (sqlState(error) === '42P01' || sqlState(error) === '3F000') throw new TableMoved(true)
    throw error
  }
  await proveName(query, table)
  const current = await now(table.oid)
  if (current === undefined) throw new TableMoved(true)
  if (current.filenode !== table.filenode || current.fingerprint !== table.fingerprint)
    throw new TableMoved(false)
}

/**
 * Whether the name still stands for the table, asked in the session that reads by it: the answer and the reading resolve
 * names by the same catalog. Asked behind the lock and again when all is read, because ALTER SCHEMA … RENAME waits for
 * no lock of a table.
 *
 * @throws TableMoved
 */
export async function proveName(query: Query, table: SeenTable): Promise<void> {
  const [row] = await query(
    `SELECT pg_catalog.to_regclass(${quoteLiteral(quoteTable(table))})::pg_catalog.oid`,
  )
  if (Number(row?.[0] ?? 0) !== table.oid) throw new TableMoved(false)
}

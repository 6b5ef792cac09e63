/**
 * The staged disaster brings its own oracle: one transaction locks all tables, digests each in the server, deletes, and
 * commits, while the traffic waits. Those digests, not our own capture, are what the restored database must equal.
 */
import type pg from 'pg'
import { digestTables, DIGESTED_TABLES, type DigestedTable } from '../engines/postgres/session/digest.ts'
import { quoteTable } from '../engines/postgres/dialect/quote.ts'
import type { TableDigest } from '../core/ports/target.ts'

export interface Disaster {
  readonly xid: number
  readonly at: Date
  readonly deleted: number
  readonly digests: readonly TableDigest[]
}

/** @param client a session with the fixed settings, so that digests are comparable */
export async function deleteAllMessages(client: pg.Client): Promise<Disaster> {
  for (let left = TRIES; ; left--) {
    try {
      return await once(client)
    } catch (error) {
      await client.query('ROLLBACK')
      // Locking many tables under live traffic may meet a deadlock, as it would for anybody; the server picks who gives way.
      if ((error as { code?: string }).code !== '40P01' || left <= 0) throw error
    }
  }
}

const TRIES = 20

async function once(client: pg.Client): Promise<Disaster> {
  const rows = async (sql: string): Promise<Record<string, unknown>[]> =>
    (await client.query(sql)).rows as Record<string, unknown>[]
  await client.query('BEGIN')
  const tables = (await rows(DIGESTED_TABLES)) as unknown as DigestedTable[]
  await client.query(
    `LOCK TABLE ${tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ')} IN SHARE MODE`,
  )
  const digests = await digestTables(rows, tables)
  const deleted = (await client.query('DELETE FROM public.messages')).rowCount ?? 0
  const [moment] = await rows(`SELECT pg_current_xact_id()::xid::text AS xid, clock_timestamp() AS at`)
  await client.query('COMMIT')
  return { xid: Number(moment?.['xid']), at: moment?.['at'] as Date, deleted, digests }
}

/** Reads a database's schema until it was read undisturbed. */
import type pg from 'pg'
import { TidemarkError } from '../../core/errors.ts'
import { type ReadSchema, readSchema } from './catalog/read-schema.ts'
import { sqlState } from './session.ts'

/** Readings that DDL may disturb before it is given up. */
const TRIES = 40

/**
 * Reads the schema until nothing changed meanwhile: pg_get_*def functions look past the snapshot, so facts read while
 * somebody's DDL commits may be of two moments, or fail on an object that is gone.
 */
export async function readSteadySchema(client: pg.Client): Promise<ReadSchema> {
  for (let left = TRIES; ; left--) {
    const before = await newestRecord(client)
    let failure: unknown
    let read: ReadSchema | undefined
    try {
      await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
      read = await readSchema(client)
    } catch (error) {
      failure = error
    } finally {
      await client.query('ROLLBACK')
    }
    const undisturbed = before === (await newestRecord(client))
    if (read !== undefined && undisturbed) return read
    // Gone while it was read: also where no event trigger says so.
    const gone = ['XX000', '42P01', '42704'].includes(sqlState(failure) ?? '')
    if (left <= 0 || (failure !== undefined && !gone && (undisturbed || sqlState(failure) === undefined)))
      throw failure ?? new TidemarkError('SOURCE_UNREACHABLE', 'the schema kept changing while it was read')
  }
}

async function newestRecord(client: pg.Client): Promise<string> {
  return (
    (
      await client.query<{ n: string }>(
        "SELECT count(*)::text || ':' || COALESCE(max(id), 0)::text AS n FROM tidemark.ddl",
      )
    ).rows[0]?.n ?? ''
  )
}

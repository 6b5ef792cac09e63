/** The restore that a target holds half of: what was asked for, and the position that this meant then. */
import type pg from 'pg'
import type { BegunRestore } from '../../../core/ports/target.ts'
import { connect, connectionError, sqlState } from '../session/session.ts'

export interface HeldRestore {
  readonly restoreId: string
  readonly finished: boolean
  /** undefined where a version began it that did not note it. */
  readonly begun: BegunRestore | undefined
}

/** @returns undefined where none was begun */
export async function begunRestore(url: string): Promise<BegunRestore | undefined> {
  const client = await connect({ url, applicationName: 'tidemark_restore', role: 'target' })
  try {
    const held = await heldRestore(client)
    return held?.finished === false ? held.begun : undefined
  } finally {
    await client.end()
  }
}

/** @returns undefined where there is none, or none that this role may see */
export async function heldRestore(client: pg.Client): Promise<HeldRestore | undefined> {
  try {
    const { rows } = await client.query<{ id: string; finished: boolean; facts: Partial<BegunRestore> }>(
      'SELECT restore_id AS id, finished, to_jsonb(s) AS facts FROM tidemark_restore.state s',
    )
    const row = rows[0]
    if (row === undefined) return undefined
    const { asked, position, stream, hold } = row.facts
    const isNoted = typeof asked === 'string' && typeof position === 'string' && typeof stream === 'string'
    return {
      restoreId: row.id,
      finished: row.finished,
      begun: isNoted ? { asked, position, stream, ...(typeof hold === 'string' ? { hold } : {}) } : undefined,
    }
  } catch (error) {
    if (['42P01', '3F000', '42501'].includes(sqlState(error) ?? '')) return undefined
    throw connectionError(error, 'target')
  }
}

/** All or nothing, before anything else of the restore: half of a note would be taken for tables of somebody else. */
export async function noteRestore(
  client: pg.Client,
  restoreId: string,
  begun: BegunRestore | undefined,
): Promise<void> {
  await client.query('BEGIN')
  await client.query(`CREATE SCHEMA IF NOT EXISTS tidemark_restore;
    CREATE TABLE IF NOT EXISTS tidemark_restore.state (restore_id text NOT NULL, finished boolean NOT NULL);
    ALTER TABLE tidemark_restore.state
      ADD COLUMN IF NOT EXISTS asked text, ADD COLUMN IF NOT EXISTS position text, ADD COLUMN IF NOT EXISTS stream text,
      ADD COLUMN IF NOT EXISTS hold text;
    CREATE TABLE IF NOT EXISTS tidemark_restore.done (step text PRIMARY KEY, rows bigint);
    CREATE TABLE IF NOT EXISTS tidemark_restore.remembered (id bigserial PRIMARY KEY, fact text NOT NULL)`)
  await client.query(
    'INSERT INTO tidemark_restore.state SELECT $1, false WHERE NOT EXISTS (SELECT FROM tidemark_restore.state)',
    [restoreId],
  )
  // One that an older version began is the same restore, and gets its note now.
  if (begun !== undefined) {
    await client.query(
      'UPDATE tidemark_restore.state SET asked = $1, position = $2, stream = $3 WHERE asked IS NULL',
      [begun.asked, begun.position, begun.stream],
    )
    await client.query('UPDATE tidemark_restore.state SET hold = $1 WHERE hold IS NULL', [begun.hold ?? null])
  }
  await client.query('COMMIT')
}

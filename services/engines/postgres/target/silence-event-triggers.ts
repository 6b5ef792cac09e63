/** Keeps event triggers of the source from running for a restore's own commands. */
import type pg from 'pg'
import { connectionError, sqlState } from '../session/session.ts'

/**
 * The source's event triggers stand when a restore takes its own marks out, or comes back after a crash: its commands are
 * not the application's and run none of them. Before 17 those that are ENABLE ALWAYS still fire. A role that may not set
 * this could not make event triggers either.
 */
export async function silenceEventTriggers(client: pg.Client): Promise<void> {
  try {
    await client.query(
      `SELECT CASE WHEN current_setting('server_version_num')::int >= 170000 THEN set_config('event_triggers', 'off', false) ELSE set_config('session_replication_role', 'replica', false) END`,
    )
  } catch (error) {
    if (sqlState(error) !== '42501') throw connectionError(error, 'target')
  }
}

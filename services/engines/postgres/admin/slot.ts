/** The replication slot: its state, and what a refusal of the server means for the data. */
import type pg from 'pg'
import { TidemarkError } from '../../../core/errors.ts'
import { comparePositions, parsePosition, type Position, positionText } from '../../../core/position.ts'
import type { HeldLog } from '../../../core/ports/source.ts'
import { connectionError, serverText, sqlState } from '../session/session.ts'

/** As pg_replication_slots has it; its `state` is wal_status: reserved, extended, unreserved, lost. */
export interface SlotState extends HeldLog {
  readonly activePid: number | undefined
  /** Of who reads it, as far as the role may know: its program, where it is, since when. */
  readonly reader: string | undefined
}

export async function readSlot(client: pg.Client, name: string): Promise<SlotState | undefined> {
  const found = await client.query<{
    confirmed: string | null
    active: boolean
    pid: number | null
    status: string | null
    safe: string | null
    application: string | null
    host: string | null
    since: string | null
  }>(
    `SELECT s.confirmed_flush_lsn::text AS confirmed, s.active, s.active_pid AS pid, s.wal_status AS status, s.safe_wal_size::text AS safe,
            a.application_name AS application, COALESCE(host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'the local socket' END) AS host,
            to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
       FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1 AND s.database = current_database()`,
    [name],
  )
  const row = found.rows[0]
  if (row === undefined) return undefined
  return {
    name,
    confirmed: parsePosition(row.confirmed ?? '0/0'),
    active: row.active,
    activePid: row.pid ?? undefined,
    reader: readerOf(row),
    state: row.status ?? 'lost',
    isLost: (row.status ?? 'lost') === 'lost',
    safeBytes: row.safe === null ? undefined : Number(row.safe),
  }
}

function readerOf(row: {
  readonly application: string | null
  readonly host: string | null
  readonly since: string | null
}): string | undefined {
  const known = [
    ...(row.application === null || row.application === '' ? [] : [row.application]),
    ...(row.host === null ? [] : [`from ${row.host}`]),
    ...(row.since === null ? [] : [`since ${row.since}`]),
  ]
  return known.length === 0 ? undefined : known.join(', ')
}

/** The slot has a reader, and it is not this process. */
export function slotTaken({ name, activePid, reader }: SlotState): TidemarkError {
  const pid = activePid ?? 0
  return new TidemarkError(
    'SLOT_TAKEN',
    `another reader has the slot ${name}: process ${pid} of the server${reader === undefined ? '' : ` (${reader})`}`,
    {
      next: `stop that reader, if it is another Tidemark; where nothing runs there any more: SELECT pg_terminate_backend(${pid})  on the source; up goes on by itself`,
    },
  )
}

/**
 * Refuses a slot that cannot continue what the ledger holds (hazards 4, 14, 15).
 *
 * @param durable what the ledger says may be acknowledged
 */
export function checkSlot(slot: SlotState | undefined, name: string, durable: Position): SlotState {
  if (slot === undefined) throw missingSlot(name)
  if (slot.isLost)
    throw new TidemarkError(
      'SLOT_LOST',
      `the slot ${name} was invalidated: the source removed WAL that it still needed`,
    )
  if (comparePositions(slot.confirmed, durable) > 0) {
    throw new TidemarkError(
      'SLOT_AHEAD',
      `the slot ${name} stands at ${positionText(slot.confirmed)}, the ledger ends at ${positionText(durable)}`,
    )
  }
  return slot
}

/** A clone has none either, so this alone begins no generation. */
export function missingSlot(name: string): TidemarkError {
  return new TidemarkError('SLOT_MISSING', `the source has no slot ${name}`)
}

/** The server's function that failed: never translated. */
function routineOf(error: unknown): string {
  return error instanceof Error && 'routine' in error && typeof error.routine === 'string'
    ? error.routine
    : ''
}

/**
 * What the server decodes was written while there was no publication of ours: PostgreSQL 18 warns and goes on without it, older
 * ones stop.
 */
export function publicationHole(said: string): TidemarkError {
  return new TidemarkError(
    'PUBLICATION_MISSING',
    `rows were written while there was no publication, and the server cannot send them: ${said}`,
  )
}

/** SQLSTATE program_limit_exceeded: a message above 1 GB. */
export const PROGRAM_LIMIT = '54000'

/**
 * An error of START_REPLICATION or of a running stream. Most refusals of its class cost nothing (a missing output plugin, a
 * setting): whether the slot is lost is what the slot says.
 *
 * @param slot asks for its state, over another connection
 */
export async function streamError(
  error: unknown,
  slot: () => Promise<SlotState | undefined>,
): Promise<TidemarkError> {
  const state = sqlState(error)
  const text = error instanceof Error ? error.message : ''
  const coded = (code: 'SLOT_TAKEN' | 'SLOT_LOST' | 'SLOT_MISSING' | 'PUBLICATION_MISSING'): TidemarkError =>
    new TidemarkError(code, serverText(error), { cause: error })
  if (state === PROGRAM_LIMIT)
    return new TidemarkError('ROW_TOO_LARGE', `the server cannot send a change: ${serverText(error)}`, {
      cause: error,
      next: 'tidemark up --new-generation  (a gap, and a new base); a primary key on the table makes its changes smaller',
    })
  if (state === '55006') {
    const now = await slot().catch(() => undefined)
    return now?.active === true ? slotTaken(now) : coded('SLOT_TAKEN')
  }
  // The server still has the slot, and no longer the WAL behind it. What it had is a gap all the same.
  if (/requested WAL segment \S+ has already been removed/.test(text)) return coded('SLOT_LOST')
  if (state === '55000' || state === '58P01' || state === '42704') {
    let now: SlotState | undefined
    try {
      now = await slot()
    } catch (asking) {
      return connectionError(asking, 'source')
    }
    if (now === undefined) return coded('SLOT_MISSING')
    if (now.isLost) return coded('SLOT_LOST')
  }
  if (state === '42704' && /publication/.test(routineOf(error))) return publicationHole(text)
  return connectionError(error, 'source')
}

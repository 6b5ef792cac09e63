/** The replication slot: its state, and what a refusal of the server means for the data. */
import type pg from 'pg'
import { TidemarkError } from '../../core/errors.ts'
import { compareLsn, formatLsn, type Lsn, parseLsn } from '../../core/position.ts'
import type { SlotState } from '../../core/ports/source.ts'
import { connectionError, serverText, sqlState } from './session.ts'

export async function readSlot(client: pg.Client, name: string): Promise<SlotState | undefined> {
  const found = await client.query<{
    confirmed: string | null
    restart: string | null
    active: boolean
    pid: number | null
    status: string | null
    safe: string | null
  }>(
    `SELECT confirmed_flush_lsn::text AS confirmed, restart_lsn::text AS restart, active, active_pid AS pid, wal_status AS status, safe_wal_size::text AS safe
       FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()`,
    [name],
  )
  const row = found.rows[0]
  if (row === undefined) return undefined
  return {
    name,
    confirmed: parseLsn(row.confirmed ?? '0/0'),
    restart: parseLsn(row.restart ?? '0/0'),
    active: row.active,
    activePid: row.pid ?? undefined,
    walStatus: row.status ?? 'lost',
    safeBytes: row.safe === null ? undefined : Number(row.safe),
  }
}

/**
 * Refuses a slot that cannot continue what the ledger holds (hazards 4, 14, 15).
 *
 * @param durable what the ledger says may be acknowledged
 */
export function checkSlot(slot: SlotState | undefined, name: string, durable: Lsn): SlotState {
  if (slot === undefined) throw new TidemarkError('SLOT_LOST', `the slot ${name} is gone from the source`)
  if (slot.walStatus === 'lost')
    throw new TidemarkError(
      'SLOT_LOST',
      `the slot ${name} was invalidated: the source removed WAL that it still needed`,
    )
  if (compareLsn(slot.confirmed, durable) > 0) {
    throw new TidemarkError(
      'SLOT_AHEAD',
      `the slot ${name} stands at ${formatLsn(slot.confirmed)}, the ledger ends at ${formatLsn(durable)}`,
    )
  }
  return slot
}

/** An error of START_REPLICATION or of a running stream. */
export function streamError(error: unknown): TidemarkError {
  const state = sqlState(error)
  const text = error instanceof Error ? error.message : ''
  if (state === '55006') return new TidemarkError('SLOT_TAKEN', serverText(error), { cause: error })
  if (
    state === '55000' ||
    (state === '42704' && /replication slot/.test(text)) ||
    state === '58P01' ||
    (state === 'XX000' && /requested WAL segment \S+ has already been removed/.test(text))
  ) {
    // The last: the server still has the slot, and no longer the WAL behind it. What it had is a gap all the same.
    return new TidemarkError('SLOT_LOST', serverText(error), { cause: error })
  }
  if (state === '42704') return new TidemarkError('PUBLICATION_UNSAFE', serverText(error), { cause: error })
  return connectionError(error, 'source')
}

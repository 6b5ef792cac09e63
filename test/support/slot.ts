/** A backup's slot, behind a job that ended: the server's process lets go of it a moment later than the job is over. */
import type { Backup } from './backup.ts'

export async function slotFree(backup: Backup): Promise<void> {
  await backup.until(async () => {
    const { rowCount } = await backup.source.query(
      'SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active',
      [backup.slot],
    )
    return rowCount === 0
  })
}

export async function dropSlot(backup: Backup): Promise<void> {
  await slotFree(backup)
  await backup.source.query('SELECT pg_drop_replication_slot($1)', [backup.slot])
}

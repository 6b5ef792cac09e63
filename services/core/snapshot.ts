/** Snapshots of transactions as PostgreSQL prints them. */

/** Whether a committed transaction is in a snapshot, `xmin:xmax:xip,…` (PostgreSQL manual, pg_current_snapshot). */
export function isVisible(snapshot: string, xid: string): boolean {
  const [xmin = '0', xmax = '0', running = ''] = snapshot.split(':')
  const id = BigInt(xid)
  return id < BigInt(xmin) || (id < BigInt(xmax) && !running.split(',').includes(xid))
}

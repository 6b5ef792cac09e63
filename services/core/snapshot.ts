/** Snapshots of transactions as PostgreSQL prints them. */

/** Whether a committed transaction is in a snapshot, `xmin:xmax:xip,…` (PostgreSQL manual, pg_current_snapshot). */
export function isVisible(snapshot: string, xid: string): boolean {
  const [xmin = '0', xmax = '0', running = ''] = snapshot.split(':')
  const id = BigInt(xid)
  return id < BigInt(xmin) || (id < BigInt(xmax) && !running.split(',').includes(xid))
}

/** Whether one snapshot was surely taken before another one of the same server: it knows of fewer transactions. */
export function isBefore(snapshot: string, other: string): boolean {
  const next = (text: string): bigint => BigInt(text.split(':')[1] ?? '0')
  return next(snapshot) < next(other)
}

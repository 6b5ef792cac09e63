/** Which transactions somebody has seen, as a text: `xmin:xmax:xip,…`. */

/**
 * Whether a committed transaction is in a snapshot: all below `xmin` are, none from `xmax` on, and between them all but those that are
 * named.
 */
export function isVisible(snapshot: string, transaction: string): boolean {
  const [xmin = '0', xmax = '0', running = ''] = snapshot.split(':')
  const id = BigInt(transaction)
  return id < BigInt(xmin) || (id < BigInt(xmax) && !running.split(',').includes(transaction))
}

/** Whether one snapshot was surely taken before another one of the same server: it knows of fewer transactions. */
export function isBefore(snapshot: string, other: string): boolean {
  const next = (text: string): bigint => BigInt(text.split(':')[1] ?? '0')
  return next(snapshot) < next(other)
}

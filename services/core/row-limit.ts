/** The largest row that is taken. What a larger one would have said is a gap of its table. */
import { totalmem } from 'node:os'

/** No server sends a larger message. */
const MOST = 1024 ** 3
const LEAST = 16 * 1024 ** 2
/** What a process of ours takes beside the row. */
const OWN = 512 * 1024 ** 2

/**
 * Where the settings name no limit: what the machine, or the container, has room for. The stream holds a row twice at
 * most, and so does a copy of a table beside it.
 */
export function largestRowHere(): number {
  // Zero where nothing limits the process; or more than there is.
  const constrained = process.constrainedMemory()
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
  return Math.floor(Math.min(MOST, Math.max(LEAST, (memory - OWN) / 4)))
}

/** Begins the reason of every such gap. */
const ROW_TOO_LARGE = 'ROW_TOO_LARGE'

/** @param bytes of the row as the server sends it: of an UPDATE under identity FULL the old and the new row together */
export function rowTooLarge(bytes: number, limit: number): string {
  return `${ROW_TOO_LARGE}: a row of ${megabytes(bytes)} is above source.largestRow, ${megabytes(limit)}`
}

/** The server's own limit, whatever ours is. */
export function rowNotSent(limit: string): string {
  return `${ROW_TOO_LARGE}: a row is above ${limit}, which the server cannot send`
}

export function isRowTooLarge(reason: string): boolean {
  return reason.startsWith(`${ROW_TOO_LARGE}:`)
}

function megabytes(bytes: number): string {
  const shown = bytes / 1024 ** 2
  return `${shown.toFixed(shown < 10 ? 1 : 0)} MiB`
}

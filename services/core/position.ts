/**
 * Positions in a generation's commit order, and the only code that compares them.
 *
 * PostgreSQL: (timeline, commit LSN, ordinal). The commit LSN is BEGIN's final_lsn; the end LSN, which comes with
 * COMMIT, serves for acknowledgement alone. Row LSNs are never used: they go backwards (hazards 6, 7).
 */
import { TidemarkError } from './errors.ts'

/** A WAL location: 64 bits, never a JS number. Written as PostgreSQL does, `16/B374D848`. */
export type Lsn = bigint & { readonly brand: 'Lsn' }

/** A place in commit order. `ordinal` is the index of the pgoutput change in its transaction, from 0. */
export interface Position {
  readonly timeline: number
  readonly lsn: Lsn
  readonly ordinal: number
}

/** The ordinal that stands for "the whole transaction". */
export const WHOLE_TRANSACTION = Number.MAX_SAFE_INTEGER

export const LSN_ZERO = 0n as Lsn

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/

/** @throws TidemarkError POINT_INVALID when the text is not an LSN. */
export function parseLsn(text: string): Lsn {
  const match = LSN_TEXT.exec(text)
  if (match === null) {
    throw new TidemarkError('POINT_INVALID', `not a WAL location: "${text.slice(0, 40)}"`)
  }
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn
}

export function isLsnText(text: string): boolean {
  return LSN_TEXT.test(text)
}

export function toLsn(value: bigint): Lsn {
  return value as Lsn
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

/** Negative, zero or positive, as for Array.sort. */
export function compareLsn(a: Lsn, b: Lsn): number {
  return a < b ? -1 : a > b ? 1 : 0
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b
}

/** Commit order inside one generation. The timeline orders nothing by itself: LSNs grow over a switch. */
export function comparePosition(a: Position, b: Position): number {
  const byLsn = compareLsn(a.lsn, b.lsn)
  return byLsn !== 0 ? byLsn : a.ordinal - b.ordinal
}

const PAGE_BYTES = 8192n
/** SizeOfXLogShortPHD */
const PAGE_HEADER_BYTES = 24n

/**
 * Where the last record ended, of the place where the next one begins (pg_current_wal_insert_lsn): at the start of a page they
 * are a header apart, and a stream comes no further than the first on a server that writes nothing.
 */
export function endOfRecords(insert: Lsn): Lsn {
  return insert % PAGE_BYTES === PAGE_HEADER_BYTES ? toLsn(insert - PAGE_HEADER_BYTES) : insert
}

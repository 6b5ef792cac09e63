/**
 * Positions in a generation's commit order, and the only code that compares them or counts with them.
 *
 * A position is the engine's: 64 bits of which nobody above the engine knows more than their order. A transaction has two: the
 * place in commit order that it is known by, and its end, which serves for acknowledgement alone. Places of rows are never
 * used: they go backwards (hazards 6, 7).
 */
import { TidemarkError } from './errors.ts'

/** 64 bits, never a JS number. */
export type Position = bigint & { readonly brand: 'Position' }

/** Before everything. */
export const ORIGIN = 0n as Position

const TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/

/**
 * From two halves of 32 bits in hexadecimal, `16/B374D848`: what the ledger and every other object say, whatever the engine.
 *
 * @throws TidemarkError POINT_INVALID when the text is none
 */
export function parsePosition(text: string): Position {
  const match = TEXT.exec(text)
  if (match === null) {
    throw new TidemarkError('POINT_INVALID', `not a position: "${text.slice(0, 40)}"`)
  }
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Position
}

export function isPositionText(text: string): boolean {
  return TEXT.test(text)
}

export function positionOf(value: bigint): Position {
  return value as Position
}

export function positionText(position: Position): string {
  return `${(position >> 32n).toString(16).toUpperCase()}/${(position & 0xffffffffn).toString(16).toUpperCase()}`
}

/** Negative, zero or positive, as for Array.sort. */
export function comparePositions(a: Position, b: Position): number {
  return a < b ? -1 : a > b ? 1 : 0
}

export function laterPosition(a: Position, b: Position): Position {
  return a > b ? a : b
}

/** Where a change stands in a generation: its transaction, and its number in there. */
export interface ChangePlace {
  readonly position: Position
  readonly ordinal: number
}

export function isBefore(a: ChangePlace, b: ChangePlace): boolean {
  return (comparePositions(a.position, b.position) || a.ordinal - b.ordinal) < 0
}

/** The last one that is not yet there: a point right before a commit has nothing of it. */
export function positionBefore(position: Position): Position {
  return positionOf(position - 1n)
}

/** The first one behind: what commits below it is all that commits up to here. */
export function positionAfter(position: Position): Position {
  return positionOf(position + 1n)
}

const PAGE_BYTES = 8192n
/** SizeOfXLogShortPHD */
const PAGE_HEADER_BYTES = 24n

/**
 * Where the last record ended, of the place where the next one begins as the server says it: at the start of a page they
 * are a header apart, and a stream comes no further than the first on a server that writes nothing.
 */
export function endOfRecords(insert: Position): Position {
  return insert % PAGE_BYTES === PAGE_HEADER_BYTES ? positionOf(insert - PAGE_HEADER_BYTES) : insert
}

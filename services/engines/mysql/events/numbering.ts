/**
 * Positions of a generation: how many transactions its server has executed since it began. The number follows from the set of
 * them alone, so that the log, a snapshot and the server's own word for now give the same without anybody counting.
 */
import { type Position, positionOf } from '../../../core/position.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { containsGtids, type ExecutedGtids } from './gtid.ts'

/** Room for what is before and behind each. */
const STEP = 16n
const VIEW = 4n
const END = 8n

/** @throws TidemarkError SOURCE_DIVERGED where the server has not executed what the generation began with */
export function numberOf(executed: ExecutedGtids, origin: ExecutedGtids): bigint {
  if (!containsGtids(executed, origin))
    throw new TidemarkError(
      'SOURCE_DIVERGED',
      'the server has not executed all that it had when this generation began: it was reset, or is another one',
    )
  return sizeOf(executed) - sizeOf(origin)
}

/** MariaDB's domains count by themselves, and without gaps in strict mode; a gap only leaves numbers out. */
function sizeOf(executed: ExecutedGtids): bigint {
  return executed.flavour === 'mysql' ? executed.set.size : executed.set.sum
}

/** Of the transaction that was executed last. */
export function positionOfNumber(number: bigint): Position {
  return positionOf(number * STEP)
}

/** Of a view of tables that has it and none behind it: what is known up to its end reaches further than the view. */
export function viewOfNumber(number: bigint): Position {
  return positionOf(number * STEP + VIEW)
}

export function endOfNumber(number: bigint): Position {
  return positionOf(number * STEP + END)
}

/** Of a server: while it has executed nothing a generation is where it began. */
export function headOfNumber(number: bigint): Position {
  return number === 0n ? viewOfNumber(number) : endOfNumber(number)
}

/** Of the newest one at or before a position. */
export function numberAt(position: Position): bigint {
  return position / STEP
}

/**
 * The records that a unit wrote into one partition: its id, their dense numbers and their count prove that none is
 * missing and none is another's.
 */
import { TidemarkError } from '../../../core/errors.ts'
import type { LogRecord, PartitionReader } from './partition-reader.ts'
import { parseStamp, streamMark, type Unit, type UnitPartition } from '../records/unit.ts'

/** One change's record, or its pieces. */
export interface OwnRecord {
  readonly values: (Buffer | null)[]
  readonly pieces: number
  /** The shape's id, from the record's stamp. */
  readonly shape: string
}

export interface OwnRecordsOptions {
  readonly reader: PartitionReader
  readonly unit: Unit
  readonly partition: UnitPartition
  /** What the unit before it said of the partition; a reader that begins with this unit takes its word for what came before. */
  readonly before: UnitPartition | undefined
  readonly signal: AbortSignal
  readonly onForeign:
    | ((place: { readonly topic: string; readonly partition: number; readonly offset: string }) => void)
    | undefined
}

/** Links and tombstones are left out. @throws TidemarkError LOG_HOLE, LOG_UNKNOWN */
export async function ownRecords(options: OwnRecordsOptions): Promise<OwnRecord[]> {
  const { reader, unit, partition, before, signal } = options
  const mark = streamMark(unit.stream)
  let number = partition.number - partition.records
  // A writer that found none of the units before it, because they are stored and gone, counts from the beginning.
  if (before !== undefined && before.number !== number && number !== 0)
    throw hole(partition, `number ${before.number + 1} is missing, its unit begins with ${number + 1}`)
  const own: OwnRecord[] = []
  for (const record of await recordsOf(reader, partition, signal)) {
    const stamp = parseStamp(record.stamp)
    if (stamp === undefined) {
      const { topic } = partition
      options.onForeign?.({ topic, partition: partition.partition, offset: String(record.offset) })
      continue
    }
    if (stamp.generation !== unit.generation || stamp.term !== unit.term || stamp.unit !== unit.unit) continue
    // Another backup counts its units as this one does.
    if ((record.stream?.toString('latin1') ?? '') !== mark) continue
    if (stamp.unknown !== undefined)
      throw new TidemarkError(
        'LOG_UNKNOWN',
        `${partition.topic}/${partition.partition}: a record with the mark "${stamp.unknown}" at number ${stamp.number}`,
      )
    if (stamp.number !== number + 1)
      throw hole(partition, `number ${number + 1} is missing, ${stamp.number} is there`)
    number = stamp.number
    if (stamp.isLink || stamp.isTombstone) continue
    if (stamp.piece === 0) own.push({ values: [record.value], shape: stamp.shape, pieces: stamp.pieces })
    else {
      // Pieces lie one behind the other: nobody else's record of this unit comes between them.
      const begun = own.at(-1)
      if (begun === undefined || begun.values.length !== stamp.piece || begun.pieces !== stamp.pieces)
        throw hole(partition, `a piece of a change without the one before it, at number ${stamp.number}`)
      begun.values.push(record.value)
    }
  }
  if (number !== partition.number)
    throw hole(partition, `it ends at number ${number}, its unit says ${partition.number}`)
  return own
}

/** What lies before the unit's first record is not its own: where only that is gone, nothing is missing. */
async function recordsOf(
  reader: PartitionReader,
  partition: UnitPartition,
  signal: AbortSignal,
): Promise<LogRecord[]> {
  try {
    return await reader.upTo(partition.offset, signal)
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'LOG_HOLE' || reader.next >= partition.first)
      throw error
    reader.skip(partition.first - 1n)
    return reader.upTo(partition.offset, signal)
  }
}

function hole(partition: UnitPartition, what: string): TidemarkError {
  return new TidemarkError('LOG_HOLE', `${partition.topic}/${partition.partition}: ${what}`)
}

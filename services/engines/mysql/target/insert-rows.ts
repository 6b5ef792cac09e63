/** Rows as INSERTs, where the server does not let LOAD DATA in: the same lines, put between quotes. */
import { TidemarkError } from '../../../core/errors.ts'
import { RowsRefused } from '../../../core/ports/target.ts'
import { execute } from '../session/load-line.ts'
import type { PacketLine } from '../session/packets.ts'

const TAB = 9
const NEWLINE = 10
const BACKSLASH = 92
const BATCH_BYTES = 512 * 1024
const MOST_WARNINGS = 60_000
const COMMA = Buffer.from(',')
const NULL = Buffer.from('NULL')

/** Lines of whole rows, one after the other; a row may lie in several chunks. */
async function* lines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = []
  for await (const chunk of chunks) {
    let from = 0
    // A newline in a value is escaped.
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      const tail = chunk.subarray(from, at)
      yield rest.length === 0 ? tail : Buffer.concat([...rest, tail])
      rest = []
      from = at + 1
    }
    // The chunk's buffer is used again.
    if (from < chunk.length) rest.push(Buffer.from(chunk.subarray(from)))
  }
  if (rest.length > 0) throw new TidemarkError('INTERNAL', 'rows that end within a line')
}

/** @param introducers what stands in front of a field's text, by its place. @returns with how many fields that are empty and counted */
function tuple(
  line: Buffer,
  introducers: readonly Buffer[],
  counted: ReadonlySet<number>,
): { readonly bytes: Buffer; readonly empty: number } {
  const parts: Buffer[] = []
  let from = 0
  let empty = 0
  for (const [i, introducer] of introducers.entries()) {
    const tab = i === introducers.length - 1 ? line.length : line.indexOf(TAB, from)
    const isNull = tab - from === 2 && line[from] === BACKSLASH && line[from + 1] === 78
    if (tab === from && counted.has(i)) empty++
    parts.push(i === 0 ? OPEN : COMMA)
    if (isNull) parts.push(NULL)
    else parts.push(introducer, line.subarray(from, tab), QUOTE)
    from = tab + 1
  }
  if (introducers.length === 0) parts.push(OPEN)
  parts.push(CLOSE)
  return { bytes: Buffer.concat(parts), empty }
}

const OPEN = Buffer.from('(')
const CLOSE = Buffer.from(')')
const QUOTE = Buffer.from("'")

export interface InsertInto {
  /** `INSERT INTO … VALUES `, in UTF-8. */
  readonly head: string
  /** With the quote that opens the text. */
  readonly introducers: readonly string[]
  /** Bytes that the server takes at once. */
  readonly largest: number
  /** Places of fields that give a warning each where they are empty, and nothing else may give one. */
  readonly counted: ReadonlySet<number>
}

/** @throws ServerRefusal, RowsRefused, and what the rows throw */
export async function insertRows(
  line: PacketLine,
  { head, introducers, largest, counted }: InsertInto,
  rows: AsyncIterable<Buffer>,
): Promise<number> {
  const opening = introducers.map((introducer) => Buffer.from(introducer))
  const begin = Buffer.from(head)
  let batch: Buffer[] = []
  let bytes = 0
  let count = 0
  let expected = 0
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return
    const { rows: taken, warnings } = await execute(line, [begin, ...batch])
    if (warnings !== expected) throw new RowsRefused('values would not stay as they are', '01000', undefined)
    count += taken
    batch = []
    bytes = 0
    expected = 0
  }
  for await (const row of lines(rows)) {
    const { bytes: one, empty } = tuple(row, opening, counted)
    if (one.length + begin.length + 1 > largest)
      throw new RowsRefused(
        `a row is larger than max_allowed_packet of the target, which is ${largest}`,
        '08S01',
        undefined,
      )
    const isFull = bytes + one.length > Math.min(BATCH_BYTES, largest - begin.length - 2)
    // The answer counts them in two bytes.
    if (isFull || expected + empty > MOST_WARNINGS) await flush()
    if (batch.length > 0) batch.push(COMMA)
    batch.push(one)
    expected += empty
    bytes += one.length + 1
  }
  await flush()
  return count
}

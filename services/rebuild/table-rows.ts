/** A table's rows at the point, as a load takes them: the base's rows with their changes folded in, then new ones. */
import { TidemarkError } from '../core/errors.ts'
import type { RowPrinter } from '../core/ports/dialect.ts'
import { release } from '../core/release.ts'
import { ByteSource } from '../core/byte-source.ts'
import { PieceSink } from '../core/piece-sink.ts'
import type { Repository } from '../repository/repository.ts'
import type { TablePlan } from './plan.ts'
import { baseBlocks } from '../history/segment-reader.ts'
import type { TableFold } from './table-fold.ts'

const CHUNK_BYTES = 128 * 1024

/** The table's rows at the point, in chunks. */
export function tableRows(
  repository: Repository,
  table: TablePlan,
  fold: TableFold,
  printer: RowPrinter,
  onRows: (count: number) => void,
): { chunks: AsyncIterable<Buffer>; rows: () => number } {
  let total = 0
  let reported = 0
  // Three buffers in turn: one is filled while the target has the two before it.
  const sinks = Array.from({ length: 3 }, () => new PieceSink(CHUNK_BYTES + 16 * 1024))
  let sink = sinks[0]!
  let turn = 0
  printer.head(sink)
  const take = (source: ByteSource): void => {
    if (!printer.print(source, sink))
      throw new TidemarkError(
        'FOLD_MISMATCH',
        `${table.schema}.${table.name}: a value of a row is nowhere in the backup`,
      )
    total++
  }
  async function* chunks(): AsyncIterable<Buffer> {
    const isFull = (): boolean => sink.at >= CHUNK_BYTES || sink.hasLarge
    const flush = function* (): Generator<Buffer> {
      yield* sink.pieces()
      turn = (turn + 1) % sinks.length
      sink = sinks[turn]!
      sink.clear()
      onRows(total - reported)
      reported = total
    }
    let opened: ReturnType<TableFold['open']> | undefined
    if (table.base !== undefined) {
      for await (const block of baseBlocks(repository, table.base.body)) {
        opened ??= fold.open(block.layout, take)
        const source = new ByteSource(block.raw)
        for (let i = 0; i < block.rows; i++) {
          opened.next(source)
          if (isFull()) yield* flush()
        }
        // Its rows are out, or in the fold's own memory.
        release(block.raw)
      }
    }
    opened ??= fold.open(undefined, take)
    for (const _ of opened.finish()) if (isFull()) yield* flush()
    printer.tail(sink)
    yield* flush()
    onRows(total - reported)
    reported = total
  }
  return { chunks: chunks(), rows: () => total }
}

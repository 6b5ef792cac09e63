/** A table's rows at the point, as COPY reads them: the base's rows with their changes folded in, then new ones. */
import { TidemarkError } from '../core/errors.ts'
import { RowsRefused } from '../core/ports/target.ts'
import { release } from '../core/release.ts'
import { ByteSource } from '../core/byte-source.ts'
import { PieceSink } from '../core/piece-sink.ts'
import type { Repository } from '../repository/repository.ts'
import { binaryHeader, BinaryPrinter, binaryTrailer } from './binary-rows.ts'
import type { TablePlan } from './plan.ts'
import type { RowLayout } from '../history/row-layout.ts'
import { baseBlocks } from '../history/segment-reader.ts'
import type { TableFold } from './table-fold.ts'

export type RowFormat = 'text' | 'binary'

export interface RowForm {
  readonly format: RowFormat
  /** Columns of "char" are text in the target: their bytes are escaped for that. */
  readonly charsAsText: boolean
}

/** SQLSTATE character_not_in_repertoire */
const NO_TEXT = '22021'

const COPY_CHUNK = 128 * 1024

/** The table's rows at the point, in chunks. */
export function tableRows(
  repository: Repository,
  table: TablePlan,
  fold: TableFold,
  { format, charsAsText }: RowForm,
  onRows: (count: number) => void,
): { chunks: AsyncIterable<Buffer>; rows: () => number } {
  let total = 0
  let reported = 0
  // Three buffers in turn: one is filled while the target has the two before it.
  const sinks = Array.from({ length: 3 }, () => new PieceSink(COPY_CHUNK + 16 * 1024))
  let sink = sinks[0]!
  let turn = 0
  if (format === 'binary') binaryHeader(sink)
  const print = (layout: RowLayout) => {
    const types = table.history.last!.columns.map((column) => column.typeOid)
    const binary = new BinaryPrinter(layout.kinds, types)
    const onChar = (): void => {
      if (!charsAsText)
        throw new RowsRefused(
          `${table.schema}.${table.name}: a value of "char" that older and newer servers read otherwise as text`,
          NO_TEXT,
          undefined,
        )
    }
    const write =
      format === 'text'
        ? (source: ByteSource): boolean => layout.print(source, sink, onChar)
        : (source: ByteSource): boolean => binary.print(source, sink)
    return (source: ByteSource): void => {
      if (!write(source))
        throw new TidemarkError(
          'FOLD_MISMATCH',
          `${table.schema}.${table.name}: a value of a row is nowhere in the backup`,
        )
      total++
    }
  }
  async function* chunks(): AsyncIterable<Buffer> {
    const isFull = (): boolean => sink.at >= COPY_CHUNK || sink.hasLarge
    const flush = function* (): Generator<Buffer> {
      yield* sink.pieces()
      turn = (turn + 1) % sinks.length
      sink = sinks[turn]!
      sink.clear()
      onRows(total - reported)
      reported = total
    }
    let opened: ReturnType<TableFold['open']> | undefined
    let printing: ((source: ByteSource) => void) | undefined
    const take = (source: ByteSource): void => printing!(source)
    if (table.base !== undefined) {
      for await (const block of baseBlocks(repository, table.base.body)) {
        if (opened === undefined) {
          opened = fold.open(block.layout, take)
          printing = print(opened.layout)
        }
        const source = new ByteSource(block.raw)
        for (let i = 0; i < block.rows; i++) {
          opened.next(source)
          if (isFull()) yield* flush()
        }
        // Its rows are out, or in the fold's own memory.
        release(block.raw)
      }
    }
    if (opened === undefined) {
      opened = fold.open(undefined, take)
      printing = print(opened.layout)
    }
    for (const _ of opened.finish()) if (isFull()) yield* flush()
    if (format === 'binary') binaryTrailer(sink)
    yield* flush()
    onRows(total - reported)
    reported = total
  }
  return { chunks: chunks(), rows: () => total }
}

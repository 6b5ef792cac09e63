/** Rows as lines of COPY's text format, for every table and every value. */
import type { ByteSink } from '../../../core/byte-sink.ts'
import type { ByteSource } from '../../../core/byte-source.ts'
import type { RowPrinter } from '../../../core/ports/dialect.ts'
import { RowsRefused } from '../../../core/ports/target.ts'
import type { RelationVersion, ValueKind } from '../../../core/relation.ts'
import { typeOidOf } from './column-type.ts'
import { escapedChar, ONE_CHAR, oneCharOf } from './one-char.ts'
import { printField } from '../../../formats/value-printer.ts'

/** SQLSTATE character_not_in_repertoire */
const NO_TEXT = '22021'

export class TextPrinter implements RowPrinter {
  readonly form = 'text'
  readonly #table: Pick<RelationVersion, 'schema' | 'name'>
  readonly #kinds: readonly ValueKind[]
  readonly #isChar: readonly boolean[]
  /** Columns of "char" are text in the target: their bytes are escaped for that. */
  readonly #charsAsText: boolean

  constructor(relation: RelationVersion, charsAsText: boolean) {
    this.#table = relation
    this.#kinds = relation.columns.map(({ kind }) => kind)
    this.#isChar = relation.columns.map((column) => typeOidOf(column) === ONE_CHAR)
    this.#charsAsText = charsAsText
  }

  head(): void {
    // Lines stand for themselves.
  }

  tail(): void {
    // Lines stand for themselves.
  }

  print(source: ByteSource, sink: ByteSink): boolean {
    const kinds = this.#kinds
    const isChar = this.#isChar
    let whole = true
    for (let i = 0; i < kinds.length; i++) {
      if (i > 0) {
        sink.reserve(1)
        sink.buffer[sink.at++] = 9
      }
      const start = sink.at
      const state = printField(source, kinds[i]!, sink)
      if (isChar[i]! && state === 'value') this.#escapeChar(sink, start)
      if (state === 'unchanged' || state === 'absent') whole = false
    }
    sink.reserve(1)
    sink.buffer[sink.at++] = 10
    return whole
  }

  /** The "char" from `start` on, which may be a byte that is no text: escaped twice, for COPY too. */
  #escapeChar(sink: ByteSink, start: number): void {
    const length = sink.at - start
    const first = sink.buffer[start]!
    // In COPY's text a backslash of its own is two.
    const byte =
      length === 1 && first >= 128
        ? first
        : length === 5
          ? oneCharOf(sink.buffer, start + 1, sink.at)
          : undefined
    if (byte === undefined) return
    if (!this.#charsAsText) throw this.#refused()
    sink.at = start
    sink.reserve(5)
    sink.at += sink.buffer.write(`\\${escapedChar(byte)}`, sink.at, 'latin1')
  }

  #refused(): RowsRefused {
    const { schema, name } = this.#table
    return new RowsRefused(
      `${schema}.${name}: a value of "char" that older and newer servers read otherwise as text`,
      NO_TEXT,
      undefined,
    )
  }
}

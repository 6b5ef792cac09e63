/**
 * Rows as lines that LOAD DATA takes: tabs between fields, `\N` for NULL, a backslash in front of what has a meaning there. Quotes
 * have one too, so that a field can stand between them in an INSERT. Every byte is the column's own.
 */
import { ByteSink } from '../../../core/byte-sink.ts'
import type { ByteSource } from '../../../core/byte-source.ts'
import { inSteps, LARGE_VALUE, PieceSink } from '../../../core/piece-sink.ts'
import { NeedsNextForm, type RowPrinter } from '../../../core/ports/dialect.ts'
import type { RelationVersion } from '../../../core/relation.ts'
import { FieldReader } from './field-reader.ts'

const BACKSLASH = 92
const TAB = 9
const NEWLINE = 10
/** What stands behind the backslash, by byte. */
const ESCAPES: ReadonlyMap<number, number> = new Map([
  [0, 48],
  [TAB, 116],
  [NEWLINE, 110],
  [13, 114],
  [26, 90],
  [39, 39],
  [BACKSLASH, BACKSLASH],
])
const IS_ESCAPED = Uint8Array.from({ length: 256 }, (_, byte) => ESCAPES.get(byte) ?? 0)

/** `counted`: an ENUM may have the empty text that is none of its labels, which a server takes under a warning alone. */
export type LineForm = 'lines' | 'counted lines'

export class LinePrinter implements RowPrinter {
  readonly form: LineForm
  readonly #columns: RelationVersion['columns']
  readonly #reader = new FieldReader()

  constructor({ columns }: RelationVersion, form: LineForm) {
    this.#columns = columns
    this.form = form
  }

  head(): void {
    // Lines stand for themselves.
  }

  tail(): void {
    // Lines stand for themselves.
  }

  print(source: ByteSource, sink: PieceSink): boolean {
    const reader = this.#reader
    let whole = true
    for (const [i, column] of this.#columns.entries()) {
      sink.reserve(3)
      if (i > 0) sink.buffer[sink.at++] = TAB
      const state = reader.next(source, column)
      if (
        column.native === 'enum' &&
        reader.start === reader.end &&
        state === 'value' &&
        this.form === 'lines'
      )
        throw new NeedsNextForm()
      if (state === 'left') whole = false
      else if (state === 'value') value(reader, sink)
      else {
        sink.buffer[sink.at++] = BACKSLASH
        sink.buffer[sink.at++] = 78
      }
    }
    sink.reserve(1)
    sink.buffer[sink.at++] = NEWLINE
    return whole
  }
}

function value({ buffer, start, end }: FieldReader, sink: PieceSink): void {
  if (end - start >= LARGE_VALUE && sink instanceof PieceSink) sink.refer(escapedSteps(buffer, start, end))
  else escapeInto(sink, buffer, start, end)
}

function* escapedSteps(from: Buffer, start: number, end: number): Generator<Buffer> {
  for (const step of inSteps(from, start, end)) {
    const sink = new ByteSink(2 * step.length)
    escapeInto(sink, step, 0, step.length)
    yield sink.view()
  }
}

function escapeInto(sink: ByteSink, from: Buffer, start: number, end: number): void {
  sink.reserve(2 * (end - start))
  const out = sink.buffer
  let at = sink.at
  for (let i = start; i < end; i++) {
    const byte = from[i]!
    const escape = IS_ESCAPED[byte]!
    if (escape === 0) out[at++] = byte
    else {
      out[at++] = BACKSLASH
      out[at++] = escape
    }
  }
  sink.at = at
}

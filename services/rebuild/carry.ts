/** Brings rows from one column set to another: fields are copied where their stored form is the same. */
import { ByteSink } from '../core/byte-sink.ts'
import { ByteSource } from '../core/byte-source.ts'
import { textOfField } from '../formats/value-printer.ts'
import { valueWriter } from '../formats/value-encoder.ts'
import { hasTextBranch, STATE_ABSENT, STATE_UNCHANGED, stateBranch } from '../formats/value-kind.ts'
import type { ValueKind } from '../core/relation.ts'
import { type EmitRow, LARGE_ROW } from './fold.ts'
import type { RowLayout } from '../history/row-layout.ts'
import type { CarriedColumn } from '../history/table-history.ts'

/** Kinds whose stored forms are the same bytes. */
function sameForm(a: ValueKind, b: ValueKind): boolean {
  if (a === b) return true
  const form = (kind: ValueKind): string =>
    kind === 'int' || kind === 'long'
      ? 'integer'
      : kind === 'timestamp' || kind === 'timestamptz'
        ? 'timestamp'
        : kind === 'uuid'
          ? 'text'
          : kind
  return form(a) === form(b) && hasTextBranch(a) === hasTextBranch(b)
}

/** Appends rows of one column set in the form of another. */
export class RowCarrier {
  /** Nothing is to be done: the two forms are the same. */
  readonly isIdentity: boolean
  readonly #from: RowLayout
  readonly #to: RowLayout
  readonly #columns: readonly CarriedColumn[]
  readonly #constants: readonly (Buffer | undefined)[]
  readonly #offsets: Float64Array

  constructor(from: RowLayout, to: RowLayout, columns: readonly CarriedColumn[]) {
    this.#from = from
    this.#to = to
    this.#columns = columns
    this.#offsets = new Float64Array(from.kinds.length + 1)
    this.isIdentity =
      columns.length === from.kinds.length &&
      columns.every((c, i) => c.kind === 'field' && c.index === i && sameForm(from.kinds[i]!, to.kinds[i]!))
    this.#constants = columns.map((column, i) =>
      column.kind === 'constant' ? encodeText(column.text, to.kinds[i]!) : undefined,
    )
  }

  /** The row at [start, end), behind what the sink has. Reserves by itself. */
  write(buffer: Buffer, start: number, end: number, sink: ByteSink): void {
    const offsets = this.#offsets
    this.#from.offsets(new ByteSource(buffer, start, end), offsets)
    for (const [i, column] of this.#columns.entries()) {
      if (column.kind === 'constant') {
        append(sink, this.#constants[i]!, 0, this.#constants[i]!.length)
        continue
      }
      const from = this.#from.kinds[column.index]!
      const to = this.#to.kinds[i]!
      if (sameForm(from, to)) {
        append(sink, buffer, offsets[column.index]!, offsets[column.index + 1]!)
        continue
      }
      const field = textOfField(
        new ByteSource(buffer, offsets[column.index]!, offsets[column.index + 1]!),
        from,
      )
      const encoded =
        field.state === 'unchanged' || field.state === 'absent'
          ? Buffer.from([
              stateBranch(to) * 2,
              (field.state === 'unchanged' ? STATE_UNCHANGED : STATE_ABSENT) * 2,
            ])
          : encodeText(field.text, to)
      append(sink, encoded, 0, encoded.length)
    }
  }
}

/** Hands rows on in another form; each is valid during the call. */
export function carryRows(
  from: RowLayout,
  to: RowLayout,
  columns: readonly CarriedColumn[],
  next: EmitRow,
): EmitRow {
  const carrier = new RowCarrier(from, to, columns)
  if (carrier.isIdentity) return next
  const sink = new ByteSink(4096)
  return (buffer, start, end) => {
    // A large row is referred to for longer than the call.
    const to = end - start >= LARGE_ROW ? new ByteSink(end - start + 4096) : sink
    to.at = 0
    carrier.write(buffer, start, end, to)
    next(to.buffer, 0, to.at)
  }
}

function encodeText(text: string | null, kind: ValueKind): Buffer {
  if (text === null) return Buffer.from([0])
  const bytes = Buffer.from(text, 'utf8')
  const sink = new ByteSink(bytes.length * 2 + 32)
  valueWriter(kind)(sink, bytes, 0, bytes.length)
  return sink.take()
}

function append(sink: ByteSink, from: Buffer, start: number, end: number): void {
  sink.reserve(end - start)
  from.copy(sink.buffer, sink.at, start, end)
  sink.at += end - start
}

/** Brings rows from one column set to another: fields are copied where their stored form is the same. */
import { ByteSink } from '../formats/byte-sink.ts'
import { ByteSource } from '../formats/byte-source.ts'
import { textOfField } from '../formats/value-printer.ts'
import { valueWriter } from '../formats/value-encoder.ts'
import { hasTextBranch, type ValueKind } from '../formats/value-kind.ts'
import type { EmitRow } from './fold.ts'
import type { RowLayout } from './row-layout.ts'
import type { CarriedColumn } from './table-history.ts'

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

export function carryRows(
  from: RowLayout,
  to: RowLayout,
  columns: readonly CarriedColumn[],
  next: EmitRow,
): EmitRow {
  const identical =
    columns.length === from.kinds.length &&
    columns.every((c, i) => c.kind === 'field' && c.index === i && sameForm(from.kinds[i]!, to.kinds[i]!))
  if (identical) return next
  const offsets = new Float64Array(from.kinds.length + 1)
  const sink = new ByteSink(4096)
  const constants = columns.map((column, i) =>
    column.kind === 'constant' ? encodeConstant(column.text, to.kinds[i]!) : undefined,
  )
  return (buffer, start, end) => {
    from.offsets(new ByteSource(buffer, start, end), offsets)
    sink.at = 0
    for (const [i, column] of columns.entries()) {
      if (column.kind === 'constant') {
        append(sink, constants[i]!, 0, constants[i]!.length)
      } else if (sameForm(from.kinds[column.index]!, to.kinds[i]!)) {
        append(sink, buffer, offsets[column.index]!, offsets[column.index + 1]!)
      } else {
        const field = textOfField(
          new ByteSource(buffer, offsets[column.index]!, offsets[column.index + 1]!),
          from.kinds[column.index]!,
        )
        const encoded = encodeConstant(field.text, to.kinds[i]!)
        append(sink, encoded, 0, encoded.length)
      }
    }
    next(sink.buffer, 0, sink.at)
  }
}

function encodeConstant(text: string | null, kind: ValueKind): Buffer {
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

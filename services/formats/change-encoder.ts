/**
 * Changes and rows as Avro records, from values in the text that the database prints. An engine whose wire has more to it
 * reads that where its bytes lie (engines/postgres/source/tuple-encoder.ts), over the same pieces.
 */
import type { RelationVersion } from '../core/relation.ts'
import type { ChangeShape } from '../core/transaction.ts'
import type { ByteSink } from '../core/byte-sink.ts'
import { changeShape, type TextEncoding } from './change-schema.ts'
import { valueWriter, type ValueWriter } from './value-encoder.ts'
import { STATE_ABSENT, STATE_UNCHANGED, stateBranch } from './value-kind.ts'

/** Operations by index in core/transaction.ts OPERATIONS, as zigzag varints. */
export const OPERATION = { insert: 0, update: 2, delete: 4, truncate: 6 } as const

/** One of the four states of a value (invariant 7): the server's text, NULL, unchanged, or not published. */
export type Field = Buffer | null | 'unchanged' | 'absent'

export class ChangeEncoder {
  readonly shape: ChangeShape
  protected readonly writers: readonly ValueWriter[]
  protected readonly width: number
  /** The state branch of each column, as a zigzag varint. */
  readonly #stateBranch: Uint8Array

  constructor(relation: RelationVersion, text: TextEncoding) {
    this.shape = changeShape(relation, text)
    const kinds = relation.columns.map((c) => c.kind)
    this.writers = kinds.map(valueWriter)
    this.#stateBranch = Uint8Array.from(kinds, (kind) => stateBranch(kind) * 2)
    this.width = relation.columns.length
  }

  /** At most so many bytes a change or a row takes: no value more than its text and 16 bytes, and two of each. */
  room(bytes: number): number {
    return bytes + this.width * 40 + 64
  }

  /**
   * One change, of fields in the order of the relation's columns.
   *
   * @param position the transaction's, encoded
   * @param before the row or its key as it was, where the change says it
   * @param after the row as it is; undefined for a delete
   */
  encode(
    sink: ByteSink,
    operation: 'insert' | 'update' | 'delete',
    position: Buffer,
    ordinal: number,
    before: readonly Field[] | undefined,
    after: readonly Field[] | undefined,
  ): void {
    sink.reserve(this.room(bytesOf(before) + bytesOf(after)))
    this.head(sink, position, ordinal, OPERATION[operation])
    for (const row of [before, after]) {
      sink.buffer[sink.at++] = row === undefined ? 0 : 2
      if (row !== undefined) this.#fields(sink, row)
    }
  }

  /** A row by itself, as copies of tables have them. */
  encodeRow(sink: ByteSink, row: readonly Field[]): void {
    sink.reserve(this.room(bytesOf(row)))
    this.#fields(sink, row)
  }

  truncate(sink: ByteSink, position: Buffer, ordinal: number): void {
    sink.reserve(64)
    this.head(sink, position, ordinal, OPERATION.truncate)
    sink.buffer[sink.at++] = 0
    sink.buffer[sink.at++] = 0
  }

  protected head(sink: ByteSink, position: Buffer, ordinal: number, operation: number): void {
    const out = sink.buffer
    for (let i = 0; i < position.length; i++) out[sink.at++] = position[i]!
    sink.long(ordinal)
    sink.buffer[sink.at++] = operation
  }

  protected state(sink: ByteSink, column: number, state: number): void {
    sink.buffer[sink.at++] = this.#stateBranch[column]!
    sink.buffer[sink.at++] = state * 2
  }

  #fields(sink: ByteSink, row: readonly Field[]): void {
    for (const [column, field] of row.entries()) {
      if (field === null) sink.buffer[sink.at++] = 0
      else if (field === 'unchanged') this.state(sink, column, STATE_UNCHANGED)
      else if (field === 'absent') this.state(sink, column, STATE_ABSENT)
      else this.writers[column]!(sink, field, 0, field.length)
    }
  }
}

function bytesOf(row: readonly Field[] | undefined): number {
  return (row ?? []).reduce((sum, field) => sum + (Buffer.isBuffer(field) ? field.length : 0), 0)
}

/** How the fields of an encoded row lie, and how to walk them. */
import type { RelationVersion } from '../core/relation.ts'
import type { ByteSink } from '../formats/byte-sink.ts'
import type { ByteSource } from '../formats/byte-source.ts'
import type { TextEncoding } from '../formats/change-schema.ts'
import { printField, skipField } from '../formats/value-printer.ts'
import { kindOf, stateBranch, type ValueKind } from '../formats/value-kind.ts'

export class RowLayout {
  readonly relation: RelationVersion
  readonly text: TextEncoding
  readonly kinds: readonly ValueKind[]
  /** Indexes of the identity's columns; empty for identity FULL. */
  readonly keys: readonly number[]

  constructor(relation: RelationVersion, text: TextEncoding) {
    this.relation = relation
    this.text = text
    this.kinds = relation.columns.map((column) => kindOf(column.typeOid))
    this.keys = relation.identity === 'full' ? [] : relation.columns.flatMap((column, index) => (column.key ? [index] : []))
  }

  get isKeyed(): boolean {
    return this.keys.length > 0
  }

  /** Moves past a row. */
  skip(source: ByteSource): void {
    const kinds = this.kinds
    for (let i = 0; i < kinds.length; i++) skipField(source, kinds[i]!)
  }

  /** Where each field of the row at `source` starts; one more for its end. Moves past the row. */
  offsets(source: ByteSource, into: Float64Array): void {
    const kinds = this.kinds
    for (let i = 0; i < kinds.length; i++) {
      into[i] = source.at
      skipField(source, kinds[i]!)
    }
    into[kinds.length] = source.at
  }

  /** Appends the key fields' encoded bytes and moves past the row. */
  key(source: ByteSource, sink: ByteSink): void {
    const { kinds, keys } = this
    let next = 0
    for (let i = 0; i < kinds.length; i++) {
      const start = source.at
      skipField(source, kinds[i]!)
      if (next < keys.length && keys[next] === i) {
        const length = source.at - start
        sink.reserve(length)
        for (let k = 0; k < length; k++) sink.buffer[sink.at + k] = source.buffer[start + k]!
        sink.at += length
        next++
      }
    }
  }

  /** One line of COPY text. True unless a value is unchanged or absent: then the line is not usable. */
  print(source: ByteSource, sink: ByteSink): boolean {
    const kinds = this.kinds
    let whole = true
    for (let i = 0; i < kinds.length; i++) {
      if (i > 0) {
        sink.reserve(1)
        sink.buffer[sink.at++] = 9
      }
      const state = printField(source, kinds[i]!, sink)
      if (state === 'unchanged' || state === 'absent') whole = false
    }
    sink.reserve(1)
    sink.buffer[sink.at++] = 10
    return whole
  }

  /** Whether the field at `at` is the state branch: unchanged (or absent). */
  isState(buffer: Buffer, at: number, column: number): boolean {
    return buffer[at] === stateBranch(this.kinds[column]!) * 2
  }
}

/** How the fields of an encoded row lie, and how to walk them. */
import type { RelationVersion } from '../core/relation.ts'
import type { ByteSink } from '../core/byte-sink.ts'
import { type ByteSource, corrupt } from '../core/byte-source.ts'
import type { TextEncoding } from '../formats/change-schema.ts'
import { pastField, walkCodes } from '../formats/field-walk.ts'
import type { ValueKind } from '../core/relation.ts'
import { stateBranch } from '../formats/value-kind.ts'

export class RowLayout {
  readonly relation: RelationVersion
  readonly text: TextEncoding
  readonly kinds: readonly ValueKind[]
  /** Indexes of the identity's columns; empty for identity FULL. */
  readonly keys: readonly number[]
  readonly #lastKey: number
  readonly #codes: Uint8Array

  constructor(relation: RelationVersion, text: TextEncoding) {
    this.relation = relation
    this.text = text
    this.kinds = relation.columns.map((column) => column.kind)
    this.keys =
      relation.identity === 'full'
        ? []
        : relation.columns.flatMap((column, index) => (column.key ? [index] : []))
    this.#lastKey = this.keys.at(-1) ?? -1
    this.#codes = walkCodes(this.kinds)
  }

  get isKeyed(): boolean {
    return this.keys.length > 0
  }

  /** Moves past a row. */
  skip(source: ByteSource): void {
    const codes = this.#codes
    const { buffer } = source
    let { at } = source
    for (let i = 0; i < codes.length; i++) at = pastField(buffer, at, codes[i]!)
    this.#move(source, at)
  }

  /** Where each field of the row at `source` starts; one more for its end. Moves past the row. */
  offsets(source: ByteSource, into: Float64Array): void {
    const codes = this.#codes
    const { buffer } = source
    let { at } = source
    for (let i = 0; i < codes.length; i++) {
      into[i] = at
      at = pastField(buffer, at, codes[i]!)
    }
    into[codes.length] = at
    this.#move(source, at)
  }

  #move(source: ByteSource, at: number): void {
    if (!(at <= source.end)) throw corrupt('bytes end inside a row')
    source.at = at
  }

  /** Appends the key fields' encoded bytes; moves past the last of them and no further. */
  key(source: ByteSource, sink: ByteSink): void {
    const { keys } = this
    const codes = this.#codes
    const last = this.#lastKey
    const { buffer } = source
    let { at } = source
    let next = 0
    for (let i = 0; i <= last; i++) {
      const start = at
      at = pastField(buffer, at, codes[i]!)
      if (keys[next] !== i) continue
      const length = at - start
      sink.reserve(length)
      const out = sink.buffer
      for (let k = 0, to = sink.at; k < length; k++) out[to + k] = buffer[start + k]!
      sink.at += length
      next++
    }
    this.#move(source, at)
  }

  /** Whether the field at `at` is the state branch: unchanged (or absent). */
  isState(buffer: Buffer, at: number, column: number): boolean {
    return buffer[at] === stateBranch(this.kinds[column]!) * 2
  }
}

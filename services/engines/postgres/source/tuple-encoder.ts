/** Rows and changes from the wire: pgoutput's tuples and lines of COPY's text format, read where they lie. */
import { TidemarkError } from '../../../core/errors.ts'
import type { RelationVersion } from '../../../core/relation.ts'
import type { ByteSink } from '../../../core/byte-sink.ts'
import { ChangeEncoder, OPERATION } from '../../../formats/change-encoder.ts'
import type { TextEncoding } from '../../../formats/change-schema.ts'
import { STATE_ABSENT, STATE_UNCHANGED } from '../../../formats/value-kind.ts'

const BYTE_NULL = 0x6e // n
const BYTE_UNCHANGED = 0x75 // u
const BYTE_TEXT = 0x74 // t

const { insert: INSERT, update: UPDATE, delete: DELETE } = OPERATION

export class TupleEncoder extends ChangeEncoder {
  readonly #isKey: readonly boolean[]
  readonly #full: boolean
  /** With identity FULL: where the old tuple's values are, for filling in unchanged ones. */
  readonly #oldStart: Float64Array
  readonly #oldEnd: Float64Array

  constructor(relation: RelationVersion, text: TextEncoding) {
    super(relation, text)
    this.#isKey = relation.columns.map((c) => c.key)
    this.#full = relation.identity === 'full'
    this.#oldStart = new Float64Array(this.width)
    this.#oldEnd = new Float64Array(this.width)
  }

  /**
   * One change, from the tuples of an Insert, Update or Delete message at [at, end). `position` is the transaction's, encoded.
   *
   * @param tag 0x49 I, 0x55 U, 0x44 D: the message's type; `at` stands behind its relation OID.
   */
  change(
    sink: ByteSink,
    tag: number,
    position: Buffer,
    ordinal: number,
    wire: Buffer,
    at: number,
    end: number,
  ): void {
    sink.reserve(this.room(end - at))
    this.head(sink, position, ordinal, tag === 0x49 ? INSERT : tag === 0x55 ? UPDATE : DELETE)
    let cursor = at
    let marker = wire[cursor++]!
    // K: the old key; O: the whole old row (identity FULL); N: the new row.
    if (marker === 0x4b || marker === 0x4f) {
      sink.buffer[sink.at++] = 2
      cursor = this.#tuple(sink, wire, cursor, marker === 0x4b)
      if (tag !== 0x44) marker = wire[cursor++]!
    } else {
      sink.buffer[sink.at++] = 0
    }
    if (tag === 0x44) {
      sink.buffer[sink.at++] = 0
    } else {
      if (marker !== 0x4e) throw new TidemarkError('PROTOCOL', 'a row message without a new row')
      sink.buffer[sink.at++] = 2
      cursor = this.#tuple(sink, wire, cursor, false)
    }
    if (cursor !== end)
      throw new TidemarkError('PROTOCOL', `a row message of ${end - at} bytes was read to ${cursor - at}`)
  }

  /**
   * At most so many bytes a change takes whose tuples are at [at, end): of a large row, so that its sink never grows. What
   * did not change stands once on the wire, and twice in a change under identity FULL.
   */
  roomOf(tag: number, wire: Buffer, at: number, end: number): number {
    let room = this.room(end - at)
    if (!this.#full || tag !== 0x55 || wire[at] !== 0x4f) return room
    const lengths: number[] = []
    let cursor = at + 1
    for (let tuple = 0; tuple < 2; tuple++) {
      cursor += tuple === 0 ? 2 : 3
      for (let i = 0; i < this.width; i++) {
        const kind = wire[cursor++]!
        if (kind === BYTE_UNCHANGED && tuple === 1) room += this.room(lengths[i]!)
        const length = kind === BYTE_TEXT ? wire.readInt32BE(cursor) : 0
        if (tuple === 0) lengths.push(length)
        cursor += kind === BYTE_TEXT ? 4 + length : 0
      }
    }
    return room
  }

  /** A TupleData at `at`; returns where it ends. In a key tuple the columns outside the key are not published: absent. */
  #tuple(sink: ByteSink, wire: Buffer, at: number, keyOnly: boolean): number {
    const width = (wire[at]! << 8) | wire[at + 1]!
    if (width !== this.width)
      throw new TidemarkError('PROTOCOL', `a row with ${width} columns where its relation has ${this.width}`)
    let cursor = at + 2
    const fillsOld = this.#full
    for (let i = 0; i < width; i++) {
      const kind = wire[cursor++]!
      if (kind === BYTE_TEXT) {
        const length = wire.readInt32BE(cursor)
        cursor += 4
        if (fillsOld) {
          this.#oldStart[i] = cursor
          this.#oldEnd[i] = cursor + length
        }
        this.writers[i]!(sink, wire, cursor, cursor + length)
        cursor += length
      } else if (kind === BYTE_NULL) {
        if (fillsOld) this.#oldEnd[i] = -1
        if (keyOnly && !this.#isKey[i]) this.state(sink, i, STATE_ABSENT)
        else sink.buffer[sink.at++] = 0
      } else if (kind === BYTE_UNCHANGED) {
        this.#unchanged(sink, wire, i)
      } else {
        throw new TidemarkError('PROTOCOL', 'a value of unknown format in the stream')
      }
    }
    return cursor
  }

  /** With identity FULL the old row, read just before in the same message, has the value. */
  #unchanged(sink: ByteSink, wire: Buffer, column: number): void {
    if (!this.#full) {
      this.state(sink, column, STATE_UNCHANGED)
    } else if (this.#oldEnd[column]! < 0) {
      sink.buffer[sink.at++] = 0
    } else {
      const start = this.#oldStart[column]!
      const end = this.#oldEnd[column]!
      sink.reserve(this.room(end - start))
      this.writers[column]!(sink, wire, start, end)
    }
  }

  /**
   * One row from a line of COPY's text format at [start, end), without its newline. Values with escapes are unescaped
   * where they stand, so that the line is used up.
   */
  copyLine(sink: ByteSink, line: Buffer, start: number, end: number): void {
    sink.reserve(this.room(end - start))
    const writers = this.writers
    const last = this.width - 1
    let from = start
    for (let i = 0; i <= last; i++) {
      let at = from
      let escaped = false
      for (;;) {
        if (at === end) break
        const byte = line[at]!
        if (byte === 9) break
        if (byte === 92) {
          escaped = true
          at += 2
          continue
        }
        at++
      }
      if (i < last !== at < end)
        throw new TidemarkError('PROTOCOL', 'a COPY line with another number of columns than its table')
      if (!escaped) writers[i]!(sink, line, from, at)
      else if (at - from === 2 && line[from + 1] === 78) sink.buffer[sink.at++] = 0
      else writers[i]!(sink, line, from, unescape(line, from, at))
      from = at + 1
    }
  }
}

const UNESCAPED = new Uint8Array(256).map(
  (_, i) => ({ 98: 8, 102: 12, 110: 10, 114: 13, 116: 9, 118: 11 })[i] ?? i,
)

/** COPY's escapes undone in their place; returns where the value ends. The server writes only the one-letter escapes and `\\`. */
function unescape(line: Buffer, start: number, end: number): number {
  let at = start
  for (let i = start; i < end; i++) {
    const byte = line[i]!
    line[at++] = byte === 92 ? UNESCAPED[line[++i]!]! : byte
  }
  return at
}

/**
 * The digest that the server computes in SQL (engines/postgres/session/digest.ts), computed from encoded rows: so that a backup
 * can be compared with the source without a target. A row's text is record_out's: fields in parentheses, commas between,
 * null as nothing, quotes where needed (PostgreSQL manual, "Composite Type Input and Output Syntax").
 */
import { createHash } from 'node:crypto'
import { ByteSink } from '../../../core/byte-sink.ts'
import { ByteSource } from '../../../core/byte-source.ts'
import { printField } from '../../../formats/value-printer.ts'
import type { RowDigest } from '../../../core/ports/dialect.ts'
import type { RelationVersion, ValueKind } from '../../../core/relation.ts'

const UNESCAPED: Readonly<Record<number, number>> = {
  98: 8,
  102: 12,
  110: 10,
  114: 13,
  116: 9,
  118: 11,
  92: 92,
}

export class PostgresRowDigest implements RowDigest {
  rows = 0n
  #high = 0n
  #low = 0n
  readonly #line = new ByteSink(4096)
  readonly #value = new ByteSink(4096)

  get digest(): string {
    return `${this.#high}:${this.#low}`
  }

  taker({ columns }: RelationVersion): (buffer: Buffer, start: number, end: number) => void {
    const kinds = columns.map(({ kind }) => kind)
    return (buffer, start, end) => this.#row(kinds, new ByteSource(buffer, start, end))
  }

  #row(kinds: readonly ValueKind[], source: ByteSource): void {
    const line = this.#line
    line.at = 0
    line.reserve(2)
    if (kinds.length > 0) line.byte(40)
    for (let i = 0; i < kinds.length; i++) {
      if (i > 0) {
        line.reserve(1)
        line.byte(44)
      }
      const value = this.#value
      value.at = 0
      if (printField(source, kinds[i]!, value) === 'value') recordField(value.view(), line)
    }
    line.reserve(1)
    if (kinds.length > 0) line.byte(41)
    const hash = createHash('sha256').update(line.view()).digest()
    this.#high += hash.readBigInt64BE(0)
    this.#low += hash.readBigInt64BE(8)
    this.rows++
  }
}

/** One value, from COPY's escapes to record_out's quotes. */
function recordField(copy: Buffer, line: ByteSink): void {
  let quote = copy.length === 0
  for (let i = 0; i < copy.length && !quote; i++) {
    const byte = copy[i]!
    // " \ ( ) , and white space; an escape stands for one of the latter or for a backslash.
    quote = byte === 34 || byte === 92 || byte === 40 || byte === 41 || byte === 44 || byte === 32
  }
  line.reserve(copy.length * 2 + 2)
  if (!quote) {
    copy.copy(line.buffer, line.at)
    line.at += copy.length
    return
  }
  line.byte(34)
  for (let i = 0; i < copy.length; i++) {
    let byte = copy[i]!
    if (byte === 92) byte = UNESCAPED[copy[++i]!]!
    if (byte === 34 || byte === 92) line.byte(byte)
    line.byte(byte)
  }
  line.byte(34)
}

/** The digest that a server computes in SQL (engines/mysql/catalog/digest.ts), computed from encoded rows. */
import { createHash } from 'node:crypto'
import { ByteSource } from '../../../core/byte-source.ts'
import type { RowDigest } from '../../../core/ports/dialect.ts'
import type { RelationVersion } from '../../../core/relation.ts'
import { doubleText } from '../values/floating.ts'
import { FieldReader } from './field-reader.ts'

/** What stands for a NULL among the hashes of a row's values. */
export const NULL_HASH = '-'

export class MysqlRowDigest implements RowDigest {
  rows = 0n
  #high = 0n
  #low = 0n
  readonly #reader = new FieldReader()

  get digest(): string {
    return `${this.#high}:${this.#low}`
  }

  /** Columns by their names, so that their order on either side does not matter. */
  taker({ columns }: RelationVersion): (buffer: Buffer, start: number, end: number) => void {
    const order = columns.map((_, i) => i).sort((a, b) => compareBytes(columns[a]!.name, columns[b]!.name))
    const hashes: string[] = columns.map(() => '')
    return (buffer, start, end) => {
      const source = new ByteSource(buffer, start, end)
      for (const [i, column] of columns.entries()) {
        const state = this.#reader.next(source, column)
        hashes[i] = state === 'value' ? this.#hash(column.native === 'float') : NULL_HASH
      }
      const hash = createHash('sha256')
        .update(order.map((i) => hashes[i]!).join(','))
        .digest()
      this.#high += hash.readBigUInt64BE(0)
      this.#low += hash.readBigUInt64BE(8)
      this.rows++
    }
  }

  /** The server prints six digits of a FLOAT: there it is a DOUBLE. */
  #hash(isFloat: boolean): string {
    const { buffer, start, end } = this.#reader
    const bytes = buffer.subarray(start, end)
    return createHash('sha256')
      .update(isFloat ? doubleText(Math.fround(Number(bytes.toString('latin1')))) : bytes)
      .digest('hex')
  }
}

export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Where the parts of one encoded change lie: its head, its old and new rows, their fields. Nothing is decoded. */
import type { ChangeShape } from '../core/transaction.ts'
import { corrupt } from '../core/byte-source.ts'
import { pastField, walkCodes } from './field-walk.ts'

/** Operations as they stand in a change: zigzag of the index in OPERATIONS. */
export const CHANGE = { insert: 0, update: 2, delete: 4, truncate: 6 } as const

export class ChangeWalk {
  readonly #codes: Uint8Array
  readonly #width: number
  /** Where the ordinal begins: behind the position. */
  ordinalAt = 0
  operationAt = 0
  operation = 0
  /** Start of the first field of the old and of the new row; -1 where there is none. */
  old = -1
  new = -1
  /** Field k of the old row is [oldFields[k], oldFields[k + 1]). */
  readonly oldFields: Float64Array
  readonly newFields: Float64Array

  constructor(shape: ChangeShape) {
    this.#codes = walkCodes(shape.relation.columns.map((column) => column.kind))
    this.#width = this.#codes.length
    this.oldFields = new Float64Array(this.#width + 1)
    this.newFields = new Float64Array(this.#width + 1)
  }

  /** @throws TidemarkError OBJECT_CORRUPT where the bytes are no change of this shape */
  read(bytes: Buffer, start: number, end: number): void {
    let at = start
    while (bytes[at++]! >= 128) {}
    this.ordinalAt = at
    while (bytes[at++]! >= 128) {}
    this.operationAt = at
    this.operation = bytes[at++]!
    this.old = -1
    this.new = -1
    if (bytes[at++] === 2) {
      this.old = at
      at = this.#fields(bytes, at, this.oldFields)
    }
    if (bytes[at++] === 2) {
      this.new = at
      at = this.#fields(bytes, at, this.newFields)
    }
    if (at !== end) throw corrupt('a change that does not end where it should')
  }

  #fields(bytes: Buffer, start: number, into: Float64Array): number {
    let at = start
    for (let i = 0; i < this.#width; i++) {
      into[i] = at
      at = pastField(bytes, at, this.#codes[i]!)
    }
    into[this.#width] = at
    return at
  }
}

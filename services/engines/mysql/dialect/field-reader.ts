/** Encoded values back as the bytes that the server prints: the same that log and copies had. */
import { type ByteSource, corrupt } from '../../../core/byte-source.ts'
import type { ColumnType } from '../../../core/relation.ts'
import { formatDate, formatTimestamp, DAY_MICROS } from '../../../formats/temporal.ts'
import {
  BRANCH_NULL,
  BRANCH_TEXT,
  BRANCH_VALUE,
  hasTextBranch,
  stateBranch,
} from '../../../formats/value-kind.ts'
import { anyLong } from '../../../formats/value-printer.ts'
import { doubleText, floatText } from '../values/floating.ts'

/** What a TIMESTAMP has behind it in a backup, where times say their zone, and not at the server. */
export const ZONE = '+00'

/** Reads field after field; what it read last lies at [start, end) of `buffer`, and only until the next. */
export class FieldReader {
  buffer: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  /** Of what is printed here; it is ASCII. */
  readonly #printed = Buffer.alloc(512)

  /** @returns `left`: unchanged or absent. @throws TidemarkError OBJECT_CORRUPT */
  next(source: ByteSource, type: ColumnType): 'value' | 'null' | 'left' {
    const { kind } = type
    const branch = source.long()
    if (branch === BRANCH_NULL) return 'null'
    if (branch === stateBranch(kind)) {
      source.long()
      return 'left'
    }
    if (branch === BRANCH_TEXT && hasTextBranch(kind)) this.#refer(source, kind === 'timestamptz')
    else if (branch === BRANCH_VALUE) this.#value(source, type)
    else throw corrupt('a value has an unknown branch')
    return 'value'
  }

  #value(source: ByteSource, { kind, native }: ColumnType): void {
    switch (kind) {
      case 'text':
      case 'bytes':
        this.#refer(source, false)
        break
      case 'int':
        this.#print(native === 'year' ? String(source.long()).padStart(4, '0') : String(source.long()))
        break
      case 'long':
        this.#print(String(anyLong(source)))
        break
      case 'float':
        this.#print(floatText(source.buffer.readFloatLE(source.skip(4))))
        break
      case 'double':
        this.#print(doubleText(source.buffer.readDoubleLE(source.skip(8))))
        break
      case 'date':
        this.#print(formatDate(source.long()))
        break
      case 'timestamp':
      case 'timestamptz':
        this.#print(timeText(anyLong(source)))
        break
      case 'bool':
      case 'uuid':
        throw corrupt('a value of a kind that this engine does not write')
    }
  }

  #refer(source: ByteSource, hasZone: boolean): void {
    const length = source.long()
    this.buffer = source.buffer
    this.start = source.skip(length)
    this.end = this.start + length - (hasZone ? ZONE.length : 0)
  }

  #print(text: string): void {
    this.buffer = this.#printed
    this.start = 0
    this.end = this.#printed.write(text, 'latin1')
  }
}

function timeText(micros: number | bigint): string {
  const day = BigInt(DAY_MICROS)
  const all = BigInt(micros)
  const rest = ((all % day) + day) % day
  return formatTimestamp(Number((all - rest) / day), Number(rest))
}

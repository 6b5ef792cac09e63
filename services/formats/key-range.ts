/**
 * The smallest and the largest key among encoded changes of one table: what a block's index entry says, so that who looks
 * for one key opens few blocks. Keys are the replica identity's columns; tables without one, and key columns whose order
 * takes more than numbers and bytes, have no range.
 */
import type { RelationVersion, ValueKind } from '../core/relation.ts'
import type { ChangeShape } from '../core/transaction.ts'
import { ByteSource } from '../core/byte-source.ts'
import { shapeOfSchema } from './change-schema.ts'
import { CHANGE } from './change-walk.ts'
import { pastField, walkCodes } from './field-walk.ts'
import { BRANCH_VALUE } from './value-kind.ts'

/**
 * One text for each key column: `#` and the digits of a number, ordered as numbers are; or `=` and the server's text, ordered
 * by its bytes in UTF-8.
 */
export interface KeySpan {
  readonly smallest: readonly string[]
  readonly largest: readonly string[]
}

type KeyValue = number | bigint | Buffer

/** A key longer than this has no range: an index stays small. */
const KEY_BYTES = 256

const INTEGER = /^-?\d{1,20}$/
const NUMBERS: ReadonlySet<ValueKind> = new Set(['int', 'long'])
const TEXTS: ReadonlySet<ValueKind> = new Set(['text', 'uuid'])

/** Indexes and orders of the key columns; undefined where there is no range. */
function rangedColumns(
  relation: RelationVersion,
): { readonly index: number; readonly isNumber: boolean }[] | undefined {
  if (relation.identity === 'full' || relation.identity === 'nothing') return undefined
  const keys = relation.columns.flatMap((column, index) => (column.key ? [{ index, kind: column.kind }] : []))
  if (keys.length === 0 || keys.some(({ kind }) => !NUMBERS.has(kind) && !TEXTS.has(kind))) return undefined
  return keys.map(({ index, kind }) => ({ index, isNumber: NUMBERS.has(kind) }))
}

export class KeyRange {
  readonly #keys: { readonly index: number; readonly isNumber: boolean }[] | undefined
  readonly #codes: Uint8Array
  #smallest: KeyValue[] | undefined
  #largest: KeyValue[] | undefined
  /** Something concerns keys that are not among those seen. */
  #unbounded = false
  readonly #current: KeyValue[] = []

  constructor(shape: ChangeShape) {
    const keys = rangedColumns(shape.relation)
    // Text of no known encoding would not survive the index.
    const isText =
      keys?.every(({ isNumber }) => isNumber) === true ||
      shapeOfSchema(JSON.parse(shape.avro)).text === 'utf8'
    this.#keys = isText ? keys : undefined
    this.#codes = walkCodes(shape.relation.columns.map((column) => column.kind))
  }

  /** One encoded change. */
  add(bytes: Buffer, start: number): void {
    if (this.#keys === undefined || this.#unbounded) return
    let at = start
    while (bytes[at++]! >= 128) {}
    while (bytes[at++]! >= 128) {}
    const operation = bytes[at++]!
    if (operation === CHANGE.truncate) {
      this.#unbounded = true
      return
    }
    if (bytes[at++] === 2) {
      this.#row(bytes, at)
      if (operation === CHANGE.delete) return
      for (const code of this.#codes) at = pastField(bytes, at, code)
    }
    if (bytes[at++] === 2) this.#row(bytes, at)
  }

  #row(bytes: Buffer, start: number): void {
    const current = this.#current
    let at = start
    let field = 0
    for (const [i, { index, isNumber }] of this.#keys!.entries()) {
      for (; field < index; field++) at = pastField(bytes, at, this.#codes[field]!)
      // A key that lies in TOAST and did not change is spelled out elsewhere.
      if (bytes[at]! >> 1 !== BRANCH_VALUE) {
        this.#unbounded = true
        return
      }
      const end = pastField(bytes, at, this.#codes[field++]!)
      if (isNumber) current[i] = numberAt(bytes, at + 1, end)
      else {
        const source = new ByteSource(bytes, at + 1, end)
        const length = source.long()
        if (length > KEY_BYTES) {
          this.#unbounded = true
          return
        }
        current[i] = bytes.subarray(source.at, end)
      }
      at = end
    }
    if (this.#smallest === undefined || compareKeys(current, this.#smallest) < 0)
      this.#smallest = current.map(kept)
    if (this.#largest === undefined || compareKeys(current, this.#largest) > 0)
      this.#largest = current.map(kept)
  }

  /** What was seen since the last time; undefined where there is no range. */
  take(): KeySpan | undefined {
    const span =
      this.#unbounded || this.#smallest === undefined
        ? undefined
        : { smallest: this.#smallest.map(textOf), largest: this.#largest!.map(textOf) }
    this.#smallest = undefined
    this.#largest = undefined
    this.#unbounded = false
    return span
  }
}

/** Zigzag varint: a number where it is exact. */
function numberAt(bytes: Buffer, at: number, end: number): number | bigint {
  if (end - at > 7) return new ByteSource(bytes, at, end).bigLong()
  let value = 0
  let scale = 1
  for (let i = at; i < end; i++) {
    value += (bytes[i]! & 127) * scale
    scale *= 128
  }
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function kept(value: KeyValue): KeyValue {
  return typeof value === 'object' ? Buffer.from(value) : value
}

function textOf(value: KeyValue): string {
  return typeof value === 'object' ? `=${value.toString('utf8')}` : `#${value}`
}

function compareValues(a: KeyValue, b: KeyValue): number {
  if (typeof a === 'object' || typeof b === 'object') return Buffer.compare(a as Buffer, b as Buffer)
  return a < b ? -1 : a > b ? 1 : 0
}

/** The shorter one is compared as far as it goes: the leading columns of a key may be asked for alone. */
function compareKeys(a: readonly KeyValue[], b: readonly KeyValue[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const order = compareValues(a[i]!, b[i]!)
    if (order !== 0) return order
  }
  return 0
}

/**
 * Whether a block with this span may hold the key; true where there is no span.
 *
 * @param key the leading columns of the identity, or all of them, as the server prints them
 */
export function mayHold(span: KeySpan | undefined, key: readonly string[]): boolean {
  if (span === undefined) return true
  const { smallest } = span
  const wanted: KeyValue[] = []
  for (const [i, text] of key.slice(0, smallest.length).entries()) {
    const isNumber = smallest[i]!.startsWith('#')
    if (isNumber && !INTEGER.test(text)) return false
    wanted.push(isNumber ? BigInt(text) : Buffer.from(text, 'utf8'))
  }
  return (
    compareKeys(wanted, smallest.map(valueOf)) >= 0 && compareKeys(wanted, span.largest.map(valueOf)) <= 0
  )
}

/** What of the key no row of this table can have, in words; undefined where there is no span or nothing is wrong. */
export function impossibleKey(span: KeySpan | undefined, key: readonly string[]): string | undefined {
  if (span === undefined) return undefined
  const { smallest } = span
  if (key.length > smallest.length)
    return `it has ${key.length} values, and the key of the table ${smallest.length}`
  const at = key.findIndex((text, i) => smallest[i]!.startsWith('#') && !INTEGER.test(text))
  return at < 0
    ? undefined
    : `value ${at + 1} is not a whole number, and that column of the key holds nothing else`
}

function valueOf(text: string): KeyValue {
  return text.startsWith('#') ? BigInt(text.slice(1)) : Buffer.from(text.slice(1), 'utf8')
}

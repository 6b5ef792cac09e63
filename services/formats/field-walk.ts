/** Moves past encoded fields: small numbers instead of kinds, so that walking a row is a few operations a field. */
import { corrupt } from '../core/byte-source.ts'
import { BRANCH_NULL, BRANCH_TEXT, BRANCH_VALUE, hasTextBranch } from './value-kind.ts'
import type { ValueKind } from '../core/relation.ts'

const BYTE = 0
const FOUR = 1
const EIGHT = 2
const VARINT = 3
const LENGTH = 4
/** Added where the kind has a text branch; the state branch then comes one later. */
const TEXT = 8

const FORMS: Readonly<Record<ValueKind, number>> = {
  bool: BYTE,
  float: FOUR,
  double: EIGHT,
  int: VARINT,
  long: VARINT,
  date: VARINT,
  timestamp: VARINT,
  timestamptz: VARINT,
  bytes: LENGTH,
  uuid: LENGTH,
  text: LENGTH,
}

/** One code for each column, for `pastField`. */
export function walkCodes(kinds: readonly ValueKind[]): Uint8Array {
  return Uint8Array.from(kinds, (kind) => FORMS[kind] + (hasTextBranch(kind) ? TEXT : 0))
}

/**
 * Where the field at `at` ends. Does not look at the buffer's end: the caller checks that the row does not pass it.
 *
 * @throws TidemarkError OBJECT_CORRUPT
 */
export function pastField(buffer: Buffer, at: number, code: number): number {
  const branch = buffer[at++]! >> 1
  if (branch === BRANCH_NULL) return at
  let form = code & 7
  if (branch !== BRANCH_VALUE) {
    const hasText = (code & TEXT) !== 0
    if (branch === BRANCH_TEXT && hasText) form = LENGTH
    else if (branch === (hasText ? 3 : 2)) form = VARINT
    else throw corrupt('a value has an unknown branch')
  }
  switch (form) {
    case BYTE:
      return at + 1
    case FOUR:
      return at + 4
    case EIGHT:
      return at + 8
    case VARINT:
      while (buffer[at++]! >= 128) {}
      return at
    default: {
      let byte = buffer[at++]!
      let length = byte & 127
      // Zigzag of at most 2^30: five bytes.
      for (let scale = 128; byte >= 128; scale *= 128) {
        byte = buffer[at++]!
        length += (byte & 127) * scale
      }
      return at + length / 2
    }
  }
}

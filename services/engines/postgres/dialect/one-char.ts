/**
 * "char", a type of one byte. A byte of 128 and more is printed as `\377` from PostgreSQL 16 on and as itself before, where it
 * is no text in UTF-8; and an older server takes the first byte of `\377`, in silence.
 */
import { corrupt } from '../../../core/byte-source.ts'

export const ONE_CHAR = 18

/** The byte that [start, end) prints, whichever server printed it. */
export function oneCharOf(buffer: Buffer, start: number, end: number): number {
  if (end === start) return 0
  if (end - start === 1) return buffer[start]!
  const escaped = /^\\([0-3][0-7]{2})$/.exec(buffer.toString('latin1', start, end))
  if (escaped === null) throw corrupt('a value of "char" is longer than a byte')
  return Number.parseInt(escaped[1]!, 8)
}

/** `\377` for the byte 255: what a column of text takes. */
export function escapedChar(byte: number): string {
  return `\\${byte.toString(8).padStart(3, '0')}`
}

/** An expression for the "char" that a text in that form stands for; right in every version. @param column quoted */
export function oneCharFromText(column: string): string {
  const digit = (place: number): string => `pg_catalog.substr(${column}, ${place}, 1)::int`
  const byte = `${digit(2)} * 64 + ${digit(3)} * 8 + ${digit(4)}`
  // The cast of integers takes -128 to 127.
  return `CASE WHEN ${column} ~ '^[\\\\][0-7]{3}$' THEN ((${byte} + 128) % 256 - 128)::"char" ELSE ${column}::"char" END`
}

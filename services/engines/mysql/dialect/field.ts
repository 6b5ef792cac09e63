/** A value's own bytes as the text that a change encoder takes for its kind. */
import type { ColumnType } from '../../../core/relation.ts'
import { ZONE } from './field-reader.ts'

const UTC = Buffer.from(ZONE)

/** For all values of a column, none of them NULL. */
export function fieldsOf({ kind }: ColumnType): (value: Buffer) => Buffer {
  if (kind === 'bytes') return (value) => Buffer.from(`\\x${value.toString('hex')}`, 'latin1')
  if (kind === 'timestamptz') return (value) => Buffer.concat([value, UTC])
  return (value) => value
}

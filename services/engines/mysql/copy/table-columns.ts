/** The columns of a table as its rows are read: each printed as the binlog prints it, so that copy and stream give the same bytes. */
import type mysql from 'mysql2/promise'
import { quoteName, type TableName } from '../dialect/names.ts'
import { floatText } from '../values/floating.ts'

export interface CopyColumn {
  readonly name: string
  /** COLUMN_TYPE */
  readonly type: string
  /** What is selected. */
  readonly expression: string
  /** The server prints six digits of a FLOAT: it is selected as a DOUBLE, and printed here. */
  readonly isFloat: boolean
}

/** Kept as bytes of their own, which the log has too; the server would print them. */
const PRINTED_BYTES: ReadonlySet<string> = new Set(['uuid', 'inet6', 'inet4'])

/** In the table's own order, as its rows in the log have them. */
export async function readColumns(
  connection: mysql.Connection,
  table: TableName,
): Promise<readonly CopyColumn[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    'SELECT COLUMN_NAME AS name, DATA_TYPE AS type, COLUMN_TYPE AS whole FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION',
    [table.schema, table.name],
  )
  return rows.map((row) => copyColumn(String(row['name']), String(row['type']), String(row['whole'])))
}

function copyColumn(name: string, type: string, whole: string): CopyColumn {
  const column = quoteName(name)
  if (type === 'float') return { name, type: whole, expression: `${column} + 0e0`, isFloat: true }
  // Zeros in front are for people.
  if (whole.includes('zerofill')) return { name, type: whole, expression: `${column} + 0`, isFloat: false }
  if (PRINTED_BYTES.has(type))
    return { name, type: whole, expression: `CAST(${column} AS BINARY)`, isFloat: false }
  return { name, type: whole, expression: column, isFloat: false }
}

/** A selected FLOAT as the log prints it. */
export function floatOf(selected: Buffer): Buffer {
  return Buffer.from(floatText(Math.fround(Number(selected.toString('latin1')))), 'latin1')
}

/** Columns of a table as the catalog has them, in the table's own order, and what they are selected as. */
import type mysql from 'mysql2/promise'
import type { ColumnType } from '../../../core/relation.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { catalogType } from '../dialect/column-type.ts'
import { quoteName, type TableName } from '../dialect/names.ts'

export interface CatalogColumn extends ColumnType {
  readonly name: string
  /** COLUMN_TYPE, e.g. `int(10) unsigned`. */
  readonly type: string
  /** DATA_TYPE */
  readonly data: string
  readonly isStored: boolean
}

/** All tables of the database, or one. @throws TidemarkError SOURCE_UNSUITABLE for a type that is not known here */
export async function readColumns(
  connection: mysql.Connection,
  schema: string,
  only?: string,
): Promise<ReadonlyMap<string, readonly CatalogColumn[]>> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT TABLE_NAME AS t, COLUMN_NAME AS name, DATA_TYPE AS data, COLUMN_TYPE AS whole, CHARACTER_SET_NAME AS charset, EXTRA AS extra, GENERATION_EXPRESSION AS formula
       FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ?${only === undefined ? '' : ' AND TABLE_NAME = ?'} ORDER BY TABLE_NAME, ORDINAL_POSITION`,
    only === undefined ? [schema] : [schema, only],
  )
  const tables = new Map<string, CatalogColumn[]>()
  for (const row of rows) {
    const table = String(row['t'])
    const columns = tables.get(table) ?? []
    tables.set(table, columns)
    columns.push(columnOf(row, { schema, name: table }))
  }
  return tables
}

function columnOf(row: mysql.RowDataPacket, table: TableName): CatalogColumn {
  const data = String(row['data']).toLowerCase()
  const type = String(row['whole'])
  const charset = row['charset'] === null ? null : String(row['charset'])
  const stored = catalogType({ data, whole: type, charset })
  if (stored === undefined)
    throw new TidemarkError(
      'SOURCE_UNSUITABLE',
      `${table.schema}.${table.name}: a column of type ${data}, which is not known here`,
    )
  const generated: unknown = row['formula']
  // MySQL says DEFAULT_GENERATED of a default that is an expression: such a column is stored like any other.
  const isGenerated = (generated !== null && generated !== '') || / GENERATED$/.test(String(row['extra']))
  return { ...stored, name: String(row['name']), type, data, isStored: !isGenerated }
}

/** What gives the bytes of a value as the log has them, and as a backup keeps them. FLOAT is selected as a DOUBLE. */
export function printedAs({ name, data, type, native }: CatalogColumn): string {
  const column = quoteName(name)
  if (native === 'float') return `CAST(${column} + 0e0 AS CHAR)`
  // Zeros in front are for people.
  if (type.includes('zerofill')) return `CAST(${column} + 0 AS CHAR)`
  if (data === 'json') return `CAST(${column} AS CHAR CHARACTER SET utf8mb4)`
  return `CAST(${column} AS BINARY)`
}

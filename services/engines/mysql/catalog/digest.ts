/**
 * Order-free digests of tables, taken in the server: per row SHA-256 over the hashes of its values, summed in two halves of 64
 * bits. A value of any size is hashed by itself, so that no row is too large to be put together.
 */
import type mysql from 'mysql2/promise'
import type { TableDigest } from '../../../core/ports/target.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { quoteTable, type TableName } from '../dialect/names.ts'
import { compareBytes, NULL_HASH } from '../dialect/row-digest.ts'
import { type CatalogColumn, printedAs, readColumns } from './columns.ts'

/** @param columns those that are compared, in any order */
function digestSql(table: TableName, columns: readonly CatalogColumn[]): string {
  const values = [...columns]
    .sort((a, b) => compareBytes(a.name, b.name))
    .map((column) => `IFNULL(SHA2(${printedAs(column)}, 256), '${NULL_HASH}')`)
  const half = (from: number): string =>
    `CAST(COALESCE(SUM(CAST(CONV(SUBSTR(h, ${from}, 16), 16, 10) AS DECIMAL(20, 0))), 0) AS CHAR)`
  return `SELECT CAST(COUNT(*) AS CHAR) AS n, ${half(1)} AS high, ${half(17)} AS low
    FROM (SELECT SHA2(${values.length === 0 ? "''" : `CONCAT_WS(',', ${values.join(', ')})`}, 256) AS h FROM ${quoteTable(table)}) d`
}

/**
 * @param database where the tables are, whatever they are called by
 * @throws TidemarkError TARGET_FAILED where one of them is not there
 */
export async function digestTables(
  connection: mysql.Connection,
  database: string,
  tables: readonly (TableName & { readonly columns: readonly string[] })[],
): Promise<readonly TableDigest[]> {
  const found: TableDigest[] = []
  for (const { schema, name, columns } of tables) {
    const all = (await readColumns(connection, database, name)).get(name)
    if (all === undefined) throw new TidemarkError('TARGET_FAILED', `there is no table ${database}.${name}`)
    const wanted = all.filter((column) => columns.includes(column.name))
    const [rows] = await connection.query<mysql.RowDataPacket[]>(
      digestSql({ schema: database, name }, wanted),
    )
    const [row] = rows
    found.push({
      schema,
      name,
      rows: BigInt(String(row?.['n'])),
      digest: `${String(row?.['high'])}:${String(row?.['low'])}`,
    })
  }
  return found
}

/** Character sets by the numbers of their collations, as rows in the log name them. */
import type mysql from 'mysql2/promise'

export interface Charsets {
  readonly charsets: ReadonlyMap<number, string>
  readonly collations: ReadonlyMap<number, string>
}

export async function readCharsets(connection: mysql.Connection): Promise<Charsets> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>('SHOW COLLATION')
  const charsets = new Map<number, string>([[63, 'binary']])
  const collations = new Map<number, string>([[63, 'binary']])
  for (const row of rows) {
    // One name may stand for collations of several character sets, and has no number of its own then.
    if (row['Id'] === null) continue
    charsets.set(Number(row['Id']), String(row['Charset']))
    collations.set(Number(row['Id']), String(row['Collation']))
  }
  for (const row of await manyNamed(connection)) {
    charsets.set(Number(row['id']), String(row['charset']))
    collations.set(Number(row['id']), String(row['name']))
  }
  return { charsets, collations }
}

/** MariaDB from 10.10 on. */
async function manyNamed(connection: mysql.Connection): Promise<mysql.RowDataPacket[]> {
  const sql =
    'SELECT ID AS id, CHARACTER_SET_NAME AS charset, FULL_COLLATION_NAME AS name FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY'
  try {
    return (await connection.query<mysql.RowDataPacket[]>(sql))[0]
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ER_BAD_FIELD_ERROR') return []
    throw error
  }
}

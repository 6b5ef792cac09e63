/** Tables as copies store them. */
import type mysql from 'mysql2/promise'
import { TidemarkError } from '../../../core/errors.ts'
import { quoteName } from '../dialect/names.ts'
import { MysqlTable } from '../dialect/mysql-table.ts'
import { readColumns } from './columns.ts'

/** A table that a backup does not cover, and why. */
interface UncoveredTable {
  readonly schema: string
  readonly name: string
  readonly reason: string
}

export interface ReadTables {
  readonly tables: readonly MysqlTable[]
  readonly uncovered: readonly UncoveredTable[]
  /** By name: an estimate, for progress alone. */
  readonly sizes: ReadonlyMap<string, { readonly rows: number; readonly bytes: number }>
}

/** Names of the tables whose rows have a place in the log. */
export async function listTables(connection: mysql.Connection, schema: string): Promise<readonly string[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE' AND ENGINE = 'InnoDB' ORDER BY 1`,
    [schema],
  )
  return rows.map((row) => String(row['name']))
}

/** What SHOW CREATE prints does not depend on: quotes of names, and a backslash that means itself. */
const AS_PRINTED = "SET SESSION sql_mode = '', sql_quote_show_create = 1"

/** @param only by name. @throws TidemarkError SOURCE_UNSUITABLE where two tables cannot be told apart */
export async function readTables(
  connection: mysql.Connection,
  schema: string,
  only?: ReadonlySet<string>,
): Promise<ReadTables> {
  await connection.query(AS_PRINTED)
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT TABLE_NAME AS name, TABLE_TYPE AS type, ENGINE AS engine, TABLE_ROWS AS n, DATA_LENGTH AS bytes
       FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME`,
    [schema],
  )
  const columns = await readColumns(connection, schema)
  const keys = await readKeys(connection, schema)
  const tables: MysqlTable[] = []
  const uncovered: UncoveredTable[] = []
  const sizes = new Map<string, { rows: number; bytes: number }>()
  for (const row of rows) {
    const name = String(row['name'])
    if (only !== undefined && !only.has(name)) continue
    const reason = reasonAgainst(String(row['type']), row['engine'] === null ? '' : String(row['engine']))
    if (reason !== undefined) {
      uncovered.push({ schema, name, reason })
      continue
    }
    const create = await showCreate(connection, 'TABLE', schema, name, 'Create Table')
    // Gone between the two questions.
    if (create === undefined) continue
    const own = columns.get(name) ?? []
    tables.push(
      new MysqlTable({
        schema,
        name,
        create,
        columns: own.map(({ name: called, kind, native, modifier, type, isStored }) => ({
          name: called,
          kind: kind as Exclude<typeof kind, 'bool' | 'uuid'>,
          native,
          modifier,
          type,
          isStored,
        })),
        key: keys.get(name) ?? [],
      }),
    )
    sizes.set(name, { rows: Number(row['n'] ?? 0), bytes: Number(row['bytes'] ?? 0) })
  }
  refuseSameIds(tables)
  return { tables, uncovered, sizes }
}

function reasonAgainst(type: string, engine: string): string | undefined {
  if (type === 'SYSTEM VERSIONED')
    return 'it is system-versioned: its history would come back with the times of the restore'
  return /^innodb$/i.test(engine)
    ? undefined
    : `its engine is ${engine === '' ? 'not there' : engine}: no copy of it has an exact place in the log`
}

function refuseSameIds(tables: readonly MysqlTable[]): void {
  const seen = new Map<number, string>()
  for (const { version } of tables) {
    const other = seen.get(version.oid)
    if (other !== undefined)
      throw new TidemarkError(
        'SOURCE_UNSUITABLE',
        `tables ${other} and ${version.name} have names of one and the same number; rename one of them`,
      )
    seen.set(version.oid, version.name)
  }
}

/** Columns of the primary keys, by table. */
async function readKeys(
  connection: mysql.Connection,
  schema: string,
): Promise<ReadonlyMap<string, readonly string[] & string[]>> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT TABLE_NAME AS t, COLUMN_NAME AS name FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX`,
    [schema],
  )
  const keys = new Map<string, string[]>()
  for (const row of rows) {
    const table = String(row['t'])
    keys.set(table, [...(keys.get(table) ?? []), String(row['name'])])
  }
  return keys
}

/** Names that are not there any more. */
const GONE: ReadonlySet<string> = new Set([
  'ER_NO_SUCH_TABLE',
  'ER_SP_DOES_NOT_EXIST',
  'ER_TRG_DOES_NOT_EXIST',
  'ER_EVENT_DOES_NOT_EXIST',
  'ER_UNKNOWN_SEQUENCES',
])

/** @returns undefined where it is gone, or its text is not for this user */
export async function showCreate(
  connection: mysql.Connection,
  kind: string,
  schema: string,
  name: string,
  column: string,
): Promise<string | undefined> {
  return (await showWhole(connection, kind, schema, name))?.[column] as string | undefined
}

export async function showWhole(
  connection: mysql.Connection,
  kind: string,
  schema: string,
  name: string,
): Promise<mysql.RowDataPacket | undefined> {
  try {
    const [rows] = await connection.query<mysql.RowDataPacket[]>(
      `SHOW CREATE ${kind} ${quoteName(schema)}.${quoteName(name)}`,
    )
    return rows[0]
  } catch (error) {
    if (error instanceof Error && 'code' in error && GONE.has(String(error.code))) return undefined
    throw error
  }
}

/** The schema of a database as ordered statements, and what they do not bring, for people. */
import type mysql from 'mysql2/promise'
import type { SchemaStatement, SequenceReading } from '../../../core/transaction.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { counterId } from '../dialect/counters.ts'
import { quoteName, quoteText } from '../dialect/names.ts'
import type { OpenSession } from '../session/connect.ts'
import { readTables, type ReadTables, showCreate, showWhole } from './read-tables.ts'

export interface ReadSchema extends ReadTables {
  readonly statements: readonly SchemaStatement[]
  readonly notes: readonly string[]
}

/** The session's database must be `schema`: names of its own stay without it in what is printed. */
export async function readSchema(session: OpenSession, schema: string): Promise<ReadSchema> {
  const { connection } = session
  const read = await readTables(connection, schema)
  const notes = read.uncovered.map(({ name, reason }) => `${schema}.${name} is not backed up: ${reason}`)
  const made = [
    ...read.tables.flatMap((table) => table.statements()),
    ...(session.server.flavour === 'mariadb' ? await sequences(connection, schema) : []),
    ...(await routines(connection, schema, notes)),
    ...(await views(connection, schema, notes)),
    ...(await triggers(connection, schema, notes)),
    ...(await events(connection, schema, notes)),
  ]
  notes.push(...(await rightsNotes(connection, schema)))
  const statements = made
    .map((statement, place) => ({ statement, place }))
    .sort((a, b) => a.statement.rank - b.statement.rank || a.place - b.place)
    .map(({ statement }) => statement)
  return { ...read, statements, notes }
}

async function list(
  connection: mysql.Connection,
  sql: string,
  schema: string,
): Promise<mysql.RowDataPacket[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(sql, [schema])
  return rows
}

/** Before the tables, whose defaults may call them. Their values come apart. */
async function sequences(connection: mysql.Connection, schema: string): Promise<SchemaStatement[]> {
  const made: SchemaStatement[] = []
  for (const row of await list(
    connection,
    `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'SEQUENCE' ORDER BY 1`,
    schema,
  )) {
    const name = String(row['name'])
    const sql = await showCreate(connection, 'SEQUENCE', schema, name, 'Create Table')
    if (sql !== undefined)
      made.push(schemaStatement(RANK.create - 1, { kind: 'sequence', schema, name }, sql))
  }
  return made
}

async function views(
  connection: mysql.Connection,
  schema: string,
  notes: string[],
): Promise<SchemaStatement[]> {
  const made: SchemaStatement[] = []
  for (const row of await list(
    connection,
    'SELECT TABLE_NAME AS name FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? ORDER BY 1',
    schema,
  )) {
    const name = String(row['name'])
    const found = await showWhole(connection, 'VIEW', schema, name)
    const sql: unknown = found?.['Create View']
    if (typeof sql === 'string')
      made.push(schemaStatement(RANK.late, { kind: 'view', schema, name }, underCharset(found!, sql)))
    else notes.push(`view ${schema}.${name} is not backed up: its text is not for this user (SHOW VIEW)`)
  }
  return made
}

async function routines(
  connection: mysql.Connection,
  schema: string,
  notes: string[],
): Promise<SchemaStatement[]> {
  const made: SchemaStatement[] = []
  for (const row of await list(
    connection,
    `SELECT ROUTINE_NAME AS name, ROUTINE_TYPE AS type FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? ORDER BY 2, 1`,
    schema,
  )) {
    const [name, type] = [String(row['name']), String(row['type'])]
    const word = type === 'FUNCTION' ? 'Function' : type === 'PROCEDURE' ? 'Procedure' : undefined
    const found = word === undefined ? undefined : await showWhole(connection, type, schema, name)
    const sql: unknown = found?.[`Create ${word}`]
    if (typeof sql === 'string')
      made.push(
        schemaStatement(
          RANK.late - 1,
          { kind: type.toLowerCase(), schema, name },
          underSettings(found!, sql),
        ),
      )
    else notes.push(`${type.toLowerCase()} ${schema}.${name} is not backed up: its text is not for this user`)
  }
  return made
}

/** In the order in which they were made: several of one table and moment run in it. */
async function triggers(
  connection: mysql.Connection,
  schema: string,
  notes: string[],
): Promise<SchemaStatement[]> {
  const made: SchemaStatement[] = []
  for (const row of await list(
    connection,
    'SELECT TRIGGER_NAME AS name, EVENT_OBJECT_TABLE AS t FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ? ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER',
    schema,
  )) {
    const name = String(row['name'])
    const found = await showWhole(connection, 'TRIGGER', schema, name)
    const sql: unknown = found?.['SQL Original Statement']
    if (typeof sql === 'string')
      made.push(
        schemaStatement(
          RANK.behaviour,
          { kind: 'trigger', schema, name, table: String(row['t']) },
          underSettings(found!, sql),
        ),
      )
    else notes.push(`trigger ${schema}.${name} is not backed up: its text is not for this user (TRIGGER)`)
  }
  return made
}

/** Disabled, so that nothing of the source runs by itself where it is restored. */
async function events(
  connection: mysql.Connection,
  schema: string,
  notes: string[],
): Promise<SchemaStatement[]> {
  const made: SchemaStatement[] = []
  for (const row of await list(
    connection,
    'SELECT EVENT_NAME AS name, STATUS AS status, TIME_ZONE AS zone FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? ORDER BY 1',
    schema,
  )) {
    const name = String(row['name'])
    const found = await showWhole(connection, 'EVENT', schema, name)
    const sql: unknown = found?.['Create Event']
    const disabled =
      typeof sql === 'string'
        ? sql.replace(/( ON COMPLETION (?:NOT )?PRESERVE) (?:ENABLE|DISABLE)\b/, '$1 DISABLE')
        : ''
    if (!/ ON COMPLETION (NOT )?PRESERVE DISABLE\b/.test(disabled)) {
      notes.push(`event ${schema}.${name} is not backed up: its text is not for this user, or not known`)
      continue
    }
    made.push(
      schemaStatement(
        RANK.state,
        { kind: 'event', schema, name },
        underSettings(found!, disabled, `time_zone = ${quoteText(String(row['zone']))}`),
      ),
    )
    if (row['status'] === 'ENABLED')
      notes.push(
        `event ${schema}.${name} comes back disabled: ALTER EVENT ${quoteName(name)} ENABLE where it is to run`,
      )
  }
  return made
}

/** What a text means depends on what its session had set; the server takes it as it was. */
function underSettings(row: mysql.RowDataPacket, sql: string, ...more: readonly string[]): string {
  return underCharset(row, sql, `sql_mode = ${quoteText(String(row['sql_mode']))}`, ...more)
}

/** The text itself is sent in utf8mb4, and texts in it take the collation of before. */
function underCharset(row: mysql.RowDataPacket, sql: string, ...more: readonly string[]): string {
  const collation: unknown = row['collation_connection']
  const settings = [
    ...more,
    ...(typeof collation === 'string' ? [`collation_connection = ${quoteText(collation)}`] : []),
  ]
  return `SET ${settings.join(', ')}; ${sql}`
}

async function rightsNotes(connection: mysql.Connection, schema: string): Promise<string[]> {
  const definers = await list(
    connection,
    `SELECT DISTINCT definer FROM (SELECT DEFINER AS definer, TABLE_SCHEMA AS s FROM information_schema.VIEWS UNION ALL SELECT DEFINER, ROUTINE_SCHEMA FROM information_schema.ROUTINES UNION ALL SELECT DEFINER, TRIGGER_SCHEMA FROM information_schema.TRIGGERS UNION ALL SELECT DEFINER, EVENT_SCHEMA FROM information_schema.EVENTS) d WHERE s = ? ORDER BY 1`,
    schema,
  )
  const grants = await list(
    connection,
    'SELECT DISTINCT GRANTEE AS grantee FROM (SELECT GRANTEE, TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES UNION ALL SELECT GRANTEE, TABLE_SCHEMA FROM information_schema.TABLE_PRIVILEGES UNION ALL SELECT GRANTEE, TABLE_SCHEMA FROM information_schema.COLUMN_PRIVILEGES) p WHERE TABLE_SCHEMA = ? ORDER BY 1',
    schema,
  )
  const notes: string[] = []
  if (definers.length > 0)
    notes.push(
      `views, routines, triggers and events run by the rights of ${definers.map((row) => String(row['definer'])).join(', ')}: these users have to be there, and are not backed up`,
    )
  if (grants.length > 0)
    notes.push(
      `users and their rights are not backed up: ${grants.map((row) => String(row['grantee'])).join(', ')} have some on ${schema}`,
    )
  return notes
}

/** The next number that a table gives out, as the server has it now. */
export async function readCounters(
  { connection, server }: OpenSession,
  schema: string,
): Promise<readonly SequenceReading[]> {
  // MySQL keeps what it said a day ago.
  if (server.flavour === 'mysql') await connection.query('SET SESSION information_schema_stats_expiry = 0')
  const rows = await list(
    connection,
    'SELECT TABLE_NAME AS name, AUTO_INCREMENT AS next FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND AUTO_INCREMENT IS NOT NULL ORDER BY 1',
    schema,
  )
  const counters = rows.map((row) => ({
    schema,
    name: String(row['name']),
    oid: counterId({ schema, name: String(row['name']) }, 'table'),
    lastValue: String(row['next']),
    isCalled: false,
    increment: '1',
  }))
  return server.flavour === 'mariadb' ? [...counters, ...(await readSequences(connection, schema))] : counters
}

async function readSequences(connection: mysql.Connection, schema: string): Promise<SequenceReading[]> {
  const found: SequenceReading[] = []
  for (const row of await list(
    connection,
    `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'SEQUENCE' ORDER BY 1`,
    schema,
  )) {
    const name = String(row['name'])
    const [values] = await connection.query<mysql.RowDataPacket[]>(
      `SELECT next_not_cached_value AS next, increment FROM ${quoteName(schema)}.${quoteName(name)}`,
    )
    const [value] = values
    if (value === undefined) continue
    // What is cached by the server was given, as far as anybody knows.
    found.push({
      schema,
      name,
      oid: counterId({ schema, name }, 'sequence'),
      lastValue: String(value['next']),
      isCalled: false,
      increment: String(value['increment']),
    })
  }
  return found
}

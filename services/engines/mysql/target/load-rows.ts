/** Rows into one table, in one transaction with the mark that they are there. */
import { TidemarkError } from '../../../core/errors.ts'
import { RowsRefused } from '../../../core/ports/target.ts'
import type { CatalogColumn } from '../catalog/columns.ts'
import type { LineForm } from '../dialect/line-rows.ts'
import { quoteName, quoteTable, type TableName } from '../dialect/names.ts'
import { takeLine } from '../session/connect.ts'
import { type Done, execute, loadLocal, ServerRefusal } from '../session/load-line.ts'
import type { PacketLine } from '../session/packets.ts'
import { queryRows } from '../session/result-rows.ts'
import { insertRows } from './insert-rows.ts'
import { openSession } from './target-session.ts'

/** Of an answer; the rows go the other way. */
const LARGEST_ANSWER = 1 << 20
/** The server, or this client, lets no file of ours in. */
const NO_LOCAL: ReadonlySet<number> = new Set([1148, 3948, 3950, 4166])

export interface Load {
  readonly url: string
  readonly table: TableName
  readonly columns: readonly string[]
  /** The table's own, as it was made. */
  readonly made: readonly CatalogColumn[]
  readonly rows: AsyncIterable<Buffer>
  readonly form: LineForm
  /** What is noted with them. */
  mark(count: number): string
}

/** @throws ServerRefusal, RowsRefused, TidemarkError SOURCE_UNREACHABLE, and what the rows throw */
export async function loadRows(load: Load, signal: AbortSignal): Promise<number> {
  const { table, mark } = load
  const session = await openSession(load.url)
  const largest = await largestStatement(session)
  const line = takeLine(session, LARGEST_ANSWER)
  const stop = (): void => line.close()
  signal.addEventListener('abort', stop, { once: true })
  const run = (sql: string): Promise<Done> => execute(line, [Buffer.from(sql)])
  try {
    signal.throwIfAborted()
    await run(`TRUNCATE TABLE ${quoteTable(table)}`)
    await run('SET autocommit = 0')
    // Bytes as they are: every column's text is in its own character set.
    await run('SET NAMES binary')
    const count = await filled(line, load, largest)
    await run(mark(count))
    await run('COMMIT')
    return count
  } finally {
    signal.removeEventListener('abort', stop)
    line.close()
  }
}

async function largestStatement({ connection }: Awaited<ReturnType<typeof openSession>>): Promise<number> {
  const [rows] = await connection.query('SELECT @@max_allowed_packet AS bytes')
  return Number((rows as { readonly bytes: unknown }[])[0]?.bytes)
}

async function filled(line: PacketLine, load: Load, largest: number): Promise<number> {
  const rows = new Rows(load.rows)
  if (load.form === 'counted lines') {
    await execute(line, [Buffer.from(LOOSE)])
    return await insertRows(line, insertSql(load, largest), rows.all())
  }
  try {
    const { rows: count, warnings } = await loadLocal(line, loadSql(load), rows.all())
    // With LOCAL what does not fit is bent, and said in a warning alone.
    if (warnings > 0) throw await bent(line)
    return count
  } catch (error) {
    if (!(error instanceof ServerRefusal && NO_LOCAL.has(error.errno)) || rows.isBegun) throw error
    return await insertRows(line, insertSql(load, largest), rows.all())
  }
}

/** What does not fit gives a warning. */
const LOOSE = "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"

/** Whether anything was taken of what can be read once. */
class Rows {
  readonly #rows: AsyncIterable<Buffer>
  isBegun = false
  constructor(rows: AsyncIterable<Buffer>) {
    this.#rows = rows
  }
  async *all(): AsyncGenerator<Buffer> {
    this.isBegun = true
    yield* this.#rows
  }
}

async function bent(line: PacketLine): Promise<RowsRefused> {
  let code = ''
  for await (const { bytes, offsets } of queryRows(line, 'SHOW WARNINGS LIMIT 1'))
    code = bytes.toString('latin1', offsets[2], offsets[3])
  return new RowsRefused(`values would not stay as they are (${code})`, '01000', undefined)
}

/** JSON is made from text alone, and not from bytes. */
const isJson = (made: readonly CatalogColumn[], name: string): boolean =>
  made.some((column) => column.name === name && column.native === 'json')

function loadSql({ table, columns, made }: Load): string {
  const fields = columns.map((name, i) => (isJson(made, name) ? `@v${i}` : quoteName(name)))
  const sets = columns.flatMap((name, i) =>
    isJson(made, name) ? [`${quoteName(name)} = CONVERT(@v${i} USING utf8mb4)`] : [],
  )
  return `LOAD DATA LOCAL INFILE 'rows' INTO TABLE ${quoteTable(table)} CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (${fields.join(', ')})${sets.length === 0 ? '' : ` SET ${sets.join(', ')}`}`
}

const EMPTY_LABEL = /[(,]''[,)]/

function insertSql({ table, columns, made, form }: Load, largest: number): Parameters<typeof insertRows>[1] {
  return {
    head: `INSERT INTO ${quoteTable(table)} (${columns.map(quoteName).join(', ')}) VALUES `,
    introducers: columns.map((name) => (isJson(made, name) ? "_utf8mb4'" : "'")),
    largest,
    counted: new Set(
      form === 'lines'
        ? []
        : columns.flatMap((name, i) =>
            made.some((one) => one.name === name && one.data === 'enum' && !EMPTY_LABEL.test(one.type))
              ? [i]
              : [],
          ),
    ),
  }
}

/** Of a table that is loaded before it is there. */
export function absent(table: TableName): TidemarkError {
  return new RowsRefused(`${table.name} is not there`, '42S02', undefined)
}

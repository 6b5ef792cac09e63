/** Target port for MySQL and MariaDB: an empty database that a rebuild fills, resumable by table and by statement. */
import { createHash } from 'node:crypto'
import type mysql from 'mysql2/promise'
import { TidemarkError } from '../../../core/errors.ts'
import {
  type BegunRestore,
  type Refusal,
  RowsRefused,
  type TableDigest,
  tableKey,
  type Target,
} from '../../../core/ports/target.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { readColumns } from '../catalog/columns.ts'
import { digestTables } from '../catalog/digest.ts'
import { databaseOf, placeOf } from '../session/connect.ts'
import { serverId } from '../session/identity.ts'
import { shellWord } from '../../../core/shell-word.ts'
import { absent, loadRows } from './load-rows.ts'
import { Marks, MARKS } from './marks.ts'
import { openSession, serverError, type TargetSession, throwOfTheWhole } from './target-session.ts'

interface MysqlTargetOptions {
  readonly url: string
  /** Noted in the target, so that the same restore goes on to the same position. */
  readonly begun?: BegunRestore | undefined
  /** What was backed up: its server's id, and its database. */
  readonly source: { readonly server: string; readonly database: string }
}

type Table = { readonly schema: string; readonly name: string; readonly columns: readonly string[] }

/** What says that the statement has been done. */
const DONE_BEFORE: ReadonlySet<number> = new Set([1050, 1061, 1304, 1359, 1537, 1826, 1022, 4146])

/** The source's database has another name here: statements name no database, and rows go where the URL says. */
export class MysqlTarget implements Target {
  readonly #options: MysqlTargetOptions
  readonly #database: string
  /** By lane. */
  readonly #sessions = new Map<number, Promise<TargetSession>>()
  #steps: { readonly done: Set<string>; readonly begun: Set<string> } | undefined

  constructor(options: MysqlTargetOptions) {
    this.#options = options
    this.#database = databaseOf(options.url)
  }

  async check(restoreId: string): Promise<'empty' | 'resume'> {
    const session = await this.#session(0)
    const { source, url } = this.#options
    if ((await serverId(session)) === source.server && source.database === this.#database)
      throw new TidemarkError('TARGET_IS_SOURCE', `${placeOf(url)} is the database that was backed up`)
    const held = await new Marks(session.connection, this.#database).held()
    if (held !== undefined) {
      if (held.restoreId === restoreId) return 'resume'
      const { begun } = held
      throw new TidemarkError(
        'TARGET_NOT_EMPTY',
        `the target holds the unfinished restore of another point${begun === undefined ? '' : `: --at ${shellWord(begun.asked)}, which is ${begun.position}`}, or of other tables`,
        { next: 'drop and create the database, or run that restore again' },
      )
    }
    const [rows] = await session.connection.query<mysql.RowDataPacket[]>(
      `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME <> '${MARKS}'
       UNION ALL SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ?`,
      [this.#database, this.#database],
    )
    if (rows.length > 0)
      throw new TidemarkError(
        'TARGET_NOT_EMPTY',
        `${placeOf(url)} holds ${rows.length} tables, views or routines, among them ${String(rows[0]?.['name'])}`,
      )
    return 'empty'
  }

  async begin(restoreId: string): Promise<ReadonlyMap<string, number>> {
    const marks = await this.#marks()
    await marks.begin(restoreId, this.#options.begun)
    return await marks.loaded()
  }

  async run(
    statements: readonly SchemaStatement[],
    lane: number,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<readonly Refusal[]> {
    const refused: Refusal[] = []
    const session = await this.#session(lane)
    const marks = new Marks(session.connection, this.#database)
    this.#steps ??= { done: await marks.steps('done'), begun: await marks.steps('begun') }
    for (const statement of statements) {
      signal.throwIfAborted()
      const refusal = await this.#one(session, marks, statement)
      if (refusal !== undefined) refused.push(refusal)
      onProgress()
    }
    return refused
  }

  /** A schema statement ends its transaction by itself: what was begun and has its effect was done. */
  async #one(session: TargetSession, marks: Marks, statement: SchemaStatement): Promise<Refusal | undefined> {
    const { done, begun } = this.#steps!
    const step = `${statement.rank}:${createHash('sha256').update(statement.sql).digest('hex').slice(0, 32)}`
    if (done.has(step)) return undefined
    const wasBegun = begun.has(step)
    if (!wasBegun) await marks.note('begun', step)
    try {
      await session.connection.query(statement.sql)
    } catch (error) {
      const refused = throwOfTheWhole(error, 'a statement of the schema')
      await session.settle()
      if (!wasBegun || !DONE_BEFORE.has(refused.errno))
        return { statement, reason: reasonOf(refused), state: refused.sqlState }
    }
    if (statement.sql.startsWith('SET ')) await session.settle()
    await marks.note('done', step)
    done.add(step)
    return undefined
  }

  async load(table: Table, form: string, rows: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted()
    if (form !== 'lines' && form !== 'counted lines')
      throw new TidemarkError('INTERNAL', `rows in a form that is not known: ${form}`)
    const { connection } = await this.#session(0)
    const { name, columns } = table
    const made = (await readColumns(connection, this.#database, name)).get(name)
    if (made === undefined) throw absent(table)
    const marks = await this.#marks()
    const what = `${table.schema}.${name} could not be loaded`
    try {
      return await loadRows(
        {
          url: this.#options.url,
          table: { schema: this.#database, name },
          columns,
          made,
          form,
          rows,
          mark: (count) => marks.loadedSql(tableKey(table), count),
        },
        signal,
      )
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof RowsRefused) throw new RowsRefused(`${what}: ${error.message}`, error.state, error)
      // What the rows' own reading throws is not the target's.
      if (error instanceof TidemarkError && error.code !== 'SOURCE_UNREACHABLE') throw error
      if (serverError(error) === undefined && !(error instanceof TidemarkError)) throw error
      const refused = throwOfTheWhole(error, what)
      throw new RowsRefused(`${what}: ${reasonOf(refused)}`, refused.sqlState, error)
    }
  }

  async remember(text: string): Promise<void> {
    await (await this.#marks()).remember(text)
  }

  async remembered(): Promise<readonly string[]> {
    return await (await this.#marks()).remembered()
  }

  /** A server says of a type only by refusing the table. */
  missingTypes(): Promise<ReadonlySet<string>> {
    return Promise.resolve(new Set())
  }

  async digest(tables: readonly Table[]): Promise<readonly TableDigest[]> {
    const { connection } = await this.#session(0)
    return await digestTables(connection, this.#database, tables)
  }

  remarks(): readonly string[] {
    return []
  }

  async finish(): Promise<void> {
    await (await this.#marks()).remove()
    this.#steps = undefined
  }

  async close(): Promise<void> {
    // One that is still being opened would keep the process alive: it is closed when it is there.
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    for (const session of sessions)
      await session.then(
        ({ connection }) => connection.end().catch(() => undefined),
        () => undefined,
      )
  }

  async #marks(): Promise<Marks> {
    return new Marks((await this.#session(0)).connection, this.#database)
  }

  #session(lane: number): Promise<TargetSession> {
    const held = this.#sessions.get(lane)
    if (held !== undefined) return held
    const opening = openSession(this.#options.url)
    this.#sessions.set(lane, opening)
    return opening
  }
}

/** @returns the restore that a target holds half of; undefined where none was begun */
export async function begunRestore(url: string): Promise<BegunRestore | undefined> {
  const session = await openSession(url)
  try {
    return (await new Marks(session.connection, databaseOf(url)).held())?.begun
  } finally {
    await session.connection.end()
  }
}

/** Names are no row values, but what the server says of rows holds some. */
function reasonOf({
  errno,
  sqlState,
  message,
}: {
  readonly errno: number
  readonly sqlState: string
  readonly message: string
}): string {
  return /^2[23]/.test(sqlState) || ROW_TEXTS.has(errno)
    ? `the rows violate it (${errno})`
    : `${message} (${errno})`
}

/** Refusals that quote a value, though their state does not say so. */
const ROW_TEXTS: ReadonlySet<number> = new Set([
  1062, 1264, 1265, 1292, 1366, 1367, 1406, 1411, 1441, 1525, 1569, 1586, 3140, 3141, 3156, 3819, 4025,
])

/** Target port for PostgreSQL: an empty database that a rebuild fills, resumable by table and by statement. */
import type pg from 'pg'
import { TidemarkError } from '../../../core/errors.ts'
import {
  type BegunRestore,
  type Refusal,
  RowsRefused,
  type TableDigest,
  tableKey,
  type Target,
} from '../../../core/ports/target.ts'
import { quoteLiteral, quoteName, quoteTable } from '../dialect/quote.ts'
import type { SourceServer } from '../../../core/ports/source-admin.ts'
import { databaseOf } from '../session/origin.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { hashBytes } from '../../../formats/ledger-entry.ts'
import { heldRestore, noteRestore } from './begun-restore.ts'
import { brokenKeyText } from './broken-key.ts'
import { type DigestedTable, digestTables } from '../session/digest.ts'
import { type ExtensionTable, extensionTable, loadExtensionRows } from '../catalog/extension-rows.ts'
import { RestoreRoles } from './restore-roles.ts'
import { connect, connectionError, placeOf, serverText, sqlState } from '../session/session.ts'
import { type OwnedObject, tablesLoadedByCode } from './source-code.ts'
import { silenceEventTriggers } from './silence-event-triggers.ts'
import { StepRights } from './step-rights.ts'
import { isOfServer, isOfTheWhole, schemaText, throwOfTheWhole } from './target-refusals.ts'
import { WireSession } from '../session/wire-session.ts'
import { shellWord } from '../../../core/shell-word.ts'

const APPLICATION = 'tidemark_restore'

export interface TargetOptions {
  readonly url: string
  /** Jobs of scheduling extensions come back as they were, instead of inactive. */
  readonly withJobs?: boolean | undefined
  /** Code of the source runs by the administrator's rights: only where its users may do all that the administrator may. */
  readonly trustSourceCode?: boolean | undefined
  /** The source database's own search_path, as SET takes it; the target's where the source has none. */
  readonly searchPath?: string | undefined
  /** Noted in the target, so that the same restore goes on to the same position. */
  readonly begun?: BegunRestore | undefined
  /** The source's identity, which the target must not have, and its encoding, which it must. */
  readonly source: SourceServer
}

export class PostgresTarget implements Target {
  readonly #options: TargetOptions
  #client: pg.Client | undefined
  /** By lane; opened when they are first wanted. */
  readonly #sessions = new Map<number, Promise<WireSession>>()
  readonly #remarks: string[] = []
  /** Steps that an earlier try of the same restore has done. */
  #finished: Set<string> | undefined
  readonly #roles: RestoreRoles
  readonly #rights: StepRights
  #loadedByCode: Promise<ReadonlyMap<string, OwnedObject>> | undefined
  #isOurs = false

  constructor(options: TargetOptions) {
    this.#options = options
    const admin = (): Promise<pg.Client> => this.#connection()
    this.#roles = new RestoreRoles({
      url: options.url,
      applicationName: APPLICATION,
      searchPath: options.searchPath,
      admin,
    })
    this.#rights = new StepRights({ roles: this.#roles, admin, trust: options.trustSourceCode === true })
  }

  async check(restoreId: string): Promise<'empty' | 'resume'> {
    const client = await this.#connection()
    const row = (
      await client.query<{ system: string; oid: number; encoding: string; version: string }>(
        `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system, (SELECT oid FROM pg_database WHERE datname = current_database()) AS oid, current_setting('server_encoding') AS encoding, current_setting('server_version_num') AS version`,
      )
    ).rows[0]
    const { source } = this.#options
    const { systemId, databaseOid } = databaseOf(source.origin)
    if (row?.system === systemId && Number(row.oid) === databaseOid)
      throw new TidemarkError(
        'TARGET_IS_SOURCE',
        `${placeOf(this.#options.url)} is the database that was backed up`,
      )
    if (
      row !== undefined &&
      row.encoding !== source.encoding &&
      (source.encoding === 'SQL_ASCII' || row.encoding !== 'UTF8')
    ) {
      throw new TidemarkError(
        'TARGET_UNSUITABLE',
        `the source's encoding is ${source.encoding}, the target's ${row.encoding}`,
        { next: `CREATE DATABASE … ENCODING '${source.encoding}' TEMPLATE template0` },
      )
    }
    const held = await heldRestore(client)
    if (held?.finished === false) {
      if (held.restoreId === restoreId) return 'resume'
      const { begun } = held
      throw new TidemarkError(
        'TARGET_NOT_EMPTY',
        `the target holds the unfinished restore of another point${begun === undefined ? '' : `: --at ${shellWord(begun.asked)}, which is ${begun.position}`}, or of other tables`,
        { next: 'drop and create the database, or run that restore again' },
      )
    }
    const tables = await client.query<{ n: string; one: string }>(
      `SELECT count(*)::text AS n, min(format('%I.%I', n.nspname, c.relname)) AS one FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
          AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')`,
    )
    const found = tables.rows[0]
    if (found !== undefined && found.n !== '0')
      throw new TidemarkError(
        'TARGET_NOT_EMPTY',
        `${placeOf(this.#options.url)} holds ${found.n} tables, views or sequences, among them ${found.one}`,
      )
    return 'empty'
  }

  async begin(restoreId: string): Promise<ReadonlyMap<string, number>> {
    const client = await this.#connection()
    await noteRestore(client, restoreId, this.#options.begun)
    await this.#roles.begin()
    this.#isOurs = true
    const loaded = await client.query<{ step: string; rows: string }>(
      `SELECT step, rows FROM tidemark_restore.done WHERE rows IS NOT NULL`,
    )
    return new Map(loaded.rows.map((row) => [row.step, Number(row.rows)]))
  }

  async run(
    statements: readonly SchemaStatement[],
    lane: number,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<readonly Refusal[]> {
    const refused: Refusal[] = []
    const session = await this.#session(lane)
    this.#finished ??= new Set(
      (await session.query('SELECT step FROM tidemark_restore.done')).map((row) => row[0] ?? ''),
    )
    const onAbort = (): void => {
      session.close()
      this.#roles.interrupt()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      for (const statement of statements) {
        signal.throwIfAborted()
        this.#rights.sees(statement)
        const step = `sql:${statement.rank}:${hashBytes(Buffer.from(statement.sql)).slice(0, 32)}`
        if (!this.#finished.has(step)) {
          const refusal = await this.#one(session, statement, step, signal)
          if (refusal === undefined) this.#finished.add(step)
          else refused.push(refusal)
        }
        onProgress()
      }
      return refused
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #one(
    session: WireSession,
    statement: SchemaStatement,
    step: string,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const mark = `INSERT INTO tidemark_restore.done VALUES (${quoteLiteral(step)}) ON CONFLICT DO NOTHING`
    try {
      await this.#rights.run(session, statement, mark)
      return undefined
    } catch (error) {
      // We ended it: nothing is refused.
      signal.throwIfAborted()
      if (session.isClosed) throw connectionError(error, 'target')
      await session.query('ROLLBACK')
      if (error instanceof TidemarkError && error.code === 'TARGET_UNSUITABLE')
        return { statement, reason: `${error.message}; next: ${error.next}`, state: '' }
      throwOfTheWhole(error, 'a statement of the schema')
      const state = sqlState(error) ?? ''
      const broken = state === '23503' ? await this.#brokenKey(session, statement) : undefined
      return { statement, reason: broken ?? schemaText(error), state }
    }
  }

  async #brokenKey(session: WireSession, statement: SchemaStatement): Promise<string | undefined> {
    const { schema, table, name } = statement.objects[0] ?? {}
    if (schema === undefined || table === undefined || name === undefined) return undefined
    // What is told about a refusal must not become a failure of its own.
    return await brokenKeyText(session, { schema, name: table }, name).catch(() => undefined)
  }

  async load(
    table: { readonly schema: string; readonly name: string; readonly columns: readonly string[] },
    form: string,
    rows: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<number> {
    signal.throwIfAborted()
    // Once the tables are there: what their rows run does not change any more.
    this.#loadedByCode ??= this.#prepareLoad()
    const byCode = (await this.#loadedByCode).get(tableKey(table))
    const copy = (session: WireSession): Promise<number> => this.#copy(session, table, form, rows, signal)
    try {
      const count =
        byCode === undefined || this.#options.trustSourceCode === true
          ? await this.#asAdministrator(byCode !== undefined, copy)
          : await this.#roles.asOwner(byCode, copy)
      const client = await this.#connection()
      await client.query('INSERT INTO tidemark_restore.done VALUES ($1, $2) ON CONFLICT DO NOTHING', [
        tableKey(table),
        count,
      ])
      return count
    } catch (error) {
      signal.throwIfAborted()
      // What the rows' own reading throws is not the target's.
      if (error instanceof TidemarkError || !isOfServer(error)) throw error
      const what = `${table.schema}.${table.name} could not be loaded`
      throwOfTheWhole(error, what)
      throw new RowsRefused(`${what}: ${serverText(error)}`, sqlState(error) ?? '', error)
    }
  }

  /** What stand-ins may read is granted before the first load: beside one, granting on its table fails. */
  async #prepareLoad(): Promise<ReadonlyMap<string, OwnedObject>> {
    if (this.#options.trustSourceCode !== true) await this.#rights.prepare()
    return await tablesLoadedByCode(await this.#connection())
  }

  async #asAdministrator<T>(runsCode: boolean, action: (session: WireSession) => Promise<T>): Promise<T> {
    const session = await WireSession.open({
      url: this.#options.url,
      applicationName: APPLICATION,
      role: 'target',
    })
    try {
      const path = runsCode ? `SET search_path = ${await this.#roles.searchPath()}; ` : ''
      await session.query(`${path}SET synchronous_commit = off`)
      return await action(session)
    } finally {
      session.close()
    }
  }

  /** Its mark is another session's: a crash between the two loads the table again. */
  async #copy(
    session: WireSession,
    table: { readonly schema: string; readonly name: string; readonly columns: readonly string[] },
    form: string,
    rows: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<number> {
    const onAbort = (): void => session.close()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      signal.throwIfAborted()
      const member = await extensionTable(session, table)
      if (member !== undefined) return await this.#loadMember(session, member, table.columns, form, rows)
      const name = quoteTable(table)
      await session.query(`BEGIN; TRUNCATE ONLY ${name}`)
      const columns = table.columns.length === 0 ? '' : ` (${table.columns.map(quoteName).join(', ')})`
      const count = await session.copyIn(
        `COPY ${name}${columns} FROM STDIN WITH (FREEZE${form === 'binary' ? ', FORMAT binary' : ''})`,
        rows,
      )
      await session.query('COMMIT')
      return count
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async remember(text: string): Promise<void> {
    const client = await this.#connection()
    await client.query('INSERT INTO tidemark_restore.remembered (fact) VALUES ($1)', [text])
  }

  async remembered(): Promise<readonly string[]> {
    const client = await this.#connection()
    const { rows } = await client.query<{ fact: string }>(
      'SELECT fact FROM tidemark_restore.remembered ORDER BY id',
    )
    return rows.map((row) => row.fact)
  }

  async missingTypes(types: readonly string[]): Promise<ReadonlySet<string>> {
    const client = await this.#connection()
    const missing = new Set<string>()
    for (const type of types) {
      // A type that only functions name so far is there as a shell: nothing can be stored in it.
      const found = await client
        .query<{ whole: boolean }>(
          'SELECT EXISTS (SELECT FROM pg_type t WHERE t.oid = to_regtype($1) AND t.typisdefined) AS whole',
          [type],
        )
        .catch((error: unknown) => {
          // A name that is none here. Of a server that goes away nothing is known.
          if (!isOfServer(error) || isOfTheWhole(error)) throw error
          return undefined
        })
      if (found?.rows[0]?.whole !== true) missing.add(type)
    }
    return missing
  }

  async #loadMember(
    session: WireSession,
    member: ExtensionTable,
    columns: readonly string[],
    form: string,
    chunks: AsyncIterable<Buffer>,
  ): Promise<number> {
    await session.query('BEGIN')
    const options = { form, withJobs: this.#options.withJobs === true }
    const { rows, remarks } = await loadExtensionRows(session, member, columns, options, chunks)
    await session.query(
      `INSERT INTO tidemark_restore.done VALUES (${quoteLiteral(tableKey(member))}, ${rows}); COMMIT`,
    )
    this.#remarks.push(...remarks)
    return rows
  }

  remarks(): readonly string[] {
    return this.#remarks
  }

  async digest(tables?: readonly DigestedTable[]): Promise<readonly TableDigest[]> {
    const client = await this.#connection()
    return digestTables(async (sql) => (await client.query(sql)).rows as Record<string, unknown>[], tables)
  }

  /** Takes our marks out; with a synchronous commit, so that everything before it is on disk too. */
  async finish(): Promise<void> {
    const client = await this.#connection()
    await this.#roles.finish()
    await client.query('BEGIN')
    await client.query('DROP SCHEMA tidemark_restore CASCADE')
    await client.query('COMMIT')
    this.#isOurs = false
  }

  async close(): Promise<void> {
    // One that is still being opened would keep the process alive: it is closed when it is there.
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    for (const session of sessions)
      await session.then(
        (open) => open.close(),
        () => undefined,
      )
    if (this.#isOurs) await this.#roles.close().catch(() => undefined)
    this.#isOurs = false
    await this.#client?.end().catch(() => undefined)
    this.#client = undefined
  }

  async #connection(): Promise<pg.Client> {
    if (this.#client === undefined) {
      const client = await connect({ url: this.#options.url, applicationName: APPLICATION, role: 'target' })
      this.#client = client
      await silenceEventTriggers(client)
    }
    return this.#client
  }

  async #session(lane: number): Promise<WireSession> {
    const held = this.#sessions.get(lane)
    if (held !== undefined && !(await held).isClosed) return await held
    const opening = this.#open()
    this.#sessions.set(lane, opening)
    return await opening
  }

  async #open(): Promise<WireSession> {
    const session = await WireSession.open({
      url: this.#options.url,
      applicationName: APPLICATION,
      role: 'target',
    })
    await session.query(
      `SET check_function_bodies = off; SET synchronous_commit = off; SET client_min_messages = warning; SET maintenance_work_mem = '256MB'`,
    )
    return session
  }
}

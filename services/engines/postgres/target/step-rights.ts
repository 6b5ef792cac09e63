/**
 * By whose rights a step of a restore runs. Keys, indexes and REFRESH switch to the owner by themselves, so they stay in
 * the administrator's session, with an owner that has no rights over the server. What runs code of the source as
 * whoever calls it (VALIDATE, and COPY with generated columns, checked domains or computed partition keys) goes to a
 * session of the owner's. All else runs no code, or none that can do more than compute.
 */
import type pg from 'pg'
import { quoteTable } from '../dialect/quote.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import type { RestoreRoles } from './restore-roles.ts'
import { sqlState } from '../session/session.ts'
import {
  constraintWithCode,
  definerRoutines,
  hasUserTypes,
  type OwnedObject,
  ownedRelation,
} from './source-code.ts'
import type { WireSession } from '../session/wire-session.ts'

const NAME = '"(?:[^"]|"")+"'
const VALIDATE = new RegExp(
  `^ALTER (TABLE|DOMAIN) (?:ONLY )?(${NAME}\\.${NAME}) VALIDATE CONSTRAINT "((?:[^"]|"")+)"$`,
)
const CHECKED_KEY = new RegExp(
  `^ALTER TABLE (?:ONLY )?(${NAME}\\.${NAME}) ADD CONSTRAINT ${NAME} FOREIGN KEY `,
)
const REFRESH = new RegExp(`^REFRESH MATERIALIZED VIEW (${NAME}\\.${NAME})`)
const BUILD = /^(CREATE (UNIQUE )?INDEX |ALTER TABLE .* ADD CONSTRAINT .* (PRIMARY KEY|UNIQUE|EXCLUDE)\b)/s
/** An expression, a condition, an operator that is named. */
const COMPUTES = /\(.*\(| WHERE |\bEXCLUDE\b/s
const ROUTINE_OWNER = /^ALTER (FUNCTION|PROCEDURE|ROUTINE|AGGREGATE) .* OWNER TO "(?:[^"]|"")+"$/s
const MAKES_CODE = /^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE|AGGREGATE|OPERATOR|CAST|TYPE|EXTENSION)\b/
const CALLS_CODE =
  /^(CREATE (UNIQUE )?INDEX|REFRESH|ALTER TABLE .* (ADD|VALIDATE) CONSTRAINT|ALTER DOMAIN .* VALIDATE)\b/s
/** A function names something without its schema: undefined function, relation, object, schema, column. */
const UNDEFINED: ReadonlySet<string> = new Set(['42883', '42P01', '42704', '3F000', '42703'])

export class StepRights {
  readonly #roles: RestoreRoles
  readonly #admin: () => Promise<pg.Client>
  /** The administrator runs everything: somebody trusts the source's users that far. */
  readonly #trust: boolean
  #hasCode = false
  #isReadable = true

  constructor(options: { roles: RestoreRoles; admin: () => Promise<pg.Client>; trust: boolean }) {
    this.#roles = options.roles
    this.#admin = options.admin
    this.#trust = options.trust
  }

  /** Sees every statement, those that an earlier try has done too. */
  sees({ sql }: SchemaStatement): void {
    this.#hasCode ||= MAKES_CODE.test(sql)
    if (/^CREATE\b/.test(sql)) this.#isReadable = false
  }

  /**
   * Once the tables are there, and before their rows. Where no role can be made, the steps that need one say so: most
   * restores have none.
   */
  async prepare(): Promise<void> {
    if (this.#hasCode) await this.#roles.reader().catch(() => undefined)
  }

  /** @param mark SQL that goes with the step, in its transaction where the administrator runs it */
  async run(session: WireSession, statement: SchemaStatement, mark: string): Promise<void> {
    const { sql } = statement
    const byAdministrator = (): Promise<void> => this.#byAdministrator(session, sql, mark)
    if (this.#trust) {
      await byAdministrator()
      return
    }
    const caller = await this.#runsAsCaller(sql)
    const owner = caller === undefined ? await this.#switchesToOwner(statement) : undefined
    if (caller !== undefined) {
      await this.#letRead()
      await this.#roles.asOwner(caller, (owned) => owned.query(`BEGIN; ${sql}; COMMIT`))
      await session.query(mark)
    } else if (owner !== undefined) {
      // Not beside a load: granting what is on a table fails where that table is being written.
      if (REFRESH.test(sql)) await this.#letRead()
      await this.#roles.whileHarmless(owner, byAdministrator)
    } else {
      await byAdministrator()
      if (ROUTINE_OWNER.test(sql)) await this.#disarm(statement)
    }
  }

  async #byAdministrator(session: WireSession, sql: string, mark: string): Promise<void> {
    try {
      await session.query(`BEGIN; ${sql}; ${mark}; COMMIT`)
    } catch (error) {
      if (session.isClosed || !CALLS_CODE.test(sql) || !UNDEFINED.has(sqlState(error) ?? '')) throw error
      await session.query('ROLLBACK')
      const path = await this.#roles.searchPath()
      await session.query(`BEGIN; SET LOCAL search_path = ${path}; ${sql}; ${mark}; COMMIT`)
    }
  }

  async #runsAsCaller(sql: string): Promise<OwnedObject | undefined> {
    const admin = await this.#admin()
    const validate = VALIDATE.exec(sql)
    if (validate !== null) {
      const [, kind, name = '', constraint = ''] = validate
      const on = kind === 'TABLE' ? { table: name } : { domain: name }
      return await constraintWithCode(admin, on, constraint.replaceAll('""', '"'))
    }
    const key = CHECKED_KEY.exec(sql)?.[1]
    if (key === undefined || sql.endsWith(' NOT VALID') || !(await hasUserTypes(admin, key))) return undefined
    return await ownedRelation(admin, key)
  }

  async #switchesToOwner({ sql, objects }: SchemaStatement): Promise<OwnedObject | undefined> {
    const view = REFRESH.exec(sql)?.[1]
    if (view !== undefined) return await ownedRelation(await this.#admin(), view)
    const { schema, table, name } = objects[0] ?? {}
    if (!this.#hasCode || !BUILD.test(sql) || schema === undefined || name === undefined) return undefined
    const admin = await this.#admin()
    const relation = quoteTable({ schema, name: table ?? name })
    // Plain columns of PostgreSQL's own types are compared by its own functions.
    if (!COMPUTES.test(sql) && !(await hasUserTypes(admin, relation))) return undefined
    return await ownedRelation(admin, relation)
  }

  /** A function that runs by its owner's rights must not have those over the server while code of the source runs. */
  async #disarm({ objects }: SchemaStatement): Promise<void> {
    const { schema, name } = objects[0] ?? {}
    if (schema === undefined || name === undefined) return
    for (const routine of await definerRoutines(await this.#admin(), schema, name))
      if (await this.#roles.isPowerful(routine.owner))
        await this.#roles.hold(routine, await this.#roles.reader())
  }

  async #letRead(): Promise<void> {
    if (this.#isReadable) return
    this.#isReadable = true
    await this.#roles.refreshReader()
  }
}

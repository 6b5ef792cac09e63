/**
 * Rows of tables that belong to an extension. CREATE EXTENSION has made the table and rows of its own; what the target's
 * version of it marks as configuration, and no more, is put beside them. Nothing that runs by a schedule comes back
 * active, unless it is asked for: a second database that does the work of the first one does harm.
 */
import { quoteLiteral, quoteName, quoteTable } from '../dialect/quote.ts'
import type { WireSession } from '../session/wire-session.ts'

export interface ExtensionTable {
  readonly schema: string
  readonly name: string
  readonly extension: string
  /** Undefined where the extension does not mark it as configuration; a WHERE clause, or nothing, where it does. */
  readonly condition: string | undefined
}

/** Extensions whose rows mean nothing without what the extension itself has to do about them. */
const OWN_STEPS: ReadonlySet<string> = new Set(['timescaledb', 'citus'])

export function ownSteps(extension: string): boolean {
  return OWN_STEPS.has(extension)
}

/** By extension and table: what makes its rows rest. */
const SCHEDULES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  pg_cron: { job: 'active = false' },
  pg_partman: {
    part_config: "automatic_maintenance = 'off'",
    part_config_sub: "sub_automatic_maintenance = 'off'",
  },
  pgagent: { pga_job: 'jobenabled = false' },
}

/** @returns undefined where the table belongs to no extension */
export async function extensionTable(
  session: WireSession,
  table: { readonly schema: string; readonly name: string },
): Promise<ExtensionTable | undefined> {
  const [row] = await session.query(
    `SELECT e.extname, (SELECT e.extcondition[k.place] FROM unnest(e.extconfig) WITH ORDINALITY AS k(oid, place) WHERE k.oid = c.oid)
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
       JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
      WHERE n.nspname = ${quoteLiteral(table.schema)} AND c.relname = ${quoteLiteral(table.name)}`,
  )
  const extension = row?.[0]
  return extension == null
    ? undefined
    : { schema: table.schema, name: table.name, extension, condition: row?.[1] ?? undefined }
}

export interface ExtensionLoad {
  /** What was sent. */
  readonly rows: number
  /** What became of it, where that is not simply all of it. */
  readonly remarks: readonly string[]
}

/** Inside the caller's transaction. Triggers and foreign keys of the extension rest meanwhile. */
export async function loadExtensionRows(
  session: WireSession,
  table: ExtensionTable,
  columns: readonly string[],
  options: { readonly form: string; readonly withJobs: boolean },
  chunks: AsyncIterable<Buffer>,
): Promise<ExtensionLoad> {
  const name = quoteTable(table)
  const list = columns.map(quoteName).join(', ')
  const stage = 'pg_temp.tidemark_stage'
  // Only a superuser may let triggers rest; to others they apply, as they do to pg_restore.
  const [role] = await session.query('SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user')
  if (role?.[0] === 't') await session.query('SET LOCAL session_replication_role = replica')
  await session.query(
    `CREATE TEMP TABLE tidemark_stage ON COMMIT DROP AS SELECT ${list} FROM ONLY ${name} LIMIT 0`,
  )
  const rows = await session.copyIn(
    `COPY ${stage} (${list}) FROM STDIN${options.form === 'binary' ? ' WITH (FORMAT binary)' : ''}`,
    chunks,
  )
  const what = `table ${name} of extension ${quoteName(table.extension)}`
  if (table.condition === undefined || ownSteps(table.extension))
    return {
      rows,
      remarks: [`${what}: left as the extension made it, its ${rows} backed up rows are no configuration`],
    }
  const remarks: string[] = []
  const rest = SCHEDULES[table.extension]?.[table.name]
  if (rest !== undefined && !options.withJobs) {
    await session.query(`UPDATE ${stage} SET ${rest}`)
    if (rows > 0)
      remarks.push(`${what}: its ${rows} rows came back inactive (--with-jobs restores them as they were)`)
  }
  // The condition names columns as the extension's script would: of one table, in a query that has no other.
  await session.query(
    `DELETE FROM ONLY ${name} ${table.condition}; INSERT INTO ${name} (${list}) OVERRIDING SYSTEM VALUE SELECT ${list} FROM ${stage} AS ${quoteName(table.name)} ${table.condition}`,
  )
  return { rows, remarks }
}

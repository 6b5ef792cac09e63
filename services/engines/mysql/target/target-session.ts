/** What every session of a restore has set, whatever the target's defaults are (hazard 62). */
import type mysql from 'mysql2/promise'
import { TidemarkError } from '../../../core/errors.ts'
import { connect, type OpenSession } from '../session/connect.ts'
import { ServerRefusal } from '../session/load-line.ts'

/** A value that does not fit is refused and never bent; zero and impossible dates are values like others. */
const SQL_MODE = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'

const SHARED = [
  `sql_mode = '${SQL_MODE}'`,
  "time_zone = '+00:00'",
  'foreign_key_checks = 0',
  'unique_checks = 0',
  'net_read_timeout = 600',
  'net_write_timeout = 600',
  'character_set_client = utf8mb4',
  'character_set_results = utf8mb4',
  'collation_connection = utf8mb4_bin',
  'explicit_defaults_for_timestamp = 1',
  // It refuses row formats that the source took.
  'innodb_strict_mode = 0',
]
const OF_FLAVOUR = {
  mysql: [
    'information_schema_stats_expiry = 0',
    'sql_require_primary_key = 0',
    'sql_generate_invisible_primary_key = 0',
  ],
  mariadb: ['check_constraint_checks = 0'],
} as const

export interface TargetSession extends OpenSession {
  /** Sets it to what it was, behind a statement that had settings of its own. */
  settle(): Promise<void>
}

/** @throws TidemarkError TARGET_UNREACHABLE, USAGE */
export async function openSession(url: string): Promise<TargetSession> {
  const session = await connect(url, `SET ${SHARED[0]}`).catch((error: unknown) => {
    if (!(error instanceof TidemarkError) || error.code !== 'SOURCE_UNREACHABLE') throw error
    throw new TidemarkError('TARGET_UNREACHABLE', error.message, { cause: error })
  })
  const taken: string[] = []
  for (const setting of [...SHARED, ...OF_FLAVOUR[session.server.flavour]])
    await session.connection.query(`SET ${setting}`).then(
      () => taken.push(setting),
      (error: unknown) => {
        // Older and newer servers lack some, and managed ones keep some to themselves.
        if (!['ER_UNKNOWN_SYSTEM_VARIABLE', 'ER_SPECIFIC_ACCESS_DENIED_ERROR'].includes(codeOf(error)))
          throw error
      },
    )
  const all = `SET ${taken.join(', ')}`
  return {
    ...session,
    async settle() {
      await session.connection.query(all)
    },
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

export interface ServerError {
  readonly errno: number
  readonly sqlState: string
  readonly message: string
}

/** What the server says; undefined where it says nothing: the connection is lost, or the fault is another one. */
export function serverError(error: unknown): ServerError | undefined {
  if (error instanceof ServerRefusal) return error
  const { errno, sqlState } = (error ?? {}) as Partial<mysql.QueryError & { sqlState: string }>
  if (!(error instanceof Error) || typeof errno !== 'number' || typeof sqlState !== 'string') return undefined
  return { errno, sqlState, message: error.message }
}

/** Disk full, table full. */
const FULL: ReadonlySet<number> = new Set([1021, 1114])
/** Shutdown, killed, read-only, too many connections: no other statement would fare better. */
const OF_THE_WHOLE: ReadonlySet<number> = new Set([1040, 1053, 1290, 1317, 1792, 1836, 1927, 3024])

/** @throws TidemarkError TARGET_FULL, TARGET_FAILED what concerns the restore as a whole */
export function throwOfTheWhole(error: unknown, what: string): ServerError {
  const known = serverError(error)
  if (known === undefined)
    throw error instanceof TidemarkError && error.code !== 'SOURCE_UNREACHABLE'
      ? error
      : new TidemarkError('TARGET_FAILED', `${what}: the connection to the target is lost`, { cause: error })
  if (FULL.has(known.errno))
    throw new TidemarkError('TARGET_FULL', `${what}: the target has no room left (${known.errno})`, {
      cause: error,
    })
  if (OF_THE_WHOLE.has(known.errno))
    throw new TidemarkError('TARGET_FAILED', `${what}: ${known.message} (${known.errno})`, { cause: error })
  return known
}

/**
 * Connections with the session settings that decide how values are printed (hazard 43): set as soon as the login is
 * done, which wins over settings of role and database, and checked with SHOW before anything is read. Not in the start-up
 * packet: login event triggers are the user's code, and it runs under the user's own settings.
 */
import type { Socket } from 'node:net'
import pg from 'pg'
import pgpass from 'pgpass'
import { asTidemarkError, TidemarkError } from '../../../core/errors.ts'
import { isMistake } from '../../../core/mistake.ts'
import { LIMITS } from '../../../core/limits.ts'
import { quoteName } from '../dialect/quote.ts'
import { escapable } from './escaped-session.ts'

/** Fixed for base, stream, restore and digest alike. */
export const SESSION_SETTINGS: Readonly<Record<string, string>> = {
  // Ahead of every other: a database can set it, and then a search path is shown in quotes.
  quote_all_identifiers: 'off',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
  search_path: 'pg_catalog',
  // PostgreSQL 18 tells by a warning, and by nothing else, that rows were written while the publication was gone.
  client_min_messages: 'warning',
  xmloption: 'content',
  row_security: 'off',
  // Questions to a large catalog look expensive, and compiling them costs more than they do.
  jit: 'off',
  standard_conforming_strings: 'on',
  backslash_quote: 'safe_encoding',
  // Off, it would make the text NULL of a null inside an array that a restore loads.
  array_nulls: 'on',
  // On, it would make another condition of `= NULL` in a view or a check.
  transform_null_equals: 'off',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
}

/** Known only to newer servers. */
const SETTINGS_SINCE: readonly (readonly [number, string, string])[] = [
  [140000, 'idle_session_timeout', '0'],
  [170000, 'transaction_timeout', '0'],
]

export interface ConnectionOptions {
  readonly url: string
  readonly applicationName: string
  readonly replication?: boolean
  /** Which codes an outage and a refused login get: the same text means different things for source and target. */
  readonly role: 'source' | 'target'
  /** Ends the connection at once, also while it is being made. */
  readonly signal?: AbortSignal
}

/** What `pg` keeps to itself: the socket, and the server's process. */
export function backendOf(client: pg.Client): { readonly socket: Socket; readonly processId: number } {
  const inner = client as unknown as {
    readonly connection: { readonly stream: Socket }
    readonly processID: number | null
  }
  return { socket: inner.connection.stream, processId: inner.processID ?? 0 }
}

/** The first statement of a session: names no object that a search path could give another meaning. */
const SET_ALL = Object.entries(SESSION_SETTINGS)
  .map(([name, value]) => `SET ${name} = '${value}'`)
  .join('; ')

/** Opens a checked connection. @throws TidemarkError SOURCE_UNREACHABLE, SOURCE_LOGIN_REFUSED, SOURCE_SETTING, TARGET_UNREACHABLE … */
export async function connect(options: ConnectionOptions): Promise<pg.Client> {
  const client = new pg.Client({
    ...parseUrl(options.url, options.role),
    application_name: options.applicationName,
    connectionTimeoutMillis: LIMITS.connectMs,
    keepAlive: true,
    ...(options.replication === true ? { replication: 'database' } : {}),
  } as pg.ClientConfig)
  askForPassword(client, options.role)
  const escape = escapable(client)
  // Without a listener an error between two queries would end the process; every query rejects by itself anyway.
  client.on('error', () => undefined)
  options.signal?.addEventListener('abort', () => void backendOf(client).socket.destroy(), { once: true })
  try {
    await client.connect()
    await fixSettings(client, escape)
    return client
  } catch (error) {
    await client.end().catch(() => undefined)
    throw loginError(error, options, client)
  }
}

/** Where neither the URL nor PGPASSWORD has one: from PGPASSFILE or ~/.pgpass, and only when the server asks. */
function askForPassword(client: pg.Client, role: 'source' | 'target'): void {
  // What `pg` takes in its settings, a URL without a password would set aside again.
  const inner = client as unknown as { password: string | null | (() => Promise<string>) }
  if (inner.password !== null && inner.password !== '') return
  const { host, port, database, user } = client
  inner.password = async () => {
    const found = await new Promise<string | undefined>((resolve) =>
      pgpass({ host, port, database, user }, resolve),
    )
    if (found !== undefined) return found
    throw new TidemarkError(
      role === 'source' ? 'SOURCE_LOGIN_REFUSED' : 'TARGET_UNREACHABLE',
      `the server asks for a password of ${user ?? ''}, and there is none: neither in the URL, nor in PGPASSWORD, PGPASSFILE or ~/.pgpass`,
      {
        next: 'a line HOST:PORT:DATABASE:USER:PASSWORD in ~/.pgpass (mode 0600), or in the file that PGPASSFILE names',
      },
    )
  }
}

/** With where it was to lead, without user and password. */
function loginError(
  error: unknown,
  { url, role, replication }: ConnectionOptions,
  client: pg.Client,
): TidemarkError {
  if (replication === true && sqlState(error) === '42501')
    return new TidemarkError(
      'SOURCE_PRIVILEGE',
      `the role ${client.user ?? ''} may not replicate: ${serverText(error)}`,
      {
        cause: error,
        next: `ALTER ROLE ${quoteName(client.user ?? '')} REPLICATION  (by a superuser), then: tidemark up`,
      },
    )
  const known = connectionError(error, role)
  if (known.code !== 'SOURCE_UNREACHABLE' && known.code !== 'TARGET_UNREACHABLE') return known
  return new TidemarkError(known.code, `${placeOf(url)}: ${known.message}`, {
    cause: error,
    next: known.next,
  })
}

async function fixSettings(client: pg.Client, escape: () => void): Promise<void> {
  const [server] = await lastRows<{ v: string; e: string }>(
    client,
    `${SET_ALL}; SELECT current_setting('server_version_num') AS v, current_setting('server_encoding') AS e`,
  )
  const version = Number(server?.v)
  const wanted: Record<string, string> = { ...SESSION_SETTINGS }
  for (const [since, name, value] of SETTINGS_SINCE) if (version >= since) wanted[name] = value
  wanted['client_encoding'] = server?.e === 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8'
  const late = Object.entries(wanted).filter(([name]) => !(name in SESSION_SETTINGS))
  const names = Object.keys(wanted)
  const [shown] = await lastRows<Record<string, string>>(
    client,
    `${late.map(([name, value]) => `SET ${name} = '${value}'; `).join('')}SELECT ${names.map((name) => `current_setting('${name}') AS "${name}"`).join(', ')}`,
  )
  if (server?.e === 'SQL_ASCII') escape()
  for (const name of names) {
    const value = shown?.[name]
    if (value !== wanted[name])
      throw new TidemarkError('SOURCE_SETTING', `${name} is ${value} and could not be set to ${wanted[name]}`)
  }
}

/** Several statements in one message: each way to a server far off is a part of every start. */
async function lastRows<T extends pg.QueryResultRow>(client: pg.Client, sql: string): Promise<T[]> {
  const results = (await client.query(sql)) as unknown as readonly pg.QueryResult<T>[]
  return results.at(-1)?.rows ?? []
}

/** @throws TidemarkError CONFIG_INVALID; USAGE of a target, which stands in no settings */
function parseUrl(url: string, role: 'source' | 'target'): pg.ClientConfig {
  const form = 'postgresql://user@host:port/database'
  const refused = (what: string, cause?: unknown): TidemarkError =>
    role === 'source'
      ? new TidemarkError('CONFIG_INVALID', `${what} (${form})`, { cause })
      : new TidemarkError('USAGE', `the database to restore into: ${what} (${form})`, {
          cause,
          next: `the same with the URL of an empty database: --into ${form}`,
        })
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch (error) {
    throw refused('not a connection URL', error)
  }
  if (parsed.protocol !== 'postgresql:' && parsed.protocol !== 'postgres:')
    throw refused(`${parsed.protocol}// is not a PostgreSQL URL`)
  return { connectionString: url }
}

/** host:port/database, without user and password: for people. */
export function placeOf(url: string): string {
  const parsed = new URL(url)
  const host = parsed.searchParams.get('host') ?? (parsed.hostname === '' ? 'local socket' : parsed.hostname)
  return `${decodeURIComponent(host)}${parsed.port === '' ? '' : `:${parsed.port}`}${decodeURIComponent(parsed.pathname)}`
}

export function sqlState(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** The server's own message where it can hold no row value: only for classes of errors about the server itself. */
export function serverText(error: unknown): string {
  const state = sqlState(error)
  const safe = state !== undefined && /^(0[0-9A-Z]|28|3D|40|42|53|55|57|58|XX)/.test(state)
  return error instanceof Error && safe
    ? `${error.message} (${state})`
    : `the server refused (${state ?? 'connection lost'})`
}

export function connectionError(error: unknown, role: 'source' | 'target'): TidemarkError {
  if (error instanceof TidemarkError) return error
  // Tried again as an outage, a mistake of ours would be tried for ever.
  if (isMistake(error)) return asTidemarkError(error)
  const state = sqlState(error)
  const unreachable = role === 'source' ? 'SOURCE_UNREACHABLE' : 'TARGET_UNREACHABLE'
  if (
    state === '28P01' ||
    state === '28000' ||
    (error instanceof Error && state === undefined && /password|SASL/.test(error.message))
  ) {
    return new TidemarkError(
      role === 'source' ? 'SOURCE_LOGIN_REFUSED' : 'TARGET_UNREACHABLE',
      `login refused: ${serverText(error)}`,
      { cause: error },
    )
  }
  if (state === '3D000')
    return new TidemarkError(
      role === 'source' ? 'SOURCE_UNSUITABLE' : 'TARGET_UNREACHABLE',
      serverText(error),
      { cause: error },
    )
  if (state === '53100' && role === 'target')
    return new TidemarkError('TARGET_FULL', `the target has no room left (${state})`, { cause: error })
  // Deadlock, a conflict with another transaction, a lock that is not to be had: who tries again gets through.
  if (role === 'source' && state !== undefined && /^(40...|55P03)$/.test(state))
    return new TidemarkError('SOURCE_BUSY', `another session was in the way: ${serverText(error)}`, {
      cause: error,
    })
  if (state === '42501' && role === 'source')
    return new TidemarkError('SOURCE_PRIVILEGE', serverText(error), { cause: error })
  if (state === '55006' && role === 'source')
    return new TidemarkError('SLOT_TAKEN', serverText(error), { cause: error })
  if (state === undefined || /^(08|57|53)/.test(state) || /^E[A-Z]+$/.test(state)) {
    return new TidemarkError(
      unreachable,
      `no connection: ${state !== undefined && /^E[A-Z]+$/.test(state) ? state : serverText(error)}`,
      { cause: error },
    )
  }
  return new TidemarkError(role === 'source' ? 'SOURCE_UNSUITABLE' : 'TARGET_FAILED', serverText(error), {
    cause: error,
  })
}

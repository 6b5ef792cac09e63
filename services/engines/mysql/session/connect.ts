/** Connections to MySQL and MariaDB, by a URL: `mysql://` or `mariadb://user:password@host:port/database?ssl-mode=VERIFY_IDENTITY&ssl-ca=/path`. */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import mysql from 'mysql2/promise'
import { TidemarkError } from '../../../core/errors.ts'
import { PacketLine } from './packets.ts'

interface MysqlServer {
  readonly flavour: 'mysql' | 'mariadb'
  /** As the server says it, e.g. `10.11.19-MariaDB-log`. */
  readonly version: string
}

export interface OpenSession {
  readonly connection: mysql.Connection
  readonly server: MysqlServer
}

const TLS_MODES = ['DISABLED', 'REQUIRED', 'VERIFY_CA', 'VERIFY_IDENTITY'] as const
const CONNECT_MS = 30_000
const PORT = 3306

/** What every session of ours that reads has, whatever the server's defaults are: values are read in one form alone (hazards 62, 63). */
const SETTINGS = `SET time_zone = '+00:00', sql_mode = '', net_read_timeout = 600, net_write_timeout = 600`

/** @param settings of the session, as one statement. @throws TidemarkError SOURCE_UNREACHABLE, USAGE */
export async function connect(url: string, settings = SETTINGS): Promise<OpenSession> {
  const options = optionsOf(url)
  try {
    const connection = await mysql.createConnection(options)
    await connection.query(settings)
    const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT VERSION() AS version')
    const version = String(rows[0]?.['version'])
    return { connection, server: { version, flavour: /mariadb/i.test(version) ? 'mariadb' : 'mysql' } }
  } catch (error) {
    throw unreachable(error)
  }
}

/**
 * The line of a session that asks nothing by the driver any more.
 *
 * @param largest bytes of the largest packet that may be held
 */
export function takeLine({ connection }: OpenSession, largest: number): PacketLine {
  // The driver types it as anything: a TCP or a TLS socket, by the handshake.
  const socket = (connection as unknown as { readonly connection: { readonly stream: Socket } }).connection
    .stream
  socket.removeAllListeners('data')
  return new PacketLine(socket, largest)
}

/** The database that a URL names. @throws TidemarkError USAGE where it names none */
export function databaseOf(url: string): string {
  const name = decodeURIComponent(new URL(url).pathname.slice(1))
  if (name === '')
    throw new TidemarkError('USAGE', 'a URL of MySQL or MariaDB needs its database: mysql://host/database')
  return name
}

/** For people: where it is, without credentials. */
export function placeOf(url: string): string {
  const { protocol, hostname, port, pathname } = new URL(url)
  return `${protocol}//${hostname}${port === '' ? '' : `:${port}`}${pathname}`
}

/** What the driver says, without its stack of the network. */
function unreachable(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  const text = error instanceof Error ? error.message : String(error)
  return new TidemarkError('SOURCE_UNREACHABLE', text, { cause: error })
}

function optionsOf(url: string): mysql.ConnectionOptions {
  const parsed = new URL(url)
  const mode = TLS_MODES.find(
    (one) => one === (parsed.searchParams.get('ssl-mode') ?? 'DISABLED').toUpperCase(),
  )
  if (mode === undefined || !/^(mysql|mariadb):$/.test(parsed.protocol))
    throw new TidemarkError(
      'USAGE',
      `a source is mysql:// or mariadb://, with ssl-mode ${TLS_MODES.join(', ')}`,
    )
  const ca = parsed.searchParams.get('ssl-ca')
  const database = decodeURIComponent(parsed.pathname.slice(1))
  return {
    host: parsed.hostname,
    port: parsed.port === '' ? PORT : Number(parsed.port),
    user: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password),
    ...(database === '' ? {} : { database }),
    charset: 'UTF8MB4_BIN',
    multipleStatements: true,
    // Queries would have attributes in front of their text.
    flags: ['-CLIENT_QUERY_ATTRIBUTES'],
    connectTimeout: CONNECT_MS,
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    ...(mode === 'DISABLED'
      ? {}
      : {
          ssl: {
            rejectUnauthorized: mode !== 'REQUIRED',
            verifyIdentity: mode === 'VERIFY_IDENTITY',
            ...(ca === null ? {} : { ca: readFileSync(ca, 'utf8') }),
          },
        }),
  }
}

/** Which server this is, and which of its databases. */
import { createHash } from 'node:crypto'
import type mysql from 'mysql2/promise'
import { TidemarkError } from '../../../core/errors.ts'
import type { SourceIdentity, SourceOrigin } from '../../../core/ports/source.ts'
import type { OpenSession } from './connect.ts'
import { MYSQL } from './origin.ts'

/**
 * MySQL's own id. MariaDB has none: there it is where the server is and keeps its data, which tells two servers apart and is
 * another one for a server that was moved.
 */
export async function serverId({ connection, server }: OpenSession): Promise<string> {
  if (server.flavour === 'mysql') {
    const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT @@server_uuid AS id')
    return String(rows[0]?.['id'])
  }
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    'SELECT @@hostname AS host, @@port AS port, @@datadir AS data, @@server_id AS id',
  )
  const [row] = rows
  return createHash('sha256')
    .update(JSON.stringify(['host', 'port', 'data', 'id'].map((name) => String(row?.[name]))))
    .digest('hex')
    .slice(0, 32)
}

export async function identify(session: OpenSession, database: string): Promise<SourceIdentity> {
  const { server } = session
  const [rows] = await session.connection.query<mysql.RowDataPacket[]>(
    'SELECT DEFAULT_CHARACTER_SET_NAME AS charset FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?',
    [database],
  )
  return {
    engine: MYSQL,
    origin: { server: await serverId(session), flavour: server.flavour, database },
    database,
    timeline: 1,
    serverVersion: versionNumber(server.version),
    encoding: String(rows[0]?.['charset'] ?? ''),
  }
}

/** 8.0.31 as 80031, 10.11.19 as 101119. */
export function versionNumber(version: string): number {
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []
  return Number(major) * 10_000 + Number(minor) * 100 + Number(patch)
}

/** @throws TidemarkError SOURCE_CHANGED */
export function refuseOther({ origin }: Pick<SourceIdentity, 'origin'>, expected: SourceOrigin): void {
  const other = (['server', 'flavour', 'database'] as const).find((name) => origin[name] !== expected[name])
  if (other !== undefined)
    throw new TidemarkError(
      'SOURCE_CHANGED',
      `the ${other} behind the URL is ${origin[other]}, the ledger belongs to ${expected[other]}`,
    )
}

/** What a server has executed by now. */
import type mysql from 'mysql2/promise'
import { type ExecutedGtids, parseGtids } from '../events/gtid.ts'
import type { OpenSession } from '../session/connect.ts'

/** MariaDB: by its binlog, for what a replica of it has applied is in another order (hazard 66). */
export async function readExecuted({
  connection,
  server,
}: Pick<OpenSession, 'connection' | 'server'>): Promise<ExecutedGtids> {
  const variable = server.flavour === 'mariadb' ? '@@GLOBAL.gtid_binlog_pos' : '@@GLOBAL.gtid_executed'
  const [rows] = await connection.query<mysql.RowDataPacket[]>(`SELECT ${variable} AS gtids`)
  const text = String(rows[0]?.['gtids'])
  return parseGtids(server.flavour, text)
}

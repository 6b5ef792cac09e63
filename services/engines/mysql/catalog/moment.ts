/** The server's clock beside its log: up to when nothing that it stamps can come any more. */
import type mysql from 'mysql2/promise'
import type { OpenSession } from '../session/connect.ts'

const SECOND = 1_000_000n

/** Sessions that commit nothing by what they run now. */
const IDLE = "('Sleep', 'Binlog Dump', 'Binlog Dump GTID', 'Daemon', 'Slave_IO')"

/**
 * Read before the set of what was executed. A commit may be stamped with the time at which its statement began (MariaDB, in whole
 * seconds), or while it is written and not yet executed (MySQL): no statement that runs now can have one from before it began.
 *
 * @returns microseconds since 1970. A user who may not see what others run knows of no time at all: then it is 0
 */
export async function stampedUpTo({ connection, server }: OpenSession): Promise<bigint> {
  if (!(await seesOthers(connection))) return 0n
  const [rows] = await connection.query<mysql.RowDataPacket[]>(
    `SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) AS now, (SELECT MAX(TIME) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND COMMAND NOT IN ${IDLE}) AS longest`,
  )
  const [row] = rows
  const now = BigInt(String(row?.['now']))
  const longest: unknown = row?.['longest']
  // Seconds are cut off.
  const oldest = longest === null ? now : now - (BigInt(Math.ceil(Number(longest))) + 1n) * SECOND
  return server.flavour === 'mariadb' ? oldest - (oldest % SECOND) - 1n : oldest
}

async function seesOthers(connection: mysql.Connection): Promise<boolean> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>('SHOW GRANTS')
  return rows.some((row) =>
    /GRANT .*\b(ALL PRIVILEGES|PROCESS)\b.* ON \*\.\*/.test(Object.values(row).join(' ')),
  )
}

/** What a server itself says of a database, asked by the driver alone and by nothing of ours. */
import mysql from 'mysql2/promise'

export interface Said {
  /** By table: what makes it, without where its counter stands. */
  readonly creates: Readonly<Record<string, string>>
  /** By table: the server's own checksum, which does not depend on the order of rows. */
  readonly checksums: Readonly<Record<string, string>>
  /** By table, in an order of their own. */
  readonly rows: Readonly<Record<string, readonly string[]>>
}

const shown = (value: unknown): string | null =>
  value === null ? null : Buffer.isBuffer(value) ? value.toString('hex') : JSON.stringify(value)

export async function said(url: string): Promise<Said> {
  const parsed = new URL(url)
  const connection = await mysql.createConnection({
    host: parsed.hostname,
    port: Number(parsed.port),
    user: parsed.username,
    database: parsed.pathname.slice(1),
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    rowsAsArray: true,
    charset: 'utf8mb4',
  })
  try {
    await connection.query("SET time_zone = '+00:00'")
    const [tables] = await connection.query<mysql.RowDataPacket[]>(
      "SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'",
    )
    const creates: Record<string, string> = {}
    const checksums: Record<string, string> = {}
    const rows: Record<string, readonly string[]> = {}
    for (const [name] of tables as unknown as string[][]) {
      const table = `\`${name!.replaceAll('`', '``')}\``
      const [[create]] = (await connection.query(`SHOW CREATE TABLE ${table}`)) as unknown as [string[][]]
      creates[name!] = create![1]!.replace(/ AUTO_INCREMENT=\d+/, '')
      const [[sum]] = (await connection.query(`CHECKSUM TABLE ${table}`)) as unknown as [string[][]]
      checksums[name!] = sum![1]!
      const [found] = (await connection.query(`SELECT * FROM ${table}`)) as unknown as [unknown[][]]
      rows[name!] = found.map((row) => row.map(shown).join(',')).sort()
    }
    return { creates, checksums, rows }
  } finally {
    await connection.end()
  }
}

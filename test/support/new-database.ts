/** An empty database. */
import pg from 'pg'

/** Its files are copied, instead of every page through the WAL: a third of the time. */
export async function createDatabase(server: string, name: string, create = ''): Promise<void> {
  const admin = new pg.Client(server)
  await admin.connect()
  try {
    const version = await admin.query<{ server_version_num: string }>('SHOW server_version_num')
    const strategy = Number(version.rows[0]!.server_version_num) >= 150000 ? 'STRATEGY file_copy' : ''
    await admin.query(`CREATE DATABASE ${name} ${strategy} ${create}`)
  } finally {
    await admin.end()
  }
}

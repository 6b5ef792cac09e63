/** Replica identities in tests: what a table has, what the publication leaves out, and an application without an administrator. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { Backup, serverUrl } from './backup.ts'

/** d: the key, n: nothing, f: the whole row, i: a named index. */
export async function identityOf(backup: Backup, table: string): Promise<string | undefined> {
  const found = await backup.source.query<{ identity: string }>(
    'SELECT relreplident::text AS identity FROM pg_class WHERE oid = to_regclass($1)',
    [table],
  )
  return found.rows[0]?.identity
}

export async function leftOut(backup: Backup): Promise<string[]> {
  const found = await backup.source.query<{ name: string }>(
    `SELECT schema || '.' || name AS name FROM tidemark.left_out()`,
  )
  return found.rows.map((row) => row.name)
}

async function asAdmin(version: string, sql: string): Promise<void> {
  const client = new pg.Client(serverUrl(version))
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}

/** Without a superuser: the role owns its database and may replicate; schema changes are found by asking. */
export async function withoutAdmin(
  version: string,
  setup: string,
  action: (backup: Backup, app: pg.Client) => Promise<void>,
): Promise<void> {
  const role = `owner_${randomBytes(4).toString('hex')}`
  await asAdmin(version, `CREATE ROLE ${role} LOGIN REPLICATION`)
  try {
    await using backup = await Backup.prepare({ version, user: role, createDatabase: `OWNER ${role}` })
    await backup.source.query(`GRANT ALL ON SCHEMA public TO ${role}`)
    const app = await backup.client()
    await app.query(setup)
    await backup.init()
    await action(backup, app)
  } finally {
    await asAdmin(version, `DROP ROLE ${role}`)
  }
}

/** Waits until the statement works; every other failure than a missing identity is the test's. */
export async function worksSoon(backup: Backup, client: pg.Client, sql: string): Promise<void> {
  await backup.until(async () => {
    try {
      await client.query(sql)
      return true
    } catch (error) {
      if (error instanceof pg.DatabaseError && /replica identity/.test(error.message)) return false
      throw error
    }
  })
}

/** Every table is in the stream again, and every gap that this took is closed. */
export async function published(backup: Backup): Promise<void> {
  await backup.until(
    async () =>
      (
        await backup.source.query(
          'SELECT FROM tidemark.left_out() UNION ALL SELECT FROM tidemark.identities_due()',
        )
      ).rowCount === 0,
  )
  await backup.durable()
  await backup.until(() => backup.repository.catalog.openGaps.length === 0)
  // A copy that closed a gap lies at a position of its own.
  await backup.durable()
}

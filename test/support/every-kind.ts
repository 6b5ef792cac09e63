/** A source with one object of every kind, and roles for it that no other test has. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { serverUrl } from './backup.ts'

/** The parts of every-kind.sql that this server knows. */
export function everyKind(version: string, roles: Readonly<Record<string, string>>): string {
  const text = readFileSync(new URL('./every-kind.sql', import.meta.url), 'utf8')
  const parts = text.split(/^-- since (\d+)$/m)
  let sql = parts[0] ?? ''
  for (let i = 1; i < parts.length; i += 2) if (Number(parts[i]) <= Number(version)) sql += parts[i + 1] ?? ''
  for (const [name, role] of Object.entries(roles)) sql = sql.replaceAll(name, role)
  return sql
}

export async function withRoles(
  version: string,
  action: (roles: Readonly<Record<string, string>>) => Promise<void>,
): Promise<void> {
  const admin = new pg.Client(serverUrl(version))
  await admin.connect()
  const owner = (await admin.query<{ name: string }>('SELECT current_user AS name')).rows[0]!.name
  const suffix = randomBytes(4).toString('hex')
  const made = ['a', 'b', 'c'].map((letter) => `role_${letter}_${suffix}`)
  try {
    for (const role of made) await admin.query(`CREATE ROLE ${role}`)
    await action({ ROLE_A: made[0]!, ROLE_B: made[1]!, ROLE_C: made[2]!, ROLE_OWNER: owner })
  } finally {
    for (const role of made) await admin.query(`DROP ROLE IF EXISTS ${role}`)
    await admin.end()
  }
}

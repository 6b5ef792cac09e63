/** What a restore could not make as it was: for the report by name, for the file beside it with its SQL. */
import { objectText } from '../core/object-text.ts'
import type { SchemaStatement } from '../core/transaction.ts'

export interface Unmade {
  /** Kind and name, e.g. "index public.i"; never a row value. */
  readonly object: string
  /** What was to be run; empty where nothing tells it. */
  readonly sql: string
  readonly reason: string
  /** What stands in its place, for people; null where nothing does. */
  readonly instead: string | null
  /** SQLSTATE of what the target itself refused. */
  readonly state?: string
}

export function unmadeOf(statement: SchemaStatement, reason: string, instead: string | null = null): Unmade {
  return { object: objectText(statement.objects[0]), sql: statement.sql, reason, instead }
}

/** Options of user mappings hold passwords, which belong into no file. */
function withoutPasswords(sql: string): string {
  if (!/^(CREATE|ALTER) USER MAPPING\b/.test(sql)) return sql
  return sql.replace(/("?\w*(?:pass|secret|token)\w*"?\s+)E?'(?:[^']|'')*'/gi, "$1'…'")
}

/** A script for psql: each statement under what kept it from being made. */
export function unmadeScript(unmade: readonly Unmade[], about: string): string {
  const parts = unmade.map((u) => {
    const lines = [u.object, u.reason, ...(u.instead === null ? [] : [`instead: ${u.instead}`])]
    const comment = lines.map((line) => `-- ${line.replaceAll(/\s*\n\s*/g, ' ')}`).join('\n')
    return u.sql === '' ? `${comment}\n` : `${comment}\n${withoutPasswords(u.sql)};\n`
  })
  return [
    `-- ${about}\n-- Names without a schema are PostgreSQL's own.\nSET search_path = pg_catalog;\n`,
    ...parts,
  ].join('\n')
}

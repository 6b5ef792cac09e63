/** A statement of the log as text, with what its session had set. */
import type { DdlSession } from '../dialect/ddl-record.ts'
import type { Quotes } from '../dialect/statement-words.ts'
import type { Charsets } from '../catalog/charsets.ts'
import type { QueryEvent } from '../events/query.ts'

const AS_UTF8: ReadonlySet<string> = new Set(['utf8mb4', 'utf8mb3', 'utf8', 'ascii', 'binary'])

/** @returns undefined where it is in a character set that is not known here */
export function statementText(
  { sql, session }: QueryEvent,
  charsets: ReadonlyMap<number, string>,
): string | undefined {
  const charset = session.collations === undefined ? 'utf8mb4' : charsets.get(session.collations.client)
  const isPlain = sql.every((byte) => byte < 128)
  if (isPlain || (charset !== undefined && AS_UTF8.has(charset))) return sql.toString('utf8')
  return charset === 'latin1' ? new TextDecoder('windows-1252').decode(sql) : undefined
}

const NO_BACKSLASH_ESCAPES = 1n << 20n

export function quotesOf({ session: { sqlMode = 0n } }: QueryEvent): Quotes {
  return { areEscaped: (sqlMode & NO_BACKSLASH_ESCAPES) === 0n }
}

export function sessionOf({ session }: QueryEvent, { charsets, collations }: Charsets): DdlSession {
  const { sqlMode, timeZone } = session
  const client = session.collations?.client
  const connection = session.collations?.connection
  const charset = client === undefined ? undefined : charsets.get(client)
  const collation = connection === undefined ? undefined : collations.get(connection)
  return {
    ...(sqlMode === undefined ? {} : { sqlMode: String(sqlMode) }),
    ...(charset === undefined ? {} : { charset }),
    ...(collation === undefined ? {} : { collation }),
    ...(timeZone === undefined || timeZone === '' ? {} : { timeZone }),
  }
}

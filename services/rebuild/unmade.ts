/** What a restore could not make as it was: for the report by name, for the file beside it with its SQL. */
import type { SchemaWords } from '../core/ports/dialect.ts'
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

/** A script for the engine's own shell: each statement under what kept it from being made. */
export function unmadeScript(
  unmade: readonly Unmade[],
  about: string,
  { scriptHead, withoutSecrets }: Pick<SchemaWords, 'scriptHead' | 'withoutSecrets'>,
): string {
  const parts = unmade.map((u) => {
    const lines = [u.object, u.reason, ...(u.instead === null ? [] : [`instead: ${u.instead}`])]
    const comment = lines.map((line) => `-- ${line.replaceAll(/\s*\n\s*/g, ' ')}`).join('\n')
    return u.sql === '' ? `${comment}\n` : `${comment}\n${withoutSecrets(u.sql)};\n`
  })
  return [scriptHead(about), ...parts].join('\n')
}

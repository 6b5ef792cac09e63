/**
 * What SHOW CREATE TABLE prints, taken apart at its top level: columns and the primary key, which a table is loaded with, and what
 * is made behind the rows. Nothing inside of a definition is looked at but its first words.
 */
import { corrupt } from '../../../core/byte-source.ts'

export interface CreateParts {
  /** Bare: with columns, primary key and checks, and what the first column's counter needs. */
  readonly bare: string
  /** Definitions as ALTER TABLE … ADD takes them. */
  readonly keys: readonly string[]
  /** One at a time: FULLTEXT and SPATIAL. */
  readonly special: readonly string[]
  readonly foreignKeys: readonly string[]
}

const KEY = /^(UNIQUE )?(KEY|INDEX) /
const SPECIAL = /^(FULLTEXT|SPATIAL) (KEY|INDEX) /
const FOREIGN = /^CONSTRAINT `(?:[^`]|``)*` FOREIGN KEY /
const COUNTED = /^`((?:[^`]|``)*)`.* AUTO_INCREMENT\b/s

/** @throws TidemarkError OBJECT_CORRUPT where the text is no such statement */
export function createParts(sql: string): CreateParts {
  const open = endOfName(sql)
  const { parts, end } = definitions(sql, open)
  const counted = parts.map((part) => COUNTED.exec(part)?.[1]).find((name) => name !== undefined)
  // A counter needs a key that begins with its column, from the first moment on.
  const needed = counted === undefined ? undefined : neededKey(parts, counted)
  const isLater = (part: string): boolean =>
    part !== needed && (KEY.test(part) || SPECIAL.test(part) || FOREIGN.test(part))
  const options = withoutCounter(sql.slice(end))
  return {
    bare: `${sql.slice(0, open)}(\n  ${parts.filter((part) => !isLater(part)).join(',\n  ')}\n)${options}`,
    keys: parts.filter((part) => isLater(part) && KEY.test(part)),
    special: parts.filter((part) => SPECIAL.test(part)),
    foreignKeys: parts.filter((part) => FOREIGN.test(part)),
  }
}

/** Where the first bracket opens behind the table's name. */
function endOfName(sql: string): number {
  for (let at = 0; at < sql.length; at++) {
    if (sql[at] === '`') at = endOfQuote(sql, at)
    else if (sql[at] === '(') return at
  }
  throw corrupt('a table without columns')
}

function definitions(sql: string, open: number): { readonly parts: string[]; readonly end: number } {
  const parts: string[] = []
  let depth = 0
  let from = open + 1
  for (let at = open; at < sql.length; at++) {
    const c = sql[at]!
    if (c === '`' || c === "'" || c === '"') at = endOfQuote(sql, at)
    else if (c === '(') depth++
    else if (c === ')' && --depth === 0) {
      parts.push(sql.slice(from, at).trim())
      return { parts, end: at + 1 }
    } else if (c === ',' && depth === 1) {
      parts.push(sql.slice(from, at).trim())
      from = at + 1
    }
  }
  throw corrupt('a table whose columns do not end')
}

/** A backslash counts in texts alone: the statement is printed under a sql_mode that has them. */
function endOfQuote(sql: string, start: number): number {
  const quote = sql[start]!
  let at = start + 1
  for (; at < sql.length; at++) {
    if (sql[at] === '\\' && quote !== '`') at++
    else if (sql[at] === quote) {
      if (sql[at + 1] !== quote) return at
      at++
    }
  }
  return at
}

function neededKey(parts: readonly string[], counted: string): string | undefined {
  const begins = (part: string): boolean => part.includes(`(\`${counted}\``)
  if (parts.some((part) => part.startsWith('PRIMARY KEY') && begins(part))) return undefined
  return parts.find((part) => KEY.test(part) && begins(part))
}

/** Where the counter stands is told at a point, and not by the table. */
function withoutCounter(options: string): string {
  const comment = options.search(/ COMMENT='/)
  const head = comment < 0 ? options : options.slice(0, comment)
  return head.replace(/ AUTO_INCREMENT=\d+/, '') + options.slice(head.length)
}

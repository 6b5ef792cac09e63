/** A statement as its words, by MySQL's rules of comments and quotes. Nothing more is known of its grammar here. */

export interface Word {
  /** As written; of a quoted one without its quotes. */
  readonly text: string
  readonly kind: 'word' | 'quoted' | 'string' | 'sign'
}

export interface Quotes {
  /** False by sql_mode NO_BACKSLASH_ESCAPES: then a backslash in a string is one. */
  readonly areEscaped: boolean
}

const WORD = /[A-Za-z0-9_$@\u0080-\uffff]/

/** Lazily: what names a table stands at the beginning. A comment that the server runs (`/*!…`) is no comment. */
export function* wordsOf(sql: string, { areEscaped }: Quotes = { areEscaped: true }): Generator<Word> {
  for (let at = 0; at < sql.length; ) {
    const c = sql[at]!
    const past = pastSilence(sql, at)
    if (past > at) at = past
    else if (c === '`' || c === '"' || c === "'") {
      const { text, end } = quoted(sql, at, areEscaped)
      yield { text, kind: c === "'" ? 'string' : 'quoted' }
      at = end
    } else if (WORD.test(c)) {
      let end = at + 1
      while (end < sql.length && WORD.test(sql[end]!)) end++
      yield { text: sql.slice(at, end), kind: 'word' }
      at = end
    } else {
      yield { text: c, kind: 'sign' }
      at++
    }
  }
}

/** Behind white space or a comment; `at` itself where there is none. */
function pastSilence(sql: string, at: number): number {
  if (/\s/.test(sql[at]!)) return at + 1
  const run = /^\/\*M?!\d*/.exec(sql.slice(at, at + 16))
  if (run !== null) return at + run[0].length
  if (sql.startsWith('*/', at)) return at + 2
  if (sql.startsWith('/*', at)) return behind(sql, '*/', at + 2)
  if (sql[at] === '#' || /^--\s/.test(sql.slice(at, at + 3))) return behind(sql, '\n', at)
  return at
}

function behind(sql: string, what: string, from: number): number {
  const found = sql.indexOf(what, from)
  return found < 0 ? sql.length : found + what.length
}

function quoted(
  sql: string,
  start: number,
  areEscaped: boolean,
): { readonly text: string; readonly end: number } {
  const quote = sql[start]!
  let text = ''
  let at = start + 1
  for (; at < sql.length; at++) {
    const c = sql[at]!
    if (c === '\\' && quote !== '`' && areEscaped) text += sql[++at] ?? ''
    else if (c !== quote) text += c
    else if (sql[at + 1] === quote) text += sql[++at]
    else break
  }
  return { text, end: at + 1 }
}

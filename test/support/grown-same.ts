/** Entries of pg_dump that differ in their text and say the same. */

/** A NOT NULL with the name that its parent gave it. */
const OF_PARENT = /^ {4}\S+ .* CONSTRAINT \w+ NOT NULL$/

/** A NOT NULL has the name that the server gives without being asked; another table's constraint may have that name in the restored database. */
export function isNumbered(key: string, sql: string, got: string | undefined): boolean {
  const [, table = ''] = /^TABLE \w+\.(\w+) /.exec(key) ?? []
  const numbered = new RegExp(` CONSTRAINT ${table}_\\w+_not_null\\d+ NOT NULL`, 'g')
  return table !== '' && got !== undefined && got.replaceAll(numbered, ' NOT NULL') === sql
}

/**
 * Whether a child's CREATE TABLE only spells out columns that the source's leaves to its parents: as the README says of columns
 * that the parent got behind the child's own. Their order is in the digest of the rows.
 */
export function isOwnAsWell(sql: string, got: string | undefined): boolean {
  if (got === undefined || !/^INHERITS \(/m.test(sql)) return false
  const left = new Set(got.split('\n').map((line) => line.replace(/,$/, '')))
  for (const text of sql.split('\n')) {
    const line = text.replace(/,$/, '')
    const notNull = [...left].find((other) => other.startsWith(`${line} `) && OF_PARENT.test(other))
    if (!left.delete(line) && !left.delete(notNull ?? line)) return false
  }
  return [...left].every((line) => /^ {4}(?!CONSTRAINT )/.test(line))
}

/** Its default then stands there too, and no more behind it. */
export function isDefaultOfOwn(
  key: string,
  sql: string,
  source: ReadonlyMap<string, string>,
  restored: ReadonlyMap<string, string>,
): boolean {
  const [, table = '', column = '', owner = ''] = /^DEFAULT (\S+) (\S+) (\(.*\))$/.exec(key) ?? []
  const [, text] = / SET DEFAULT (.*);$/s.exec(sql) ?? []
  const whole = `TABLE ${table} ${owner}`
  const got = restored.get(whole)
  return (
    text !== undefined &&
    isOwnAsWell(source.get(whole) ?? '', got) &&
    new RegExp(`^ {4}${column} `, 'm').test(got ?? '') &&
    got!.includes(` DEFAULT ${text}`)
  )
}

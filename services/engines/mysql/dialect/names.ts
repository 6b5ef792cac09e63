/** Names and texts in statements of MySQL and MariaDB. */

export interface TableName {
  readonly schema: string
  readonly name: string
}

/** Always quoted, so that no name can be taken for a keyword or end early (hazard 118). */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

export function quoteTable({ schema, name }: TableName): string {
  return `${quoteName(schema)}.${quoteName(name)}`
}

/** A literal, whatever sql_mode says of backslashes: no text with one goes into it as it is. */
export function quoteText(text: string): string {
  if (!text.includes('\\')) return `'${text.replaceAll("'", "''")}'`
  return `CONVERT(X'${Buffer.from(text, 'utf8').toString('hex')}' USING utf8mb4)`
}

/** Names and literals as PostgreSQL's SQL takes them. */

/** Quoted for SQL; always quoted, so that no name can be taken for a keyword or end early (hazard 118). */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`
}

/** A literal under standard_conforming_strings = on. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

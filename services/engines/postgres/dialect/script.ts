/** What a script of statements for psql needs around them. */

export function scriptHead(about: string): string {
  return `-- ${about}\n-- Names without a schema are PostgreSQL's own.\nSET search_path = pg_catalog;\n`
}

/** Options of user mappings hold passwords, which belong into no file. */
export function withoutPasswords(sql: string): string {
  if (!/^(CREATE|ALTER) USER MAPPING\b/.test(sql)) return sql
  return sql.replace(/("?\w*(?:pass|secret|token)\w*"?\s+)E?'(?:[^']|'')*'/gi, "$1'…'")
}

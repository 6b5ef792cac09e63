/**
 * Markers without a table of ours: a view that is not there is dropped, which changes nothing, and which both servers log as it was
 * said, comment included.
 */
const COMMENT = /\/\* tidemark:marker:([0-9a-f]+) \*\/\s*$/

export function markerSql(name: string): string {
  return `DROP VIEW IF EXISTS \`tidemark marker\` /* tidemark:marker:${Buffer.from(name, 'utf8').toString('hex')} */`
}

/** The name of the marker that a statement is; undefined for every other. */
export function markerIn(sql: string): string | undefined {
  const hex = COMMENT.exec(sql)?.[1]
  return hex === undefined ? undefined : Buffer.from(hex, 'hex').toString('utf8')
}

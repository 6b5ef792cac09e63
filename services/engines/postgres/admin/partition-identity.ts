/** Whether the tables' replica identities carry what is to choose their partitions in Kafka; else what would make them. */
import type pg from 'pg'
import type { Finding } from '../../../core/finding.ts'
import { quoteName, quoteTable } from '../dialect/quote.ts'

interface Identity {
  readonly schema: string
  readonly name: string
  readonly full: boolean
  readonly keys: readonly string[]
  /** Columns without NOT NULL among those asked for. */
  readonly nullable: readonly string[]
  readonly columns: readonly string[]
}

/** @param partitionBy columns by `schema.table` */
export async function examinePartitioning(
  client: pg.Client,
  partitionBy: ReadonlyMap<string, readonly string[]>,
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [table, wanted] of partitionBy) {
    const found = await client.query<Identity>(
      `SELECT n.nspname AS schema, c.relname AS name, c.relreplident = 'f' AS full,
              ARRAY(SELECT a.attname::text FROM pg_index x, unnest(x.indkey::int2[]) WITH ORDINALITY k(attnum, place) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                     WHERE x.indexrelid = pg_get_replica_identity_index(c.oid) AND k.place <= x.indnkeyatts ORDER BY k.place) AS keys,
              ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY ($2) AND NOT a.attnotnull) AS nullable,
              ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = $1 AND c.relkind IN ('r', 'p')`,
      [table, wanted],
    )
    const identity = found.rows[0]
    const unknown = wanted.filter((column) => identity?.columns.includes(column) !== true)
    if (identity === undefined || unknown.length > 0) {
      findings.push({
        level: 'refuse',
        code: 'PARTITION_COLUMNS',
        what: `tables.${table}.partitionBy names ${identity === undefined ? 'a table' : unknown.join(', ')} that is not there`,
        fix: `correct tables.${table}.partitionBy in tidemark.yaml`,
      })
      continue
    }
    const missing = identity.full ? [] : wanted.filter((column) => !identity.keys.includes(column))
    if (missing.length === 0) continue
    const columns = [...wanted, ...identity.keys.filter((key) => !wanted.includes(key))]
      .map(quoteName)
      .join(', ')
    const index = quoteName(`${identity.name}_partition_identity`.slice(0, 63))
    const notNull = identity.nullable
      .map((column) => `ALTER TABLE ${quoteTable(identity)} ALTER ${quoteName(column)} SET NOT NULL; `)
      .join('')
    findings.push({
      level: 'refuse',
      code: 'PARTITION_IDENTITY',
      what: `${table} is to be partitioned by ${wanted.join(', ')}, and its replica identity lacks ${missing.join(', ')}: a delete would not say where its row was`,
      fix: `${notNull}CREATE UNIQUE INDEX CONCURRENTLY ${index} ON ${quoteTable(identity)} (${columns}); ALTER TABLE ${quoteTable(identity)} REPLICA IDENTITY USING INDEX ${index}`,
    })
  }
  return findings
}

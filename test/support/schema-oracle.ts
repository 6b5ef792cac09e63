/** Compares two databases' schemas by an engine that is not ours: no difference may be left. */
import pg from 'pg'
import { extract } from '@supabase/pg-delta/extract'
import { plan } from '@supabase/pg-delta/plan'

export async function expectSameSchema(
  sourceUrl: string,
  restoredUrl: string,
  known: readonly string[] = [],
): Promise<void> {
  const source = new pg.Pool({ connectionString: sourceUrl, max: 2 })
  const restored = new pg.Pool({ connectionString: restoredUrl, max: 2 })
  try {
    const [a, b] = await Promise.all([extract(source), extract(restored)])
    // An identity that Tidemark gave is not the application's: a restore gives what was before.
    const installed = await source.query<{ there: boolean }>(
      `SELECT to_regclass('tidemark.identity') IS NOT NULL AS there`,
    )
    const given = installed.rows[0]!.there
      ? (
          await source.query<{ name: string }>(
            'SELECT c.relname AS name FROM tidemark.identity g JOIN pg_class c ON c.oid::bigint = g.oid',
          )
        ).rows
      : []
    const isGiven = (sql: string): boolean =>
      sql.includes('REPLICA IDENTITY') && given.some(({ name }) => sql.includes(name))
    const differences = plan(b.factBase, a.factBase)
      .actions.map((action) => action.sql)
      // What Tidemark itself put into the source, and publications, which a restore does not make.
      // Roles are the server's: other tests make and drop theirs meanwhile.
      .filter(
        (sql) =>
          !/tidemark|PUBLICATION|^(CREATE|DROP) ROLE /.test(sql) && !known.includes(sql) && !isGiven(sql),
      )
    if (differences.length > 0) throw new Error(`the restored schema differs:\n${differences.join('\n')}`)
    const columns = async (pool: pg.Pool): Promise<string> =>
      JSON.stringify(
        (
          await pool.query(`SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS columns FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark') GROUP BY 1, 2 ORDER BY 1, 2`)
        ).rows,
      )
    const [wanted, got] = [await columns(source), await columns(restored)]
    if (wanted !== got) throw new Error(`the order of columns differs:\n${wanted}\n${got}`)
  } finally {
    await source.end()
    await restored.end()
  }
}

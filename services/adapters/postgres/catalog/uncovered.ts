/** What exists in a database and no kind covers, counted for people. */
import { type Catalog, notOfExtension, OF_APPLICATION } from './kind.ts'

export async function uncovered(catalog: Catalog): Promise<string[]> {
  const counts = await catalog.rows<{ what: string; n: string }>(`
    SELECT 'large objects' AS what, count(*)::text AS n FROM pg_largeobject_metadata
    UNION ALL SELECT 'foreign tables', count(*)::text FROM pg_class c WHERE c.relkind = 'f'
    UNION ALL SELECT 'subscriptions', count(*)::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()
    UNION ALL SELECT 'event triggers', count(*)::text FROM pg_event_trigger WHERE evtname NOT LIKE 'tidemark\\_%'
    UNION ALL SELECT 'aggregates', count(*)::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${OF_APPLICATION} AND p.prokind = 'a' AND ${notOfExtension('pg_proc', 'p.oid')}
    UNION ALL SELECT 'operators', count(*)::text FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_operator', 'o.oid')}
    UNION ALL SELECT 'casts', count(*)::text FROM pg_cast c WHERE c.oid >= 16384 AND ${notOfExtension('pg_cast', 'c.oid')}
    UNION ALL SELECT 'text search configurations', count(*)::text FROM pg_ts_config t JOIN pg_namespace n ON n.oid = t.cfgnamespace WHERE ${OF_APPLICATION} AND ${notOfExtension('pg_ts_config', 't.oid')}`)
  return counts.filter((row) => row.n !== '0').map((row) => `${row.n} ${row.what}: not covered`)
}

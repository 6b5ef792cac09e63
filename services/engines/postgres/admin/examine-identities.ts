/** What `doctor` says of replica identities: what fails now, what is left out, and what Tidemark changed. */
import type pg from 'pg'
import type { Finding } from '../../../core/finding.ts'
import { quoteTable } from '../dialect/quote.ts'

interface Identity {
  readonly schema: string
  readonly name: string
  readonly state: 'failing' | 'half' | 'needless' | 'left out' | 'nothing' | 'full' | 'unknown'
  /** Whether the table has generated columns where those keep FULL from serving. */
  readonly generated: boolean
}

const TEXT: Readonly<Record<Identity['state'], (table: Identity) => Finding>> = {
  failing: (table) => ({
    level: 'warn',
    code: 'IDENTITY_MISSING',
    what: `UPDATE and DELETE of ${quoteTable(table)} fail: it is published without a replica identity that serves`,
    fix: 'tidemark up  (gives it one, or takes it out of the publication, within seconds)',
  }),
  half: (table) => ({
    level: 'warn',
    code: 'IDENTITY_GENERATED',
    what: `the replica identity of ${quoteTable(table)} contains a generated column, which is not in the stream: half a key tells no row`,
    fix: 'tidemark up  (sets FULL as soon as it gets the lock)',
  }),
  needless: (table) => ({
    level: 'warn',
    code: 'IDENTITY_NEEDLESS',
    what: `${quoteTable(table)} has a primary key by now and still the replica identity that Tidemark gave it`,
    fix: 'tidemark up  (takes it back as soon as it gets the lock)',
  }),
  'left out': (table) => ({
    level: 'warn',
    code: 'LEFT_OUT',
    what: `${quoteTable(table)} is left out of the publication: its changes are NOT backed up${table.generated ? '; it has virtual generated columns, with which FULL cannot serve' : ''}`,
    fix: `ALTER TABLE ${quoteTable(table)} ADD PRIMARY KEY (…)  over columns that are not generated; up publishes it then, and reads it again`,
  }),
  nothing: (table) => ({
    level: 'warn',
    code: 'IDENTITY_NOTHING',
    what: `${quoteTable(table)} was set to REPLICA IDENTITY NOTHING. Published like that its UPDATE and DELETE would fail, so Tidemark gave it another`,
    fix: 'nothing to do: tidemark uninstall puts NOTHING back. A primary key would make the cheapest identity',
  }),
  full: (table) => ({
    level: 'ok',
    code: 'IDENTITY_FULL',
    what: `${quoteTable(table)} has no key and got REPLICA IDENTITY FULL: its UPDATE and DELETE write the whole old row into the WAL`,
    fix: `ALTER TABLE ${quoteTable(table)} ADD PRIMARY KEY (…): FULL is taken back then`,
  }),
  unknown: (table) => ({
    level: 'ok',
    code: 'IDENTITY_UNKNOWN',
    what: `${quoteTable(table)} has a primary key and REPLICA IDENTITY FULL, and it is not known who gave it: early versions of Tidemark did, without a note. Every UPDATE and DELETE writes the whole old row into the WAL`,
    fix: `ALTER TABLE ONLY ${quoteTable(table)} REPLICA IDENTITY DEFAULT  (unless the application or another subscriber wants FULL)`,
  }),
}

export async function examineIdentities(client: pg.Client): Promise<Finding[]> {
  const there = await client.query<{ there: boolean }>(
    `SELECT pg_catalog.to_regprocedure('tidemark.identities_due()') IS NOT NULL AS there`,
  )
  if (there.rows[0]?.there !== true) return []
  const found = await client.query<Identity>(
    `WITH due AS (SELECT d.oid, d.schema, d.name FROM tidemark.identities_due() d),
          out AS (SELECT l.oid, l.schema, l.name FROM tidemark.left_out() l)
     SELECT s.*, EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                          WHERE n.nspname = s.schema AND c.relname = s.name AND a.attgenerated NOT IN ('', 's') AND NOT a.attisdropped AND current_setting('server_version_num')::int >= 180000) AS generated
       FROM (SELECT o.schema, o.name, 'left out' AS state FROM out o
             UNION ALL SELECT d.schema, d.name, CASE WHEN i.fails THEN 'failing' WHEN NOT i.serves THEN 'half' ELSE 'needless' END
               FROM due d CROSS JOIN LATERAL tidemark.identity_of(d.oid::oid) i WHERE d.oid NOT IN (SELECT o.oid FROM out o)
             UNION ALL SELECT n.nspname, c.relname, CASE g.before WHEN 'n' THEN 'nothing' ELSE 'full' END
               FROM tidemark.identity g JOIN pg_catalog.pg_class c ON c.oid::bigint = g.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relreplident::text = g.given AND (g.before = 'n' OR g.given = 'f') AND g.oid NOT IN (SELECT d.oid FROM due d UNION ALL SELECT o.oid FROM out o)
             UNION ALL SELECT n.nspname, c.relname, 'unknown'
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident = 'f' AND c.oid::bigint NOT IN (SELECT g.oid FROM tidemark.identity g)
                AND tidemark.is_streamed(c.oid) AND EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary AND x.indisvalid AND x.indimmediate)
                AND (SELECT i.key FROM tidemark.identity_of(c.oid) i)
                AND n.nspname || '.' || c.relname NOT IN (SELECT k.name FROM tidemark.identity_kept k)) s
      ORDER BY 3, 1, 2`,
  )
  return found.rows.map((row) => TEXT[row.state](row))
}

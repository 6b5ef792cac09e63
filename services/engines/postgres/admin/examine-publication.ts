/** What keeps the stream from being whole: the publication, the event triggers, and what is installed for both. */
import type pg from 'pg'
import { MAKE_AGAIN } from '../session/postgres-codes.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { Finding } from '../../../core/finding.ts'

export interface PublicationState {
  readonly state: 'whole' | 'missing' | 'unsafe'
  /** What is wrong with it, in words. */
  readonly what: string
}

/** Whether every change of every table that it names comes, as it was made (hazard 22). Reads the catalog alone. */
export async function publicationState(client: pg.Client, publication: string): Promise<PublicationState> {
  const found = await client.query<{ operations: boolean; root: boolean; filtered: boolean; own: boolean }>(
    // Row filters and column lists: PostgreSQL 15 and later.
    `SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS operations, p.pubviaroot AS root,
            EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)) AS filtered,
            p.puballtables OR NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'tidemark' AND c.relname IN ('ddl', 'marker', 'installation') AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)) AS own
       FROM pg_catalog.pg_publication p WHERE p.pubname = $1`,
    [publication],
  )
  const [row] = found.rows
  if (row === undefined) return { state: 'missing', what: `the publication ${publication} does not exist` }
  const wrong = [
    ...(row.filtered ? ['filters rows or columns'] : []),
    ...(row.operations ? [] : ['leaves out operations']),
    ...(row.own ? [] : ['leaves out tables of the schema tidemark, which tell schema changes']),
    ...(row.root
      ? ['publishes through partition roots: TRUNCATE and DETACH of partitions would be lost']
      : []),
  ]
  if (wrong.length === 0) return { state: 'whole', what: '' }
  return { state: 'unsafe', what: `the publication ${publication} ${wrong.join(', and ')}` }
}

/** @throws TidemarkError PUBLICATION_MISSING, PUBLICATION_UNSAFE */
export async function requirePublication(client: pg.Client, publication: string): Promise<void> {
  const { state, what } = await publicationState(client, publication)
  if (state === 'missing') throw new TidemarkError('PUBLICATION_MISSING', what)
  if (state === 'unsafe') throw new TidemarkError('PUBLICATION_UNSAFE', what)
}

/** @param mode of the installation; undefined where nothing is installed, which is another finding */
export async function examinePublication(
  client: pg.Client,
  publication: string,
  mode: string | undefined,
): Promise<Finding[]> {
  const findings: Finding[] = []
  const { state, what } = await publicationState(client, publication)
  if (state !== 'whole')
    findings.push({
      level: 'refuse',
      code: state === 'missing' ? 'PUBLICATION_MISSING' : 'PUBLICATION_UNSAFE',
      what: `${what}: what is written meanwhile is not in the stream, and is a gap of every table`,
      fix: MAKE_AGAIN,
    })
  if (mode === 'polling')
    findings.push({
      level: 'warn',
      code: 'POLLING',
      what: 'there are no event triggers: every schema change is found by asking, and is a gap of its table until the table has been read again',
      fix: 'tidemark uninstall, and init with a superuser URL',
    })
  return findings
}

export async function examineTriggers(client: pg.Client, mode: string | undefined): Promise<Finding[]> {
  if (mode !== 'triggers') return []
  const triggers = await client.query<{ n: string }>(
    `SELECT count(*)::text AS n FROM pg_event_trigger WHERE evtname IN ('tidemark_before_drop', 'tidemark_ddl', 'tidemark_drop', 'tidemark_rewrite') AND evtenabled = 'A'`,
  )
  if (triggers.rows[0]?.n === '4') return []
  return [
    {
      level: 'refuse',
      code: 'EVENT_TRIGGERS',
      what: 'an event trigger of Tidemark is gone or disabled: schema changes would not be seen',
      fix: 'tidemark init --upgrade --source URL  (of the role that ran init: makes them again)',
    },
  ]
}

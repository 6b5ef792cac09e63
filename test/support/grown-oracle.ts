/**
 * What a source is at a moment, and whether a restored database is the same: rows by digests, the catalog and its rights
 * as pg_dump prints them, sequences by the value that they give next. What the restore itself tells is no difference.
 */
import type { RestoreReport } from '../../services/app/restore.ts'
import pg from 'pg'
import { digests, shown } from './backup.ts'
import { dumpEntries } from './dump-oracle.ts'

export interface SequenceState {
  readonly step: bigint
  readonly cycles: boolean
  readonly next: bigint
}

export interface Seen {
  readonly at: string
  readonly rows: readonly string[]
  readonly catalog: ReadonlyMap<string, string>
  readonly sequences: ReadonlyMap<string, SequenceState>
}

async function withClient<T>(url: string, action: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await action(client)
  } finally {
    await client.end()
  }
}

function sequencesOf(url: string): Promise<Map<string, SequenceState>> {
  return withClient(url, async (client) => {
    const found = await client.query<{ name: string; step: string; cycles: boolean }>(
      `SELECT s.seqrelid::regclass::text AS name, s.seqincrement::text AS step, s.seqcycle AS cycles FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'side') ORDER BY 1`,
    )
    const out = new Map<string, SequenceState>()
    for (const { name, step, cycles } of found.rows) {
      const { rows } = await client.query<{ v: string; called: boolean }>(
        `SELECT last_value::text AS v, is_called AS called FROM ${name}`,
      )
      const { v, called } = rows[0]!
      out.set(name, { step: BigInt(step), cycles, next: BigInt(v) + (called ? BigInt(step) : 0n) })
    }
    return out
  })
}

export async function see(pgDump: string, url: string): Promise<Seen> {
  const at = await withClient(
    url,
    async (client) =>
      (await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0]!.lsn,
  )
  return {
    at,
    rows: shown(await digests(url)),
    catalog: catalogOf(pgDump, url),
    sequences: await sequencesOf(url),
  }
}

function catalogOf(pgDump: string, url: string): Map<string, string> {
  return new Map(dumpEntries(pgDump, url))
}

/** What a report says, as words: an object that it names is told. */
function told(report: RestoreReport): (what: string) => boolean {
  const said = [
    ...(report.result?.notes ?? []),
    ...(report.result?.unmade.flatMap((u) => [u.object, u.instead ?? '', u.sql]) ?? []),
  ]
  if (said.some((note) => note.startsWith('no reading of the schema is older'))) return () => true
  // Of these the server's record names no object.
  const rightsChanged = said.some((note) => /^(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) of /.test(note))
  return (what) => {
    if (rightsChanged && /^(?:DEFAULT )?ACL /.test(what)) return true
    const words = what.split(/[^\w.]+/).flatMap((word) => [word, word.replace(/^.*\./, '')])
    const names = words.filter((word) => /^(?:[tqvmfekg]\d|c\d|swap_name|side|p\d)/.test(word))
    return names.some((name) => said.some((note) => new RegExp(`\\b${name}\\b`).test(note)))
  }
}

/** One line for each difference that the report does not tell. */
export async function untold(
  pgDump: string,
  source: Seen,
  restored: RestoreReport & { readonly url: string },
  except: readonly string[],
): Promise<string[]> {
  const isTold = told(restored)
  const isExcept = (text: string): boolean =>
    except.some((name) => text.includes(name.replace(/^public\./, '')))
  const out: string[] = []
  const rows = shown(await digests(restored.url))
  for (const row of source.rows)
    if (!rows.includes(row) && !except.includes(row.replace(/:.*$/, ''))) out.push(`rows: ${row}`)
  for (const row of rows) if (!source.rows.includes(row)) out.push(`rows that are not so: ${row}`)
  const catalog = catalogOf(pgDump, restored.url)
  for (const [key, sql] of source.catalog) {
    const got = catalog.get(key)
    if (got === sql || isTold(key) || isExcept(key) || isExcept(sql)) continue
    out.push(got === undefined ? `missing: ${key}\n${sql}` : `differs: ${key}\n${sql}\n--- restored\n${got}`)
  }
  for (const [key, sql] of catalog)
    if (!source.catalog.has(key) && !isTold(key)) out.push(`added: ${key}\n${sql}`)
  const sequences = await sequencesOf(restored.url)
  // Where it tells that it has no sample, a jump by setval() may be more than its margin.
  const isGuessed = restored.result?.notes.some((note) => note.startsWith('no sample at or after')) === true
  for (const [name, was] of source.sequences) {
    const is = sequences.get(name)
    if (is === undefined || was.cycles || isGuessed) continue
    if ((is.next - was.next) * (was.step > 0n ? 1n : -1n) < 0n)
      out.push(`sequence ${name}: gives ${is.next}, the source gave ${was.next} (step ${was.step})`)
  }
  return out
}

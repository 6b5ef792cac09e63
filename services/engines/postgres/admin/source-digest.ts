/** Digests of all of a source's tables at one exact position. */
import type pg from 'pg'
import type { Clock, Randomness } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import type { SourceDigest, SourceDigests } from '../../../core/ports/source-admin.ts'
import { digestSql } from '../session/digest.ts'
import { APPLICATION_NAME } from '../session/names.ts'
import {
  catalogNow,
  COLUMNS_FINGERPRINT,
  pinTable,
  proveName,
  type SeenTable,
  TableMoved,
} from '../snapshot/pinned-table.ts'
import { connect, connectionError } from '../session/session.ts'
import { beginUnder, exportSnapshot } from '../snapshot/exported-snapshot.ts'

export interface DigestOptions {
  readonly url: string
  readonly clock: Clock
  readonly randomness: Randomness
  readonly signal: AbortSignal
  /** Waited for right behind each snapshot, for tests. */
  onSnapshot?(): Promise<void>
}

/** Snapshots that may be needed because tables are altered, emptied or renamed while they are read. */
const ROUNDS = 10

/** @throws TidemarkError NOT_PROVEN where tables kept being altered; SOURCE_UNREACHABLE, SOURCE_UNSUITABLE */
export async function digestSource(options: DigestOptions): Promise<SourceDigests> {
  for (let left = ROUNDS; left > 0; left--) {
    options.signal.throwIfAborted()
    try {
      return await digestOnce(options)
    } catch (error) {
      if (!(error instanceof TableMoved)) throw connectionError(error, 'source')
    }
  }
  throw new TidemarkError(
    'NOT_PROVEN',
    `tables kept being altered during ${ROUNDS} snapshots of the source`,
    {
      next: 'tidemark verify --against-source, when no migration runs',
    },
  )
}

async function digestOnce(options: DigestOptions): Promise<SourceDigests> {
  const { url, clock, signal, randomness } = options
  const slot = `tidemark_tmp_${randomness.bytes(6).toString('hex')}`
  const exported = await exportSnapshot({ url, slot, clock, signal })
  const clients: pg.Client[] = []
  const open = async (): Promise<pg.Client> => {
    const client = await connect({ url, applicationName: APPLICATION_NAME, role: 'source' })
    clients.push(client)
    return client
  }
  try {
    const reader = await open()
    const now = catalogNow(await open())
    await beginUnder(reader, exported.name)
    const tables = new Map<string, SourceDigest>()
    const wanted = await seenTables(reader)
    await options.onSnapshot?.()
    const query = async (sql: string): Promise<(string | null)[][]> =>
      (await reader.query<(string | null)[]>({ text: sql, rowMode: 'array' })).rows
    for (const table of wanted) {
      // Its lock goes with the savepoint: who holds many stands in the way of an application that wants two of them.
      await query('SAVEPOINT reading')
      await pinTable(query, table, now)
      const [row] = (await reader.query<{ rows: string; digest: string }>(digestSql(table))).rows
      await proveName(query, table)
      await query('ROLLBACK TO SAVEPOINT reading')
      await query('RELEASE SAVEPOINT reading')
      const { oid, schema, name } = table
      tables.set(`${schema}.${name}`, {
        oid,
        schema,
        name,
        rows: row?.rows ?? '',
        digest: row?.digest ?? '',
      })
    }
    await reader.query('COMMIT')
    // A transaction of ours behind the snapshot, so that a quiet database's stream passes it at once.
    await reader.query('SELECT tidemark.touch()')
    return { at: exported.consistentPoint, tables }
  } finally {
    for (const client of clients) await client.end()
    await exported.close()
  }
}

/** All tables with rows in the backup, and their stored columns. */
async function seenTables(
  client: pg.Client,
): Promise<readonly (SeenTable & { readonly columns: readonly string[] })[]> {
  const found = await client.query<SeenTable & { columns: string[] }>(
    `SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relfilenode::text AS filenode, ${COLUMNS_FINGERPRINT} AS fingerprint,
            COALESCE((SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '[]') AS columns
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tidemark') AND n.nspname NOT LIKE 'pg\\_toast%'
        AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND (e.extconfig IS NULL OR c.oid <> ALL (e.extconfig)))
      ORDER BY 2, 3`,
  )
  return found.rows.map((row) => ({ ...row, oid: Number(row.oid) }))
}

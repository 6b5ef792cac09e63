/** The replica identities that Tidemark gives at `init`, and gives back at `uninstall`. What happens meanwhile: tend-identities.ts. */
import type pg from 'pg'
import type { Clock } from '../../../core/clock.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import { quoteName, quoteTable } from '../dialect/quote.ts'
import { connectionError, serverText, sqlState } from '../session/session.ts'

export interface IdentityChange {
  readonly schema: string
  readonly name: string
  /** What its owner had chosen: NOTHING is a choice, DEFAULT without a key mostly is none. */
  readonly before: 'DEFAULT' | 'NOTHING' | 'FULL' | 'USING INDEX'
  /** `left out`: none serves, so the table is not published and not backed up until it has a key. */
  readonly after: 'DEFAULT' | 'FULL' | 'USING INDEX' | 'left out'
  /** Of USING INDEX. */
  readonly index: string | undefined
  readonly text: string
}

const NAMES = { d: 'DEFAULT', n: 'NOTHING', f: 'FULL', i: 'USING INDEX' } as const
type Letter = keyof typeof NAMES

/** @param client inside a transaction with the functions of `init` installed: its tables that need another identity */
export async function identityChanges(client: pg.Client): Promise<readonly IdentityChange[]> {
  const found = await client.query<{
    schema: string
    name: string
    before: Letter
    after: Exclude<Letter, 'n'> | null
    index: string | null
  }>(
    `SELECT n.nspname AS schema, c.relname AS name, i.current AS before, tidemark.identity_for(c.oid) AS after, i.index
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL tidemark.identity_of(c.oid) i
      WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND tidemark.is_streamed(c.oid) AND NOT i.serves ORDER BY 1, 2`,
  )
  return found.rows.map(({ schema, name, before, after, index }) => {
    const change = {
      schema,
      name,
      before: NAMES[before],
      after: after === null ? ('left out' as const) : NAMES[after],
      index: after === 'i' ? (index ?? undefined) : undefined,
    }
    return { ...change, text: changeText(change) }
  })
}

function changeText({ before, after, index, ...table }: Omit<IdentityChange, 'text'>): string {
  const was = before === 'NOTHING' ? '   (its owner has set it to NOTHING)' : ''
  if (after === 'left out')
    return `${quoteTable(table)} is left out: it has generated columns and no key without them, so no identity serves. Its changes are NOT in the backup until it has a primary key${was}`
  return `ALTER TABLE ${quoteTable(table)} REPLICA IDENTITY ${after}${index === undefined ? '' : ` ${quoteName(index)}`}${was}`
}

/**
 * One ALTER each, in a transaction of its own that remembers what was before. Waits a moment for the lock, gives way and
 * tries again: whoever queues for it holds up the application.
 *
 * @throws TidemarkError SOURCE_UNSUITABLE where a table stays locked
 */
export async function giveIdentities(
  client: pg.Client,
  changes: readonly IdentityChange[],
  clock: Clock,
): Promise<void> {
  for (const change of changes)
    if (change.after !== 'left out')
      await patiently(client, clock, quoteTable(change), () =>
        client.query(
          'SELECT tidemark.set_identity(c.oid, tidemark.identity_for(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND NOT (SELECT i.serves FROM tidemark.identity_of(c.oid) i)',
          [change.schema, change.name],
        ),
      )
}

/**
 * What each table had before, where it still has what Tidemark gave. Not where another publication lives by it: its
 * UPDATE and DELETE would begin to fail.
 *
 * @returns statements that are left to the administrator
 */
export async function giveBackIdentities(client: pg.Client, clock: Clock): Promise<readonly string[]> {
  const there = await client.query<{ there: boolean; schemas: boolean }>(
    `SELECT to_regclass('tidemark.identity') IS NOT NULL AS there, to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL AS schemas`,
  )
  if (there.rows[0]?.there !== true) return []
  const inSchemas = there.rows[0].schemas
    ? 'OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)'
    : ''
  const found = await client.query<{ schema: string; name: string; how: string; lived: string | null }>(
    `SELECT n.nspname AS schema, c.relname AS name,
            CASE g.before WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
              WHEN 'i' THEN COALESCE((SELECT format('USING INDEX %I', ic.relname) FROM pg_index x JOIN pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = c.oid AND ic.relname = g.before_index), 'DEFAULT')
              ELSE 'DEFAULT' END AS how,
            (SELECT p.pubname FROM pg_publication p WHERE (p.pubupdate OR p.pubdelete) AND p.pubname <> (SELECT publication FROM tidemark.installation)
                AND (g.before = 'n' OR g.before = 'd' AND NOT (SELECT i.key FROM tidemark.identity_of(c.oid) i))
                AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND (r.prrelid = c.oid OR r.prrelid IN (SELECT pg_partition_ancestors(c.oid)))) ${inSchemas}) LIMIT 1) AS lived
       FROM tidemark.identity g JOIN pg_class c ON c.oid::bigint = g.oid AND c.relreplident::text = g.given JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE g.given <> g.before OR g.given = 'i' ORDER BY 1, 2`,
  )
  const left: string[] = []
  for (const row of found.rows) {
    const statement = `ALTER TABLE ONLY ${quoteTable(row)} REPLICA IDENTITY ${row.how}`
    if (row.lived !== null) {
      left.push(`${statement}  -- the publication ${quoteName(row.lived)} lives by what it has now`)
      continue
    }
    try {
      await client.query(`SET lock_timeout = ${LIMITS.tableLockMs}`)
      await patiently(client, clock, quoteTable(row), () => client.query(statement))
    } catch {
      // Locked for long, or not ours to alter: said, and everything else is taken out all the same.
      left.push(statement)
    } finally {
      await client.query('SET lock_timeout = 0')
    }
  }
  return left
}

const TRIES = 40

async function patiently(
  client: pg.Client,
  clock: Clock,
  table: string,
  action: () => Promise<unknown>,
): Promise<void> {
  for (let left = TRIES; ; left--) {
    try {
      await action()
      return
    } catch (error) {
      const state = sqlState(error)
      if (state === '42P01') return
      if (state !== '55P03') throw connectionError(error, 'source')
      if (left <= 0)
        throw new TidemarkError('SOURCE_UNSUITABLE', `${table} stays locked: ${serverText(error)}`, {
          cause: error,
          next: 'end the long transaction that holds it (pg_stat_activity), then the same command again',
        })
      await clock.sleep(LIMITS.tableLockPauseMs)
    }
  }
}

/**
 * Looks after replica identities and the publication while `up` runs: asks what is due with a query that takes no lock on
 * any table, and does it one table at a time, each try with a wait so short that the application does not notice.
 */
import type pg from 'pg'
import type { Clock } from '../../../core/clock.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { IdentityCare, LeftOutTable } from '../../../core/ports/source.ts'
import { sqlState } from '../session/session.ts'

interface Backoff {
  readonly pause: number
  readonly until: number
}

export class IdentityKeeper {
  readonly #clock: Clock
  readonly #backoff = new Map<string, Backoff>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws what the connection throws; a table that cannot be changed now is tried again later */
  async tend(client: pg.Client): Promise<IdentityCare> {
    const due = await client.query<{ oid: string; schema: string; name: string }>(
      'SELECT oid::text, schema, name FROM tidemark.identities_due()',
    )
    const recorded: string[] = []
    const changes: { table: string; outcome: string }[] = []
    const known = new Set(due.rows.map((row) => row.oid))
    for (const oid of this.#backoff.keys()) if (!known.has(oid)) this.#backoff.delete(oid)
    for (const { oid, schema, name } of due.rows) {
      const held = this.#backoff.get(oid)
      if (held !== undefined && held.until > this.#clock.elapsed()) continue
      const done = await this.#one(client, oid)
      if (done === 'locked') {
        if (held === undefined) changes.push({ table: `${schema}.${name}`, outcome: done })
        this.#wait(oid, held)
        continue
      }
      this.#backoff.delete(oid)
      if (done.outcome !== null) changes.push({ table: `${schema}.${name}`, outcome: done.outcome })
      if (done.recorded !== null) recorded.push(done.recorded)
    }
    return { recorded, changes }
  }

  async #one(
    client: pg.Client,
    oid: string,
  ): Promise<'locked' | { readonly outcome: string | null; readonly recorded: string | null }> {
    try {
      const found = await client.query<{ outcome: string | null; recorded: string | null }>(
        'SELECT outcome, recorded FROM tidemark.tend_identity($1)',
        [oid],
      )
      return found.rows[0] ?? { outcome: null, recorded: null }
    } catch (error) {
      // A broken connection is the caller's; anything the server says of one table must not keep the others waiting. Nor is it an
      // outage that there is no room for the locks of a list of all tables (53200).
      const state = sqlState(error)
      if (state === undefined || !/^[0-9A-Z]{5}$/.test(state) || /^(08|57|53(?!200))/.test(state)) throw error
      return 'locked'
    }
  }

  #wait(oid: string, held: Backoff | undefined): void {
    const [first, longest] = LIMITS.identityBackoffMs
    const pause = held === undefined ? first : Math.min(2 * held.pause, longest)
    this.#backoff.set(oid, { pause, until: this.#clock.elapsed() + pause })
  }
}

/** Tables that the publication leaves out. */
export async function readLeftOut(client: pg.Client): Promise<readonly LeftOutTable[]> {
  const found = await client.query<{ oid: string; schema: string; name: string }>(
    'SELECT oid::text, schema, name FROM tidemark.left_out()',
  )
  return found.rows.map((row) => ({ oid: Number(row.oid), schema: row.schema, name: row.name }))
}

/** @param tables schema.table; replaces what was said before */
export async function keepFull(client: pg.Client, tables: readonly string[]): Promise<void> {
  await client.query('SELECT tidemark.keep_identities($1)', [tables])
}

/**
 * Reads objects so that one that cannot be read fails alone: the printing functions look past the snapshot, and what was
 * dropped meanwhile gives them NULL or an error that would end the whole query.
 *
 * They lock what they print, and a transaction keeps its locks: an application that wants two of these tables for itself would
 * die in a deadlock with the reading. So what one question locked is let go behind it, and no question waits for a lock with
 * others in its hands for longer than half of what a server waits before it looks for deadlocks (deadlock_timeout, 1 s).
 */
import { LIMITS } from '../../../core/limits.ts'
import { isMistake } from '../../../core/mistake.ts'
import { serverText, sqlState } from '../session/session.ts'
import type { Catalog, CatalogKind, CatalogObject } from './kind.ts'

/** The longest wait for one lock, milliseconds. */
const LOCK_MS = 500

export interface ObjectsRead {
  readonly objects: readonly CatalogObject[]
  /** By OID, why it could not be read. */
  readonly failed: ReadonlyMap<number, string>
}

/**
 * @param only these OIDs; without it all
 * @throws what is the server's or the connection's failure, not an object's
 */
export async function readObjects(
  catalog: Catalog,
  kind: CatalogKind,
  only?: readonly number[],
): Promise<ObjectsRead> {
  const objects: CatalogObject[] = []
  const failed = new Map<number, string>()
  const read = async (some: readonly number[] | undefined): Promise<void> => {
    if (some?.length === 0) return
    try {
      const found = await unlocked(catalog, () => kind.read(catalog, some))
      for (const object of found)
        if (object.statements.every(isWhole)) objects.push(object)
        else failed.set(object.oid, 'it was dropped while it was read')
      return
    } catch (error) {
      if (!isOfObject(error)) throw error
      if (some?.length === 1) {
        failed.set(some[0]!, isMistake(error) ? error.name : serverText(error))
        return
      }
    }
    const all = some ?? (await oidsOf(catalog, kind))
    const half = Math.ceil(all.length / 2)
    await read(all.slice(0, half))
    await read(all.slice(half))
  }
  await read(only)
  return { objects, failed }
}

/** Asks until no other session's lock is in the way. Keeps none of its own. */
async function unlocked<T>(catalog: Catalog, ask: () => Promise<T>): Promise<T> {
  const letGo = (): Promise<unknown> =>
    catalog.rows('ROLLBACK TO SAVEPOINT reading; RELEASE SAVEPOINT reading')
  for (let waited = 0; ; ) {
    await catalog.rows(`SAVEPOINT reading; SET LOCAL lock_timeout = ${LOCK_MS}`)
    try {
      const found = await ask()
      await letGo()
      return found
    } catch (error) {
      // Nothing more is to be said on a lost connection.
      if (!isMistake(error) && !isOfServersAnswer(error)) throw error
      await letGo()
      if (!IN_THE_WAY.has(sqlState(error) ?? '') || waited >= LIMITS.catalogLockMs) throw error
    }
    const pause = Math.min(5000, 200 + waited / 4)
    await catalog.rows(`SELECT pg_sleep(${pause / 1000})`)
    waited += LOCK_MS + pause
  }
}

/** A lock that is not to be had in time, a deadlock. */
const IN_THE_WAY: ReadonlySet<string> = new Set(['55P03', '40P01'])

/** What a printing function says of an object that is gone by now is NULL, whatever the snapshot shows. */
function isWhole(statement: { readonly sql: string | null }): boolean {
  return statement.sql !== null
}

async function oidsOf(catalog: Catalog, kind: CatalogKind): Promise<number[]> {
  // The roles themselves are the administrator's to read.
  const from = kind.class === 'pg_authid' ? 'pg_roles' : kind.class
  return (await catalog.rows<{ oid: number }>(`SELECT oid FROM ${from} ORDER BY oid`)).map(({ oid }) =>
    Number(oid),
  )
}

/** Classes of SQLSTATE that say something of the server, the session or the login. */
const OF_SERVER = /^(08|25|28|3D|40|53|55|57|58)/

function isOfObject(error: unknown): boolean {
  return isMistake(error) || (isOfServersAnswer(error) && !OF_SERVER.test(sqlState(error)!))
}

/** The server said it, in a session that goes on. */
function isOfServersAnswer(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && /^[0-9A-Z]{5}$/.test(state) && !/^(E[A-Z]{4}|08...|57P..)$/.test(state)
}

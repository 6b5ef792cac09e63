/**
 * Reads objects so that one that cannot be read fails alone: the printing functions look past the snapshot, and what was
 * dropped meanwhile gives them NULL or an error that would end the whole query.
 */
import { isMistake } from '../../../core/mistake.ts'
import { serverText, sqlState } from '../session.ts'
import type { Catalog, CatalogKind, CatalogObject } from './kind.ts'

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
      await catalog.rows('SAVEPOINT reading')
      const found = await kind.read(catalog, some)
      await catalog.rows('RELEASE SAVEPOINT reading')
      for (const object of found)
        if (object.statements.every(isWhole)) objects.push(object)
        else failed.set(object.oid, 'it was dropped while it was read')
      return
    } catch (error) {
      if (!isOfObject(error)) throw error
      await catalog.rows('ROLLBACK TO SAVEPOINT reading')
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
  if (isMistake(error)) return true
  const state = sqlState(error)
  return (
    state !== undefined && /^[0-9A-Z]{5}$/.test(state) && !/^E[A-Z]{4}$/.test(state) && !OF_SERVER.test(state)
  )
}

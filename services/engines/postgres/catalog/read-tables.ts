/**
 * The tables of a snapshot. The printing functions look past it: a table that somebody alters right now may not be readable
 * under it, and is then read as it is now. Whoever copies it compares its columns anyway.
 */
import type pg from 'pg'
import type { TableFacts } from '../dialect/schema-facts.ts'
import { TidemarkError } from '../../../core/errors.ts'
import { extensions } from './extensions.ts'
import { readObjects } from './read-objects.ts'
import { openCatalog } from './read-schema.ts'
import { tables } from './tables.ts'

/** A table that keeps changing while it is read. */
const TRIES = 10

/**
 * @param client inside a REPEATABLE READ transaction
 * @param now another connection, outside of any
 * @throws TidemarkError SOURCE_UNSUITABLE where a table that is there cannot be read
 */
export async function readTables(client: pg.Client, now: pg.Client): Promise<TableFacts[]> {
  const { objects, failed } = await readObjects(await openCatalog(client), tables)
  const found = objects.flatMap(({ table }) => (table === undefined ? [] : [table]))
  // Configuration tables of extensions have rows to copy as well.
  for (const { table } of await extensions.read(await openCatalog(client)))
    if (table !== undefined) found.push(table)
  const catalog = await openCatalog(now)
  let left = failed
  for (let tries = TRIES; left.size > 0 && tries > 0; tries--) {
    await now.query('BEGIN')
    // What is gone gives nothing here: the stream has its DROP.
    const again = await readObjects(catalog, tables, [...left.keys()])
    await now.query('ROLLBACK')
    found.push(...again.objects.flatMap(({ table }) => (table === undefined ? [] : [table])))
    left = again.failed
  }
  const [oid, why] = [...left][0] ?? []
  if (oid !== undefined)
    throw new TidemarkError('SOURCE_UNSUITABLE', `the table with OID ${oid} cannot be read: ${why}`)
  return found
}

/**
 * Reads a database's schema in one snapshot and gives the ordered SQL that makes it from nothing, in two parts (before
 * and after the load): a restore works from that alone, by hand if need be.
 *
 * The order of creation follows pg_depend. What is not covered is said in the notes, never dropped silently.
 */
import type pg from 'pg'
import type { SchemaFacts, SchemaStatement } from '../../../core/transaction.ts'
import type { TableFacts } from '../../../formats/schema-facts.ts'
import { inOrder, type OrderedObject, readEdges } from './dependency-order.ts'
import type { Catalog, CatalogObject } from './kind.ts'
import { KINDS } from './kinds.ts'
import { type Made, uncovered } from './uncovered.ts'

export interface ReadSchema extends SchemaFacts {
  readonly tables: readonly TableFacts[]
}

/** Must run inside a REPEATABLE READ transaction; everything is seen as of its snapshot. */
export async function readSchema(client: pg.Client): Promise<ReadSchema> {
  const catalog = await openCatalog(client)
  const [moment] = await catalog.rows<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot')
  const seen = await catalog.rows<{ xid: string }>('SELECT DISTINCT xid FROM tidemark.ddl')
  const first: SchemaStatement[] = []
  const last: SchemaStatement[] = []
  const ordered: OrderedObject[] = []
  const notes: string[] = []
  const tables: TableFacts[] = []
  const made: Made[] = []
  for (const kind of KINDS) {
    for (const object of await kind.read(catalog)) {
      notes.push(...(object.notes ?? []))
      if (object.statements.length > 0) made.push({ class: kind.class, oid: object.oid })
      if (object.table !== undefined) tables.push(object.table)
      if (kind.order === 'by dependency') ordered.push(orderedObject(kind.class, object))
      else (kind.order === 'first' ? first : last).push(...object.statements)
    }
  }
  notes.push(...(await uncovered(catalog, made)))
  const statements = [...first, ...inOrder(ordered, await readEdges(catalog)), ...last]
  statements.sort((a, b) => a.rank - b.rank)
  return { snapshot: moment?.snapshot ?? '', ddlSeen: seen.map((row) => row.xid), statements, notes, tables }
}

export async function openCatalog(client: pg.Client): Promise<Catalog> {
  const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> =>
    (await client.query<T>(sql)).rows
  const [server] = await rows<{ v: string }>(`SELECT current_setting('server_version_num') AS v`)
  return { rows, version: Number(server?.v) }
}

function orderedObject(catalogClass: string, object: CatalogObject): OrderedObject {
  return { key: `${catalogClass}:${object.oid}`, oid: object.oid, statements: object.statements }
}

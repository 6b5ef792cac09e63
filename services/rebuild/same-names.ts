/**
 * Two tables of one name at a point: one of them had been renamed or dropped without a record by then. Both have rows, and a
 * database has one table of a name: the one that was called so last keeps it.
 */
import { comparePositions } from '../core/position.ts'
import { tableStatements } from '../formats/table-statements.ts'
import type { SchemaAtPoint } from '../history/schema-at.ts'
import type { TableHistory, TableStep } from '../history/table-history.ts'

/** Gives all but one of them names of their own, in the histories as well as in the schema. */
export function apart(schema: SchemaAtPoint, histories: ReadonlyMap<number, TableHistory>): SchemaAtPoint {
  const called = new Map<string, TableHistory>()
  const notes: string[] = []
  const renamed: TableHistory[] = []
  for (const history of histories.values()) {
    const { last } = history
    if (last === undefined || history.droppedAt !== undefined) continue
    const held = called.get(history.name)
    const older = held === undefined ? undefined : isBefore(held.last!, last) ? held : history
    if (older !== history) called.set(history.name, history)
    if (older === undefined) continue
    const was = older.name
    older.callLast(nameOf(older.last!.facts.name, older.oid))
    renamed.push(older)
    notes.push(
      `two tables are called ${was} at this point, because one had been renamed or dropped without a record: the older one comes back as ${older.name}`,
    )
  }
  if (renamed.length === 0) return schema
  const gone = new Set(renamed.map(({ oid }) => `pg_class:${oid}`))
  const made = renamed.flatMap(({ oid, last }) =>
    tableStatements(last!.facts).map((statement) => ({ ...statement, of: `pg_class:${oid}` })),
  )
  const statements = [...schema.statements.filter(({ of }) => of === undefined || !gone.has(of)), ...made]
  statements.sort((a, b) => a.rank - b.rank)
  return { ...schema, statements, notes: [...schema.notes, ...notes] }
}

/** Bytes of a name that a server takes (NAMEDATALEN - 1); it would cut the OID off. */
const NAME_BYTES = 63

function nameOf(name: string, oid: number): string {
  let front = name
  while (Buffer.byteLength(front) + String(oid).length + 1 > NAME_BYTES)
    front = [...front].slice(0, -1).join('')
  return `${front}_${oid}`
}

function isBefore(a: TableStep, b: TableStep): boolean {
  const order = comparePositions(a.position, b.position)
  return order < 0 || (order === 0 && a.ordinal < b.ordinal)
}

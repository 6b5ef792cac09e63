/**
 * Two tables of one name at a point: one of them had been renamed or dropped without a record by then. Both have rows, and a
 * database has one table of a name: the one that was called so last keeps it.
 */
import type { SchemaAtPoint, TableWords } from '../core/ports/dialect.ts'
import { isBefore } from '../core/position.ts'
import type { TableHistory } from '../history/table-history.ts'

/** Gives all but one of them names of their own, in the histories as well as in the schema. */
export function apart(
  words: TableWords,
  schema: SchemaAtPoint,
  histories: ReadonlyMap<number, TableHistory>,
): SchemaAtPoint {
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
    const { table } = older.last!
    older.callLast(words.renamed(table, nameOf(table.version.name, older.oid, words.nameBytes)))
    renamed.push(older)
    notes.push(
      `two tables are called ${was} at this point, because one had been renamed or dropped without a record: the older one comes back as ${older.name}`,
    )
  }
  if (renamed.length === 0) return schema
  const gone = new Set(renamed.map(({ last }) => words.key(last!.table)))
  const made = renamed.flatMap(({ last }) => words.statements(last!.table))
  const statements = [...schema.statements.filter(({ of }) => of === undefined || !gone.has(of)), ...made]
  statements.sort((a, b) => a.rank - b.rank)
  return { ...schema, statements, notes: [...schema.notes, ...notes] }
}

/** @param most bytes of a name that a server takes; it would cut the OID off */
function nameOf(name: string, oid: number, most: number): string {
  let front = name
  while (Buffer.byteLength(front) + String(oid).length + 1 > most) front = [...front].slice(0, -1).join('')
  return `${front}_${oid}`
}

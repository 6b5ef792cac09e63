/** Where a schema that was made differs from the one that it was made of: by name of the object, statement by statement. */
import type { SchemaStatement } from '../core/transaction.ts'
import { ROLE_ATTRIBUTES } from '../formats/rank.ts'
import { objectText } from '../core/object-text.ts'

export interface SchemaDifference {
  /** Kind and name, as in Unmade. */
  readonly object: string
  readonly is: 'missing' | 'another' | 'added'
}

/** Roles are the whole server's, and come back with their names alone. */
const OF_SERVER: ReadonlySet<string> = new Set(['role', ROLE_ATTRIBUTES])

/**
 * @param how `names` where the two servers print the same object in different words: only what is there counts then
 */
export function schemaDifferences(
  wanted: readonly SchemaStatement[],
  made: readonly SchemaStatement[],
  how: 'statements' | 'names',
): readonly SchemaDifference[] {
  const before = byObject(wanted)
  const after = byObject(made)
  const differences: SchemaDifference[] = []
  for (const [object, statements] of before) {
    const found = after.get(object)
    if (found === undefined) differences.push({ object, is: 'missing' })
    else if (how === 'statements' && statements !== found) differences.push({ object, is: 'another' })
  }
  for (const object of after.keys()) if (!before.has(object)) differences.push({ object, is: 'added' })
  return differences
}

/** The statements of each object as one text: their order among themselves is the reader's. */
function byObject(statements: readonly SchemaStatement[]): Map<string, string> {
  const lists = new Map<string, string[]>()
  for (const { objects, sql } of statements) {
    if (OF_SERVER.has(objects[0]?.kind ?? '')) continue
    const key = objectText(objects[0])
    const held = lists.get(key)
    if (held === undefined) lists.set(key, [sql])
    else held.push(sql)
  }
  return new Map([...lists].map(([key, list]) => [key, list.sort().join('\n')]))
}

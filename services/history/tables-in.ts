/** Which tables there were in a part of a generation, and which of them were parts of others, from readings and records alone. */
import type { Dialect, Joined, PlacedRecord } from '../core/ports/dialect.ts'
import { comparePositions, parsePosition, type Position } from '../core/position.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { SchemaReadings } from './schema-readings.ts'

export interface TablesIn {
  /** `schema.name`, those too whose rows are in their parts. */
  readonly names: ReadonlySet<string>
  readonly joined: readonly Joined[]
}

/**
 * Of the readings on both sides, and of every record between them: a table that was a part only for a while is one of them.
 *
 * @param records the generation's
 * @param from undefined for its beginning, as `to` for its end
 */
export async function tablesIn(
  repository: Repository,
  { records: words, schemas }: Pick<Dialect, 'records' | 'schemas'>,
  generation: Generation,
  records: readonly PlacedRecord[],
  from: Position | undefined,
  to: Position | undefined,
): Promise<TablesIn> {
  const names = new Set<string>()
  const joined: Joined[] = []
  const entries = generation.schemas.map((entry) => ({ entry, at: parsePosition(entry.body.at) }))
  const earlier =
    from === undefined ? undefined : entries.findLast(({ at }) => comparePositions(at, from) <= 0)
  const later = to === undefined ? undefined : entries.find(({ at }) => comparePositions(at, to) >= 0)
  const [first, last] = [earlier ?? entries[0], later ?? entries.at(-1)]
  const readings = new SchemaReadings(repository, generation)
  for (const { entry } of new Set([first, last].filter((one) => one !== undefined)))
    for (const statement of (await readings.facts(entry))?.statements ?? []) {
      const [self] = statement.objects
      if (self !== undefined && schemas.makesTable(statement)) names.add(`${self.schema ?? ''}.${self.name}`)
      const one = schemas.joined(statement)
      if (one !== undefined) joined.push(one)
    }
  for (const { position, record } of records) {
    if (earlier !== undefined && comparePositions(position, earlier.at) <= 0) continue
    if (later !== undefined && comparePositions(position, later.at) > 0) break
    joined.push(...words.joined(record))
  }
  return { names, joined }
}

/** With the parts of each, and theirs. @param names `schema.name` */
export function withParts(joined: readonly Joined[], names: Iterable<string>): Set<string> {
  const all = new Set(names)
  for (let before = 0; before < all.size; ) {
    before = all.size
    for (const { part, whole } of joined)
      if (all.has(`${whole.schema}.${whole.name}`)) all.add(`${part.schema}.${part.name}`)
  }
  return all
}

/** Which tables a generation knows, and by which names: an unknown name is a slip, and no table without changes. */
import type { PlacedRecord } from '../../core/ports/dialect.ts'
import { readDdl } from '../../history/schema-at.ts'
import type { Generation } from '../../repository/generation.ts'
import type { Repository } from '../../repository/repository.ts'
import { dialectOf } from '../wiring/dialect.ts'

/** By a copy or by a record, under every name that they had: the OIDs of what had it. */
export async function knownTables(
  repository: Repository,
  generation: Generation,
  records?: readonly PlacedRecord[],
): Promise<ReadonlyMap<string, ReadonlySet<number>>> {
  const known = new Map<string, Set<number>>()
  const add = (oid: number, schema: string, name: string): void => {
    const text = `${schema}.${name}`
    known.set(text, (known.get(text) ?? new Set()).add(oid))
  }
  for (const { body } of generation.tables.values()) add(body.oid, body.schema, body.name)
  const words = dialectOf(generation.facts.engine).records
  for (const { record } of records ?? (await readDdl(repository, words, generation))) {
    const named = words.tableNamed(record)
    if (named !== undefined) add(record.oid, named.schema, named.name)
  }
  return known
}

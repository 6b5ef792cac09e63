/**
 * The schema as it stood at a point: the newest facts that know nothing later, and on top of them the records that
 * came after those facts. What only later facts know is never applied; what stays uncertain is listed.
 */
import type { PlacedRecord, RecordWords, SchemaAtPoint, SchemaWords } from '../core/ports/dialect.ts'
import { comparePositions, type Position } from '../core/position.ts'
import type { SchemaFacts } from '../core/transaction.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { ByteSource } from '../core/byte-source.ts'
import { escapedTextOfField } from '../formats/value-printer.ts'
import { ChangeCursor, changeBlocks } from './segment-reader.ts'
import type { TableHistory } from './table-history.ts'
import { TidemarkError } from '../core/errors.ts'
import { SchemaReadings } from './schema-readings.ts'
import { UntoldChanges } from './untold-changes.ts'

/** All schema records of a generation that are durable, in commit order. */
export async function readDdl(
  repository: Repository,
  words: RecordWords,
  generation: Generation,
): Promise<PlacedRecord[]> {
  const records: PlacedRecord[] = []
  // What was in segments that are retired by now.
  if (generation.olderDdl !== null)
    records.push(
      ...words.read(
        await repository.getSealed(generation.olderDdl, {
          kind: 'ddl',
          generation: String(generation.facts.generation),
        }),
      ),
    )
  for await (const entry of generation.segments.segments((c) => c.hasDdl))
    records.push(...(await ddlOf(repository, words, entry)))
  return records
}

/** The records of one cut. */
export async function ddlOf(
  repository: Repository,
  words: RecordWords,
  entry: NumberedEntry<'segments'>,
): Promise<PlacedRecord[]> {
  const found: PlacedRecord[] = []
  for await (const block of changeBlocks(repository, entry.body, () => true)) {
    const { relation } = block.layout
    if (!words.holds(relation)) continue
    const cursor = new ChangeCursor(block)
    while (cursor.next()) {
      if (cursor.operation !== 0) continue
      const source = new ByteSource(cursor.buffer, cursor.new.start, cursor.new.end)
      const fields = new Map(
        relation.columns.map((column, i) => [
          column.name,
          escapedTextOfField(source, block.layout.kinds[i]!),
        ]),
      )
      found.push({
        position: cursor.position,
        ordinal: cursor.ordinal,
        record: words.parse((name) => fields.get(name)),
      })
    }
  }
  found.sort((a, b) => comparePositions(a.position, b.position) || a.ordinal - b.ordinal)
  return found
}

/** @throws TidemarkError LEDGER_BROKEN when there are no facts at all */
export async function schemaAt(
  repository: Repository,
  schemas: SchemaWords,
  generation: Generation,
  records: readonly PlacedRecord[],
  histories: ReadonlyMap<number, TableHistory>,
  position: Position,
): Promise<SchemaAtPoint> {
  const atPoint = schemas.readings(records, position, generation.facts.firstTransaction)
  const readings = new SchemaReadings(repository, generation)
  let chosen: SchemaFacts | undefined
  let oldest: SchemaFacts | undefined
  const untold = new UntoldChanges(generation.schemas, position)
  for (const entry of generation.schemas.toReversed()) {
    const facts = await readings.facts(entry)
    // Its beginning is not there any more, or never came.
    if (facts === undefined) continue
    oldest = facts
    // Facts that saw a transaction behind the point, or one that the stream has not shown yet, know too much.
    const isUnsettled = (facts.unsettled ?? []).length > 0
    if (!untold.isBehindPoint(entry, isUnsettled) && !atPoint.hasSeenBehind(facts)) {
      chosen = { ...facts, notes: [...facts.notes, ...(await untold.notes(entry, isUnsettled, readings))] }
      break
    }
  }
  if (chosen === undefined && oldest !== undefined)
    // All of them knew later changes: rows come first, so the oldest serves, and it is said.
    chosen = {
      ...oldest,
      notes: [...oldest.notes, 'no reading of the schema is older than this point: check it by hand'],
    }
  if (chosen === undefined)
    throw new TidemarkError('LEDGER_BROKEN', 'there are no schema facts for this point')
  return atPoint.schema(chosen, histories)
}

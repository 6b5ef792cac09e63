/**
 * The schema as it stood at a point: the newest facts that know nothing later, and on top of them the DDL records that
 * came after those facts. What only later facts know is never applied; what stays uncertain is listed.
 */
import { comparePositions, parsePosition, type Position, positionText } from '../core/position.ts'
import type { SchemaFacts, SchemaStatement } from '../core/transaction.ts'
import { parseDdlRecord } from '../formats/ddl-record.ts'
import type { NumberedEntry } from '../formats/ledger-entry.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { ByteSource } from '../core/byte-source.ts'
import { escapedTextOfField } from '../formats/value-printer.ts'
import { ChangeCursor, changeBlocks } from './segment-reader.ts'
import type { PlacedRecord, TableHistory } from './table-history.ts'
import { TidemarkError } from '../core/errors.ts'
import { isVisible } from '../core/snapshot.ts'
import type { LeftOut } from './parts-since.ts'
import { patchedSchema } from './patched-schema.ts'
import { SchemaReadings } from './schema-readings.ts'
import { UntoldChanges } from './untold-changes.ts'

/** All DDL records of a generation that are durable, in commit order. */
export async function readDdl(repository: Repository, generation: Generation): Promise<PlacedRecord[]> {
  const records: PlacedRecord[] = []
  // What was in segments that are retired by now.
  if (generation.olderDdl !== null)
    records.push(
      ...parsePlaced(
        await repository.getSealed(generation.olderDdl, {
          kind: 'ddl',
          generation: String(generation.facts.generation),
        }),
      ),
    )
  for await (const entry of generation.segments.segments((c) => c.hasDdl))
    records.push(...(await ddlOf(repository, entry)))
  return records
}

/** The records of one cut. */
export async function ddlOf(
  repository: Repository,
  entry: NumberedEntry<'segments'>,
): Promise<PlacedRecord[]> {
  const found: PlacedRecord[] = []
  for await (const block of changeBlocks(repository, entry.body, () => true)) {
    const { relation } = block.layout
    if (relation.schema !== 'tidemark' || relation.name !== 'ddl') continue
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
      const text = (name: string): string => fields.get(name) ?? ''
      found.push({
        position: cursor.position,
        ordinal: cursor.ordinal,
        record: parseDdlRecord({
          id: text('id'),
          xid: text('xid'),
          command: text('command'),
          kind: text('kind'),
          oid: fields.get('oid') ?? null,
          facts: fields.get('facts') ?? null,
          class: fields.get('class'),
        }),
      })
    }
  }
  found.sort((a, b) => comparePositions(a.position, b.position) || a.ordinal - b.ordinal)
  return found
}

/** DDL records apart from their segments, as JSON. */
export function placedText(records: readonly PlacedRecord[]): Buffer {
  const rows = records.map(
    ({ position, ordinal, record: { id, xid, command, kind, oid, facts, class: of } }) => ({
      lsn: positionText(position),
      ordinal,
      row: {
        id: id.toString(),
        xid,
        command,
        kind,
        oid: String(oid),
        facts: JSON.stringify(facts),
        class: of,
      },
    }),
  )
  return Buffer.from(JSON.stringify(rows), 'utf8')
}

function parsePlaced(bytes: Buffer): PlacedRecord[] {
  const rows = JSON.parse(bytes.toString('utf8')) as {
    lsn: string
    ordinal?: number
    row: Parameters<typeof parseDdlRecord>[0]
  }[]
  // Without ordinals where an older version wrote them: the rows of these transactions are retired with them.
  return rows.map(({ lsn, ordinal, row }) => ({
    position: parsePosition(lsn),
    ordinal: ordinal ?? 0,
    record: parseDdlRecord(row),
  }))
}

export interface SchemaAtPoint {
  readonly statements: readonly SchemaStatement[]
  readonly notes: readonly string[]
  readonly leftOut: readonly LeftOut[]
}

/** @throws TidemarkError LEDGER_BROKEN when there are no facts at all */
export async function schemaAt(
  repository: Repository,
  generation: Generation,
  records: readonly PlacedRecord[],
  histories: ReadonlyMap<number, TableHistory>,
  position: Position,
): Promise<SchemaAtPoint> {
  const place = new Map(records.map((r) => [r.record.xid, r.position]))
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
    const knowsLater =
      untold.isBehindPoint(entry, isUnsettled) ||
      facts.ddlSeen.some((xid) => {
        const at = place.get(xid)
        return at === undefined
          ? BigInt(xid) >= BigInt(generation.facts.nextXid)
          : comparePositions(at, position) > 0
      }) ||
      // Records that were removed from the source, being durable, are in what it saw all the same: its snapshot tells.
      records.some(
        (r) => comparePositions(r.position, position) > 0 && isVisible(facts.snapshot, r.record.xid),
      )
    if (!knowsLater) {
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
  const seen = new Set(chosen.ddlSeen)
  const { snapshot } = chosen
  // What was being changed while it was read is told by its records as well.
  const unsettled = new Set(chosen.unsettled)
  const later = records.filter(
    (r) =>
      comparePositions(r.position, position) <= 0 &&
      (unsettled.has(r.record.oid) || (!seen.has(r.record.xid) && !isVisible(snapshot, r.record.xid))),
  )
  if (later.length === 0) return { statements: chosen.statements, notes: chosen.notes, leftOut: [] }
  const isLater = new Set(later)
  const earlier = records.filter((r) => comparePositions(r.position, position) <= 0 && !isLater.has(r))
  return patchedSchema(chosen, later, histories, namesWhenRead(records, later), earlier)
}

/** How types and sequences that later records tell of were called when the schema was read: `kind schema.name`. */
function namesWhenRead(
  records: readonly PlacedRecord[],
  later: readonly PlacedRecord[],
): ReadonlyMap<number, string> {
  const isLater = new Set(later)
  const names = new Map<number, string>()
  for (const placed of records) {
    const { record } = placed
    if (isLater.has(placed) || (record.kind !== 'type' && record.kind !== 'sequence')) continue
    names.set(record.oid, `${record.kind} ${record.facts.schema}.${record.facts.name}`)
  }
  return names
}

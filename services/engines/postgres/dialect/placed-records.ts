/** DDL records with their places: as rows of the stream, as one object, and what they say in a line. */
import type { SequenceTold } from '../../../core/ports/dialect.ts'
import { type ChangePlace, parsePosition, positionText } from '../../../core/position.ts'
import { type DdlRecord, parseDdlRecord } from './ddl-record.ts'

export interface PlacedDdl extends ChangePlace {
  readonly record: DdlRecord
}

/** A row of the table of records. */
export function recordOf(field: (name: string) => string | null | undefined): DdlRecord {
  const text = (name: string): string => field(name) ?? ''
  return parseDdlRecord({
    id: text('id'),
    xid: text('xid'),
    command: text('command'),
    kind: text('kind'),
    oid: field('oid') ?? null,
    facts: field('facts') ?? null,
    class: field('class'),
  })
}

/** DDL records apart from their segments, as JSON. */
export function placedText(records: readonly PlacedDdl[]): Buffer {
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

export function parsePlaced(bytes: Buffer): PlacedDdl[] {
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

/** Undefined for what only tells more of another record's command. */
export function changeText(record: DdlRecord): string | undefined {
  switch (record.kind) {
    case 'table':
    case 'type':
    case 'sequence':
      return `${record.command} ${record.facts.schema}.${record.facts.name}`
    case 'drop':
      // With a table go its types, indexes and constraints; with a column, the table's own record tells.
      return record.command === `DROP ${record.facts.type.toUpperCase()}`
        ? `${record.command} ${record.facts.identity}`
        : undefined
    case 'other':
      return record.facts.identity === null ? record.command : `${record.command} ${record.facts.identity}`
    case 'descendant':
    case 'rewrite':
    case 'publication':
      return undefined
  }
}

export function sequencesTold(record: DdlRecord): SequenceTold[] {
  if (record.kind === 'sequence') {
    const { schema, name } = record.facts
    return [{ oid: record.oid, schema, name, isGone: false }]
  }
  if (record.kind === 'drop' && record.facts.type === 'sequence') {
    const [schema = '', name = ''] = record.facts.names ?? []
    return [{ oid: record.oid, schema, name, isGone: true }]
  }
  if (record.kind !== 'table') return []
  // Their OIDs are in newer records alone.
  return record.facts.columns.flatMap(({ sequence }) =>
    sequence === null
      ? []
      : [{ oid: sequence.oid, schema: sequence.schema, name: sequence.name, isGone: false }],
  )
}

/** Which DDL records of a transaction leave a table in a state that the stream cannot tell. */
import { TidemarkError } from '../../../core/errors.ts'
import type { TableLoss } from '../../../core/ports/dialect.ts'
import type { RecordRow } from '../../../core/transaction.ts'
import { assessAlteration, assessRewrite } from './carry-over.ts'
import type { DdlRecord } from './ddl-record.ts'
import { recordOf } from './placed-records.ts'
import { type DescendantFacts, type TableFacts, tableColumn } from './schema-facts.ts'

export const LEFT_OUT = 'it is left out of the publication: no replica identity that serves'

export const LISTED =
  'the publication became a list of tables: what transactions that were open then had written before is not in the stream'

export const PUT_BACK =
  'somebody took it out of the publication and put it back, or put it there: what was written between is not in the stream'

export const JOINED =
  'rows of it were written before it came into the publication, which is a list of tables: they are not in the stream'

const ALTERED =
  'somebody changed the publication, or took it away and made it again, between two looks: what was written meanwhile may have been left out'

/** @throws TidemarkError PUBLICATION_UNSAFE where more may be missing than a gap of a table tells */
export function tableLosses(rows: readonly RecordRow[]): TableLoss[] {
  const records = rows.map((row) => recordOf((name) => row.get(name)))
  return records.flatMap((_, index) => lossesAt(records, index))
}

/** Commands of records that no user's command made: they are waited for. */
const OURS: ReadonlySet<string> = new Set(['REPAIR', 'LEAVE OUT', 'IDENTITY'])

export function repairedIn(row: RecordRow): string | undefined {
  return OURS.has(row.get('command') ?? '') ? (row.get('xid') ?? undefined) : undefined
}

function lossesAt(records: readonly DdlRecord[], index: number): TableLoss[] {
  const record = records[index]!
  const { oid } = record
  const repaired = repairOf(record)
  if (repaired !== undefined) {
    const reason = record.command === 'LEAVE OUT' ? LEFT_OUT : 'its schema changed without a record'
    return [{ oid, ...repaired, reason, since: 'checked' }]
  }
  if (record.kind === 'publication') {
    const { altered, listed, joined, tables } = record.facts
    if (altered === true) throw new TidemarkError('PUBLICATION_UNSAFE', ALTERED)
    if (joined !== undefined)
      return tables.map((table) => ({
        ...table,
        reason: JOINED,
        since: joined === 'made' ? ('here' as const) : ('checked' as const),
      }))
    return tables.map((table) =>
      listed === true
        ? { ...table, reason: LISTED, since: 'here' }
        : { ...table, reason: PUT_BACK, since: 'checked' },
    )
  }
  if (record.kind !== 'rewrite') return []
  const after = tableAfter(records, index, oid)
  // Dropped again in the same transaction, or no longer published: there is nothing to read again.
  if (after === undefined || after.persistence !== 'p') return []
  const reason = rewriteReason(record, after)
  return reason === undefined ? [] : [{ oid, schema: after.schema, name: after.name, reason, since: 'here' }]
}

/** The table whose missing record was made up for, or that was left out; undefined where it holds no rows of its own. */
function repairOf(record: DdlRecord): { schema: string; name: string } | undefined {
  if (record.command !== 'REPAIR' && record.command !== 'LEAVE OUT') return undefined
  if (record.kind === 'drop')
    return { schema: record.facts.names?.[0] ?? '', name: record.facts.names?.[1] ?? '' }
  if (record.kind !== 'table' && record.kind !== 'descendant') return undefined
  if (record.facts.kind !== 'r' || record.facts.persistence !== 'p') return undefined
  return { schema: record.facts.schema, name: record.facts.name }
}

/** Of a descendant only the columns that the command reached: the others are as they were. */
type TableAfter = TableFacts | DescendantFacts

/** The next record of the same table: what the command that rewrote it made of it. */
function tableAfter(records: readonly DdlRecord[], index: number, oid: number): TableAfter | undefined {
  for (const record of records.slice(index + 1)) {
    if (record.kind === 'table' && record.oid === oid) return record.facts
    if (record.kind === 'descendant' && record.oid === oid && (record.facts.columns ?? null) !== null)
      return record.facts
    if (record.kind === 'drop' && record.oid === oid) return undefined
  }
  return undefined
}

function rewriteReason(record: DdlRecord & { kind: 'rewrite' }, after: TableAfter): string | undefined {
  if (record.facts.before === null) return 'the table was rewritten, and what it was before is not known'
  const columns = (after.columns ?? []).map(tableColumn)
  const reasons = [
    assessAlteration(record.facts.before, columns),
    assessRewrite(record.facts.reason, record.facts.plain, record.facts.before, columns),
  ]
  return reasons.find((reason) => reason !== undefined)
}

/** Looks at DDL records as they pass: which of them leave a table in a state that the stream cannot tell. */
import type { Randomness } from '../core/clock.ts'
import { TidemarkError } from '../core/errors.ts'
import { comparePositions, type Position } from '../core/position.ts'
import type { GapNotice, TransactionPart } from '../core/transaction.ts'
import { assessAlteration, assessRewrite } from '../formats/carry-over.ts'
import { type DdlRecord, parseDdlRecord } from '../formats/ddl-record.ts'
import { type DescendantFacts, type TableFacts, tableColumn } from '../formats/schema-facts.ts'

export const LEFT_OUT = 'it is left out of the publication: no replica identity that serves'

export const LISTED =
  'the publication became a list of tables: what transactions that were open then had written before is not in the stream'

export const PUT_BACK =
  'somebody took it out of the publication and put it back, or put it there: what was written between is not in the stream'

const ALTERED =
  'somebody changed the publication, or took it away and made it again, between two looks: what was written meanwhile may have been left out'

export class DdlWatch {
  readonly #randomness: Randomness

  constructor(randomness: Randomness) {
    this.#randomness = randomness
  }

  /**
   * The table gaps that this transaction opens.
   *
   * @param checked where the catalog last agreed with the records: what a repair tells happened somewhere behind it
   * @throws TidemarkError PUBLICATION_UNSAFE where more may be missing than a gap of a table tells
   */
  gapsOf(part: TransactionPart, checked: Position): GapNotice[] {
    const records = part.ddl.map(parseDdlRecord)
    const gaps = new Map<number, GapNotice>()
    for (const [index, record] of records.entries()) {
      const repaired = repairOf(record)
      if (repaired !== undefined)
        this.#open(gaps, record.oid, {
          from: checked,
          reason: record.command === 'LEAVE OUT' ? LEFT_OUT : 'its schema changed without a record',
          ...repaired,
        })
      if (record.kind === 'publication')
        for (const table of record.facts.tables)
          this.#open(gaps, table.oid, {
            ...(record.facts.listed === true
              ? { from: part.head.position, reason: LISTED }
              : { from: checked, reason: PUT_BACK }),
            ...table,
          })
      if (record.kind === 'publication' && record.facts.altered === true)
        throw new TidemarkError('PUBLICATION_UNSAFE', ALTERED)
      if (record.kind !== 'rewrite') continue
      const after = tableAfter(records, index, record.oid)
      // Dropped again in the same transaction, or no longer published: there is nothing to read again.
      if (after === undefined || after.persistence !== 'p') continue
      const reason = rewriteReason(record, after)
      if (reason === undefined) continue
      this.#open(gaps, record.oid, {
        from: part.head.position,
        reason,
        schema: after.schema,
        name: after.name,
      })
    }
    return [...gaps.values()]
  }

  /** One gap a table, from the earliest place on, that gives every reason. */
  #open(gaps: Map<number, GapNotice>, oid: number, { from, reason, schema, name }: Opening): void {
    const was = gaps.get(oid)
    const before = was === undefined || was.reason === LEFT_OUT ? [] : was.reason.split(AND)
    gaps.set(oid, {
      id: was?.id ?? this.#randomness.uuid(),
      from: was === undefined || comparePositions(from, was.from) < 0 ? from : was.from,
      // Whether it is left out now is what the last record says.
      reason: reason === LEFT_OUT ? LEFT_OUT : [...new Set([...before, reason])].join(AND),
      scope: { kind: 'table', oid, schema, name },
    })
  }
}

const AND = '; '

interface Opening {
  readonly from: Position
  readonly reason: string
  readonly schema: string
  readonly name: string
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

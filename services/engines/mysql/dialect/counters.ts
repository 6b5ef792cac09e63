/** What gives tables and sequences of a target the numbers that they go on with. */
import type { SequenceAt, SequencesAt } from '../../../core/ports/dialect.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { tableId } from './mysql-table.ts'
import { quoteName, quoteText, type TableName } from './names.ts'

const SEQUENCE_BIT = 1

/** A counter of a table and a sequence share their form: the number tells which it is. */
export function counterId(name: TableName, kind: 'table' | 'sequence'): number {
  const id = tableId(name) - (tableId(name) % 2)
  return kind === 'sequence' ? id + SEQUENCE_BIT : id
}

/** How far it may have come: twice the greatest advance between two samples behind the last one. */
function next({ lastValue, later, isBehind, advance }: SequenceAt): bigint {
  const seen = BigInt(later ?? lastValue)
  const from = seen > BigInt(lastValue) ? seen : BigInt(lastValue)
  return isBehind ? from + 2n * BigInt(advance ?? '0') : from
}

/** A table's own counter is never behind its rows: the server sees to that. */
export function counterStatements({ sequences }: SequencesAt): SchemaStatement[] {
  return sequences.map((sequence) => {
    const { schema, name, oid } = sequence
    const value = next(sequence)
    return oid !== undefined && oid % 2 === SEQUENCE_BIT
      ? schemaStatement(
          RANK.state,
          { kind: 'sequence', schema, name },
          `SELECT SETVAL(${quoteName(name)}, ${value}, 0)`,
        )
      : schemaStatement(
          RANK.state,
          { kind: 'counter', schema, name, table: name },
          `ALTER TABLE ${quoteName(name)} AUTO_INCREMENT = ${value}`,
        )
  })
}

export function counterNotes({ sequences }: SequencesAt): readonly string[] {
  const behind = sequences.filter(({ isBehind }) => isBehind)
  return behind.length === 0
    ? []
    : [
        `no sample at or after this point tells the counters of ${behind.length} tables and sequences: each goes on behind its last one by twice the greatest advance seen (${behind
          .slice(0, 20)
          .map(({ name }) => quoteText(name))
          .join(', ')}${behind.length > 20 ? ', …' : ''})`,
      ]
}

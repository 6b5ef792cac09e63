/** PostgreSQL's dialect: what its schemas and rows mean, without a connection. */
import type {
  Dialect,
  RecordWords,
  RowWords,
  SchemaWords,
  SequenceWords,
  TableWords,
} from '../../../core/ports/dialect.ts'
import type { Refusal } from '../../../core/ports/target.ts'
import { tableStatements } from './table-statements.ts'
import type { DdlRecord } from './ddl-record.ts'
import { isAbsent, isOfTheMoment, looserForms, rowsLeft } from './looser-table.ts'
import {
  changeText,
  parsePlaced,
  type PlacedDdl,
  placedText,
  recordOf,
  sequencesTold,
} from './placed-records.ts'
import { unknownRight } from './newer-rights.ts'
import { joinedBy, joinedIn } from './partitions.ts'
import { plainerTables } from './plainer-table.ts'
import { PostgresTable } from './postgres-table.ts'
import { PostgresReadings } from './readings-at-point.ts'
import { PostgresTableChanges } from './table-changes.ts'
import { LEFT_OUT, repairedIn, tableLosses } from './table-losses.ts'
import { BinaryPrinter, canBeBinary } from './binary-rows.ts'
import { PostgresRowDigest } from './row-digest.ts'
import { ruleForNewRows } from './rules-for-new-rows.ts'
import { dutyOf, schemaSteps } from './schema-steps.ts'
import { scriptHead, withoutPasswords } from './script.ts'
import { sequenceNotes, sequenceStatements } from './sequence-values.ts'
import { TextPrinter } from './text-rows.ts'

const records: RecordWords = {
  holds: ({ schema, name }) => schema === 'tidemark' && name === 'ddl',
  parse: recordOf,
  print: (placed: readonly PlacedDdl[]) => placedText(placed),
  read: parsePlaced,
  text: (record: DdlRecord) => changeText(record),
  tableNamed: (record: DdlRecord) => (record.kind === 'table' ? record.facts : undefined),
  joined: (record: DdlRecord) => joinedIn(record),
  sequences: (record: DdlRecord) => sequencesTold(record),
  losses: tableLosses,
  repairedIn,
  leftOut: LEFT_OUT,
}

const keyOf = ({ facts }: PostgresTable): string => `pg_class:${facts.oid}`

const tables: TableWords = {
  parse: (text) => PostgresTable.parse(text),
  changes: () => new PostgresTableChanges(),
  key: keyOf,
  statements: (table: PostgresTable) =>
    tableStatements(table.facts).map((statement) => ({ ...statement, of: keyOf(table) })),
  renamed: ({ facts }: PostgresTable, name) => new PostgresTable({ ...facts, name }),
  // NAMEDATALEN - 1
  nameBytes: 63,
  plainer: ({ facts }: PostgresTable, missing) => plainerTables(facts, missing),
  looser: ({ facts }: PostgresTable, state) => looserForms(facts, state),
  isOfTheMoment,
  isAbsent,
  rowsLeft: ({ facts }: PostgresTable) => rowsLeft(facts),
}

const schemas: SchemaWords = {
  readings: (placed: readonly PlacedDdl[], point, firstTransaction) =>
    new PostgresReadings(placed, point, firstTransaction),
  steps: schemaSteps,
  duty: dutyOf,
  // What is sent in one message is one transaction.
  together: (statements) => ({ ...statements[0]!, sql: statements.map(({ sql }) => sql).join('; ') }),
  makesTable: ({ sql, objects: [self] }) => self?.kind === 'table' && /^CREATE (UNLOGGED )?TABLE /.test(sql),
  makesRows: ({ sql, objects: [self] }) =>
    self?.kind === 'table' && /^CREATE TABLE (?!.* PARTITION BY )/s.test(sql),
  joined: joinedBy,
  isLacking,
  unknownRight,
  forNewRows: ruleForNewRows,
  scriptHead,
  withoutSecrets: withoutPasswords,
}

function isLacking({ state, reason }: Refusal, names: ReadonlySet<string>): boolean {
  // undefined_table, undefined_object
  const word = { '42P01': 'relation', '42704': 'type' }[state]
  return (
    word !== undefined &&
    [...names].some((name) =>
      [`"${name}"`, `"${name}[]"`, name].some((text) => reason.includes(`${word} ${text} does not exist`)),
    )
  )
}

const rows: RowWords = {
  printers: (relation, asText) => [
    ...(!asText && canBeBinary(relation.columns) ? [new BinaryPrinter(relation)] : []),
    new TextPrinter(relation, asText),
  ],
  digest: () => new PostgresRowDigest(),
}

const sequences: SequenceWords = { values: sequenceStatements, notes: sequenceNotes }

export const postgresDialect: Dialect = { records, tables, schemas, rows, sequences }

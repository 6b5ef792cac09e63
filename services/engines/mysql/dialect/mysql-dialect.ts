/** The dialect of MySQL and MariaDB: what their schemas and rows mean, without a connection. */
import type {
  Dialect,
  RecordWords,
  RowWords,
  SchemaSteps,
  SchemaWords,
  SequenceWords,
  TableChange,
  TableWords,
} from '../../../core/ports/dialect.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import { counterId, counterNotes, counterStatements } from './counters.ts'
import {
  CHANGED,
  type DdlRecord,
  lossOf,
  MADE,
  parseRecord,
  type PlacedDdl,
  printRecords,
  readRecords,
  RECORDS,
} from './ddl-record.ts'
import { LinePrinter } from './line-rows.ts'
import { MysqlTable, tableKeyOf } from './mysql-table.ts'
import { MysqlReadings } from './readings-at-point.ts'
import { MysqlRowDigest } from './row-digest.ts'

const records: RecordWords = {
  holds: ({ schema, name }) => schema === RECORDS.schema && name === RECORDS.name,
  parse: (field) => parseRecord({ xid: field('xid'), facts: field('facts') }),
  print: (placed: readonly PlacedDdl[]) => printRecords(placed),
  read: readRecords,
  text: ({ facts: { sql, schema, name } }: DdlRecord) => {
    // No command: the rows that nobody logged are told as a gap.
    if (sql === '') return undefined
    const [verb = '', what = ''] = sql.trim().split(/\s+/, 2)
    return `${verb.toUpperCase()} ${what.toUpperCase()} ${schema}.${name}`
  },
  tableNamed: ({ facts }: DdlRecord) =>
    facts.effect === 'created' || facts.effect === 'changed' || facts.effect === 'indexed'
      ? { schema: facts.schema, name: facts.name }
      : undefined,
  joined: () => [],
  sequences: ({ facts: { effect, what, schema, name, isGone } }: DdlRecord) => {
    if (effect === 'object')
      return what === 'sequence'
        ? [{ oid: counterId({ schema, name }, 'sequence'), schema, name, isGone: isGone === true }]
        : []
    return [{ oid: counterId({ schema, name }, 'table'), schema, name, isGone: effect === 'dropped' }]
  },
  losses: (rows) =>
    rows.flatMap((row) => lossOf(parseRecord({ xid: row.get('xid'), facts: row.get('facts') })) ?? []),
  repairedIn: () => undefined,
  // Every table with a place in the log is in it.
  leftOut: 'it is left out',
}

/** A table that was changed as a whole is what the next copy says; until then nobody knows. */
function changeBy(record: DdlRecord, latest: MysqlTable | undefined): TableChange | undefined {
  switch (record.facts.effect) {
    case 'dropped':
      return { kind: 'drop' }
    // A name is all that a table is known by: one that was dropped is there again.
    case 'created':
      return latest === undefined
        ? { kind: 'made' }
        : { kind: 'version', table: latest, gap: MADE, isMade: true }
    case 'changed':
      return latest === undefined ? undefined : { kind: 'version', table: latest, gap: CHANGED }
    case 'indexed':
    case 'object':
      return undefined
  }
}

const tables: TableWords = {
  parse: (text) => MysqlTable.parse(text),
  changes: () => ({ next: changeBy }),
  key: ({ facts }: MysqlTable) => tableKeyOf(facts),
  statements: (table: MysqlTable) => table.statements(),
  renamed: ({ facts }: MysqlTable, name) => new MysqlTable({ ...facts, name }),
  nameBytes: 64,
  plainer: () => [],
  looser: () => [],
  // Deadlock, lock wait timeout.
  isOfTheMoment: (state) => state === '40001' || state === 'HY000',
  isAbsent: (state) => state === '42S02',
  rowsLeft: ({ facts: { schema, name } }: MysqlTable) =>
    schemaStatement(RANK.create, { kind: 'table', schema, name }, ''),
}

function steps(statements: readonly SchemaStatement[]): SchemaSteps {
  const sorted = statements
    .map((statement, place) => ({ statement, place }))
    .sort((a, b) => a.statement.rank - b.statement.rank || a.place - b.place)
    .map(({ statement }) => statement)
  return {
    before: sorted.filter(({ phase }) => phase === 'before'),
    access: [],
    build: sorted.filter(({ phase }) => phase === 'after'),
    rights: [],
    check: [],
    last: [],
  }
}

const isTable = ({ rank, objects: [self] }: SchemaStatement): boolean =>
  self?.kind === 'table' && rank === RANK.create

const schemas: SchemaWords = {
  readings: (placed: readonly PlacedDdl[], point) => new MysqlReadings(placed, point),
  steps,
  duty: () => undefined,
  together: (statements) => ({ ...statements[0]!, sql: statements.map(({ sql }) => sql).join('; ') }),
  makesTable: isTable,
  makesRows: isTable,
  joined: () => undefined,
  // ER_NO_SUCH_TABLE
  isLacking: ({ state, reason }, names) =>
    state === '42S02' && [...names].some((name) => reason.includes(`.${name.slice(name.indexOf('.') + 1)}'`)),
  unknownRight: () => undefined,
  forNewRows: () => undefined,
  scriptHead: (about) => `-- ${about}\nSET foreign_key_checks = 0;\n`,
  withoutSecrets: (sql) => sql,
}

const rows: RowWords = {
  printers: (relation) => [
    new LinePrinter(relation, 'lines'),
    ...(relation.columns.some(({ native }) => native === 'enum')
      ? [new LinePrinter(relation, 'counted lines')]
      : []),
  ],
  digest: () => new MysqlRowDigest(),
}

const sequences: SequenceWords = { values: counterStatements, notes: counterNotes }

export const mysqlDialect: Dialect = { records, tables, schemas, rows, sequences }

/** PostgreSQL's dialect: what its schemas and rows mean, without a connection. */
import type { Dialect, RowWords, SchemaWords, SequenceWords } from '../../../core/ports/dialect.ts'
import { BinaryPrinter, canBeBinary } from './binary-rows.ts'
import { PostgresRowDigest } from './row-digest.ts'
import { ruleForNewRows } from './rules-for-new-rows.ts'
import { dutyOf, schemaSteps } from './schema-steps.ts'
import { scriptHead, withoutPasswords } from './script.ts'
import { sequenceNotes, sequenceStatements } from './sequence-values.ts'
import { TextPrinter } from './text-rows.ts'

const schemas: SchemaWords = {
  steps: schemaSteps,
  duty: dutyOf,
  // What is sent in one message is one transaction.
  together: (statements) => ({ ...statements[0]!, sql: statements.map(({ sql }) => sql).join('; ') }),
  makesTable: ({ sql, objects: [self] }) => self?.kind === 'table' && /^CREATE (UNLOGGED )?TABLE /.test(sql),
  makesRows: ({ sql, objects: [self] }) =>
    self?.kind === 'table' && /^CREATE TABLE (?!.* PARTITION BY )/s.test(sql),
  isLacking: ({ state, reason }, names) =>
    // 42P01: undefined_table
    state === '42P01' && [...names].some((name) => reason.includes(`relation "${name}" does not exist`)),
  forNewRows: ruleForNewRows,
  scriptHead,
  withoutSecrets: withoutPasswords,
}

const rows: RowWords = {
  printers: (relation, asText) => [
    ...(!asText && canBeBinary(relation.columns) ? [new BinaryPrinter(relation)] : []),
    new TextPrinter(relation, asText),
  ],
  digest: () => new PostgresRowDigest(),
}

const sequences: SequenceWords = { values: sequenceStatements, notes: sequenceNotes }

export const postgresDialect: Dialect = { schemas, rows, sequences }

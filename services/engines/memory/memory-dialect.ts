/** Dialect of the source in memory: its schema never changes, its rows are lines of text. */
import type { ByteSink } from '../../core/byte-sink.ts'
import type { ByteSource } from '../../core/byte-source.ts'
import { TidemarkError } from '../../core/errors.ts'
import type {
  Dialect,
  RecordWords,
  RowPrinter,
  RowWords,
  SchemaSteps,
  SchemaWords,
  TableDocument,
  TableWords,
} from '../../core/ports/dialect.ts'
import type { RelationVersion } from '../../core/relation.ts'
import type { SchemaStatement } from '../../core/transaction.ts'
import { printField } from '../../formats/value-printer.ts'
import { type MemoryTable, relationOf, tableStatement, versionOf } from './memory-table.ts'

export const MEMORY = 'memory'

const NOTHING: readonly never[] = []

interface MemoryDocument extends TableDocument {
  readonly table: MemoryTable
}

function documentOf(table: MemoryTable): MemoryDocument {
  return {
    table,
    version: versionOf(table),
    relation: relationOf(table),
    hasRows: true,
    extension: undefined,
  }
}

const records: RecordWords = {
  holds: () => false,
  parse: unrecorded,
  print: () => Buffer.from('[]'),
  read: () => NOTHING,
  text: unrecorded,
  tableNamed: unrecorded,
  joined: () => NOTHING,
  sequences: () => NOTHING,
  losses: () => NOTHING,
  repairedIn: unrecorded,
  leftOut: 'it is left out',
}

function unrecorded(): never {
  throw new TidemarkError('INTERNAL', 'the source in memory has no records of schema changes')
}

const tables: TableWords = {
  parse: (text) => documentOf(JSON.parse(text) as MemoryTable),
  changes: () => ({ next: () => undefined }),
  key: ({ table }: MemoryDocument) => `table:${table.oid}`,
  statements: ({ table }: MemoryDocument) => [tableStatement(table)],
  renamed: ({ table }: MemoryDocument, name) => documentOf({ ...table, name }),
  nameBytes: 64,
  plainer: () => NOTHING,
  looser: () => NOTHING,
  isOfTheMoment: () => false,
  isAbsent: () => false,
  rowsLeft: ({ table }: MemoryDocument) => tableStatement(table),
}

function steps(statements: readonly SchemaStatement[]): SchemaSteps {
  return {
    before: statements,
    access: NOTHING,
    build: NOTHING,
    rights: NOTHING,
    check: NOTHING,
    last: NOTHING,
  }
}

const schemas: SchemaWords = {
  readings: () => ({
    hasSeenBehind: () => false,
    schema: ({ statements }) => ({ statements, notes: NOTHING, leftOut: NOTHING }),
  }),
  steps,
  duty: () => undefined,
  together: ([first, ...more]) => ({ ...first!, sql: [first!, ...more].map(({ sql }) => sql).join('; ') }),
  makesTable: () => true,
  makesRows: () => true,
  joined: () => undefined,
  isLacking: () => false,
  unknownRight: () => undefined,
  forNewRows: () => undefined,
  scriptHead: (about) => `# ${about}\n`,
  withoutSecrets: (sql) => sql,
}

/** Fields between tabs, escaped; null is `\N`. */
class LinePrinter implements RowPrinter {
  readonly form = 'text'
  readonly #kinds

  constructor({ columns }: RelationVersion) {
    this.#kinds = columns.map(({ kind }) => kind)
  }

  head(): void {
    // Lines stand for themselves.
  }

  tail(): void {
    // Lines stand for themselves.
  }

  print(source: ByteSource, sink: ByteSink): boolean {
    let whole = true
    for (const [i, kind] of this.#kinds.entries()) {
      sink.reserve(1)
      if (i > 0) sink.byte(TAB)
      const state = printField(source, kind, sink)
      if (state === 'unchanged' || state === 'absent') whole = false
    }
    sink.reserve(1)
    sink.byte(NEWLINE)
    return whole
  }
}

const TAB = 9
const NEWLINE = 10

const rows: RowWords = {
  printers: (relation) => [new LinePrinter(relation)],
  digest: () => {
    throw new TidemarkError('INTERNAL', 'the source in memory is never compared by digests')
  },
}

export const memoryDialect: Dialect = {
  records,
  tables,
  schemas,
  rows,
  sequences: { values: () => NOTHING, notes: () => NOTHING },
}

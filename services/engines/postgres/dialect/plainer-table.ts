/** What a table is made as where the target refuses it as it was: from the nearest form to the plainest, for its rows. */
import type { PlainerTable } from '../../../core/ports/dialect.ts'
import type { SchemaStatement } from '../../../core/transaction.ts'
import type { TableFacts } from './schema-facts.ts'
import { RANK } from '../../../formats/rank.ts'
import { tableStatements } from './table-statements.ts'

type Columns = TableFacts['columns']

/** @param missing types, as format_type() prints them, that the target does not have */
export function plainerTables(facts: TableFacts, missing: ReadonlySet<string>): PlainerTable[] {
  const lacking = (column: Columns[number]): boolean => missing.has(column.type)
  const typed = facts.columns.map((column) => (lacking(column) ? textColumn(column) : column))
  const plain = typed.map((column) =>
    column.generated === '' ? { ...column, collation: null } : stored({ ...column, collation: null }),
  )
  const plainNames = new Set(plain.filter((c) => c.notNull).map((c) => c.name))
  // Without those on inherited columns: PostgreSQL before 18 has no words for them.
  const own = new Set(facts.columns.filter((c) => c.local).map((c) => c.name))
  const ownNotNulls = facts.notNulls?.filter((k) => own.has(k.column))
  const notNulls = ownNotNulls?.filter((k) => plainNames.has(k.column))
  const plainly = {
    columns: plain,
    accessMethod: null,
    options: null,
    ...(notNulls === undefined ? {} : { notNulls }),
  }
  const alone = { parents: null, partitionBound: null, partitionKey: null, ofType: null, kind: 'r' }
  const asText = facts.columns.filter(lacking).map((column) => column.name)
  const all = facts.columns.map((column) => column.name)
  const words = (text: string, names: readonly string[]): string =>
    `${text}${names.length === 0 ? '' : `${text === '' ? '' : '; '}as text: ${names.join(', ')}`}`
  const nearest = {
    columns: typed,
    accessMethod: null,
    ...(ownNotNulls === undefined ? {} : { notNulls: ownNotNulls }),
  }
  const forms: readonly [Partial<TableFacts>, readonly string[], string][] = [
    [nearest, asText, ''],
    // Before anything is taken from its columns: a child whose parent was left out computes its values itself.
    [{ ...nearest, ...alone }, asText, 'a table of its own'],
    [plainly, asText, 'without options, collations and generated values'],
    [{ ...plainly, ...alone }, asText, 'a table of its own'],
    [
      {
        columns: plain.map((column) => ({ ...textColumn(column), notNull: false })),
        accessMethod: null,
        options: null,
        notNulls: [],
        ...alone,
      },
      all,
      'a table of its own',
    ],
  ]
  return forms.map(([changed, names, text]) => ({
    statement: createOf({ ...facts, ...changed }),
    asText: names,
    instead: words(text, names) || 'a table of the default access method',
  }))
}

function createOf(facts: TableFacts): SchemaStatement {
  const create = tableStatements(facts).find((s) => /^CREATE /.test(s.sql) && s.rank <= RANK.child)
  if (create === undefined) throw new Error('a table without its own statement')
  return create
}

function textColumn(column: Columns[number]): Columns[number] {
  return { ...stored(column), type: 'text', collation: null, identity: '', sequence: null }
}

/** Its values are in no backup: an ordinary column without any. */
function stored(column: Columns[number]): Columns[number] {
  return column.generated === '' ? column : { ...column, generated: '', default: null, notNull: false }
}

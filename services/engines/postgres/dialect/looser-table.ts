/**
 * What is taken from a table that does not take its rows, one thing after the other: rules that the source let rows
 * break, types whose values name what is not there, expressions that fail. What was taken comes back behind the rows
 * where that is possible, and is told where it is not.
 */
import type { LooserTable } from '../../../core/ports/dialect.ts'
import { quoteLiteral, quoteName, quoteTable } from './quote.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import { ONE_CHAR, oneCharFromText } from './one-char.ts'
import type { TableFacts } from './schema-facts.ts'
import { RANK } from '../../../formats/rank.ts'
import { plainerTables } from './plainer-table.ts'

/** Types whose values are names of other objects, by OID: regproc, regprocedure, regoper … regcollation. */
const REG_TYPES: ReadonlySet<number> = new Set([
  24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191,
])

/** @param state SQLSTATE of the refusal: what it points at is taken first */
export function looserForms(facts: TableFacts, state: string): LooserTable[] {
  const forms = [withoutNotNull(facts), alone(facts), namesAsText(facts), withoutGenerated(facts)]
  const first = { '23502': forms[0], '23514': forms[1] }[state]
  const order = [first, ...forms.slice(2).filter((form) => form !== first)]
  return [...order, bareText(facts)].filter((form) => form !== undefined)
}

function statementOn(facts: TableFacts, rank: number, sql: string, part?: SchemaObject): SchemaStatement {
  const object = part ?? { kind: 'table', schema: facts.schema, name: facts.name }
  return { sql, phase: rank < RANK.key ? 'before' : 'after', rank, objects: [object] }
}

function columnOf(facts: TableFacts, name: string): SchemaObject {
  return { kind: 'column', schema: facts.schema, table: facts.name, name }
}

function withoutNotNull(facts: TableFacts): LooserTable | undefined {
  const columns = facts.columns.filter((c) => c.notNull && c.generated === '' && c.identity === '')
  if (columns.length === 0) return undefined
  const alter = (name: string, what: string): string =>
    `ALTER TABLE ONLY ${quoteTable(facts)} ALTER COLUMN ${quoteName(name)} ${what}`
  return {
    now: columns.map((c) => statementOn(facts, RANK.attach, alter(c.name, 'DROP NOT NULL'))),
    later: columns.map((c) =>
      statementOn(facts, RANK.constraint, alter(c.name, 'SET NOT NULL'), columnOf(facts, c.name)),
    ),
    lost: [],
    asText: false,
  }
}

/** Out of its partitioned table, whose bounds the rows do not keep. */
function alone(facts: TableFacts): LooserTable | undefined {
  const [parent] = facts.parents ?? []
  if (parent === undefined || facts.partitionBound === null) return undefined
  const name = quoteTable(facts)
  return {
    now: [statementOn(facts, RANK.attach, `ALTER TABLE ${quoteTable(parent)} DETACH PARTITION ${name}`)],
    later: [],
    lost: [
      {
        statement: statementOn(
          facts,
          RANK.attach,
          `ALTER TABLE ONLY ${quoteTable(parent)} ATTACH PARTITION ${name} ${facts.partitionBound}`,
        ),
        instead: 'a table of its own, with the rows',
      },
    ],
    asText: false,
  }
}

/** Text that not every version reads as it was meant ("char"). A value may name what is made only behind the rows (a view), or what had that name when the row was written. */
function namesAsText(facts: TableFacts): LooserTable | undefined {
  const columns = facts.columns.filter(
    (c) => (REG_TYPES.has(c.typeOid) || c.typeOid === ONE_CHAR) && c.generated === '',
  )
  if (columns.length === 0) return undefined
  const to = (column: (typeof columns)[number], type: string): string => {
    const name = quoteName(column.name)
    const value =
      column.typeOid === ONE_CHAR && type !== 'text' ? oneCharFromText(name) : `${name}::text::${type}`
    return `ALTER TABLE ${quoteTable(facts)} ALTER COLUMN ${name} TYPE ${type} USING ${value}`
  }
  return {
    now: columns.map((c) => statementOn(facts, RANK.attach, to(c, 'text'))),
    later: columns.map((c) => statementOn(facts, RANK.attachIndex, to(c, c.type), columnOf(facts, c.name))),
    lost: [],
    asText: true,
  }
}

function withoutGenerated(facts: TableFacts): LooserTable | undefined {
  const columns = facts.columns.filter((c) => c.generated === 's')
  if (columns.length === 0) return undefined
  const alter = `ALTER TABLE ${quoteTable(facts)} ALTER COLUMN`
  return {
    now: columns.flatMap((c) => [
      statementOn(facts, RANK.attach, `${alter} ${quoteName(c.name)} DROP EXPRESSION`),
      statementOn(facts, RANK.attach, `${alter} ${quoteName(c.name)} DROP NOT NULL`),
    ]),
    later: [],
    lost: columns.map((c) => ({
      statement: statementOn(
        facts,
        RANK.attach,
        `ALTER TABLE ${quoteTable(facts)} DROP COLUMN ${quoteName(c.name)}, ADD COLUMN ${quoteName(c.name)} ${c.type} GENERATED ALWAYS AS (${c.default ?? 'NULL'}) STORED`,
        columnOf(facts, c.name),
      ),
      instead: 'an ordinary column without values: they were computed and are in no backup',
    })),
    asText: false,
  }
}

function bareText(facts: TableFacts): LooserTable {
  const plainest = plainerTables(facts, new Set()).at(-1)!
  const asItWas = plainerTables(facts, new Set())[0]!
  return {
    now: [statementOn(facts, RANK.create, `DROP TABLE ${quoteTable(facts)}`), plainest.statement],
    later: [],
    lost: [{ statement: asItWas.statement, instead: plainest.instead }],
    asText: true,
  }
}

/** SQLSTATEs that say nothing about the rows: deadlocks, locks, what another session did meanwhile. */
export function isOfTheMoment(state: string): boolean {
  return /^(40|55|XX)/.test(state)
}

/** SQLSTATE undefined_table */
export function isAbsent(state: string): boolean {
  return state === '42P01'
}

/** Of a table that an extension was to make. */
export function rowsLeft(facts: TableFacts): SchemaStatement {
  return {
    rank: RANK.extension,
    phase: 'before',
    objects: [{ kind: 'table', schema: facts.schema, name: facts.name }],
    sql: `SELECT 'rows of ' || ${quoteLiteral(quoteTable(facts))} || ', of extension ' || ${quoteLiteral(facts.extension ?? '')}`,
  }
}

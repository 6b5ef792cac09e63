/**
 * A table behind a command at one that it hangs on. The command's record tells the parts that it reached, and is laid over facts
 * that may be older than the reading of the schema: what changed since without a record the reading alone has.
 */
import type { SchemaStatement } from '../../../core/transaction.ts'
import { isRights, rightsWithColumns } from './rights.ts'
import { namesNow, type TableFacts } from './schema-facts.ts'
import { tableStatements } from './table-statements.ts'

/** What a statement sets, without what it sets it to: one of a table or of a part of it. */
const SETS =
  /^(?:CREATE |COMMENT ON .*? IS |ALTER .*? (?:ATTACH PARTITION|INHERIT|CLUSTER ON|REPLICA IDENTITY|OWNER TO|ADD CONSTRAINT|VALIDATE CONSTRAINT|SET (?:DEFAULT|STORAGE|COMPRESSION|STATISTICS|NOT NULL|EXPRESSION|LOGGED|UNLOGGED|\()|(?:ENABLE|DISABLE|FORCE)\b[A-Z ]*) ?)/s

function slotOf({ sql, objects: [object] }: SchemaStatement): string {
  const part = `${object?.kind ?? ''} ${object?.schema ?? ''}.${object?.table ?? ''}.${object?.name ?? ''}`
  const sets = (SETS.exec(sql)?.[0] ?? sql).replace(/(ENABLE|DISABLE)( REPLICA| ALWAYS)?/, 'FIRES')
  return `${part} ${sets}`
}

function bySlot(statements: readonly SchemaStatement[]): Map<string, SchemaStatement[]> {
  return Map.groupBy(statements, slotOf)
}

function same(a: readonly SchemaStatement[] = [], b: readonly SchemaStatement[] = []): boolean {
  return a.length === b.length && a.every(({ sql }, i) => sql === b[i]!.sql)
}

const isCreate = ({ sql }: SchemaStatement): boolean => /^CREATE (?:UNLOGGED )?TABLE /.test(sql)
const isComment = ({ sql }: SchemaStatement): boolean => sql.startsWith('COMMENT ')

/** Parts that have a comment alone: it came with facts that had the part. */
function withParts(statements: readonly SchemaStatement[]): SchemaStatement[] {
  const key = ({ objects: [o] }: SchemaStatement): string => `${o?.kind ?? ''} ${o?.name ?? ''}`
  const made = new Set(statements.filter((one) => !isComment(one)).map(key))
  return statements.filter((one) => !isComment(one) || made.has(key(one)))
}

/** The reading has them as they were by then, whoever gave them; a command at a parent renames or drops their columns alone. */
function rightsAsRead(
  read: readonly SchemaStatement[],
  before: TableFacts,
  now: TableFacts,
): SchemaStatement[] {
  const names = namesNow(before.columns, now.columns)
  return read.filter(isRights).flatMap((statement) => {
    const sql = rightsWithColumns(statement.sql, names)
    return sql === undefined ? [] : [{ ...statement, sql }]
  })
}

/**
 * @param read the reading's statements of the table
 * @param before the table's facts by the records in front of the reading, `now` by those behind it as well
 * @returns the statements, and whether its columns changed both with a record and without one
 */
export function tableAsRead(
  read: readonly SchemaStatement[],
  before: TableFacts,
  now: TableFacts,
): { readonly statements: SchemaStatement[]; readonly isTorn: boolean } {
  const [was, is, seen] = [tableStatements(before), tableStatements(now), read].map((all) =>
    bySlot(all.filter((one) => !isRights(one))),
  ) as [Map<string, SchemaStatement[]>, Map<string, SchemaStatement[]>, Map<string, SchemaStatement[]>]
  const statements: SchemaStatement[] = []
  // A slot that the records changed is as they say: they read it when it changed.
  for (const [slot, own] of is) statements.push(...(same(own, was.get(slot)) ? (seen.get(slot) ?? []) : own))
  for (const [slot, own] of seen) if (!is.has(slot) && !was.has(slot)) statements.push(...own)
  const made = read.filter(isCreate)
  const mayBeRead = [undefined, true, false].map((inheritsInOrder) =>
    tableStatements(
      before.parents === null || before.partitionBound !== null ? before : { ...before, inheritsInOrder },
    ).filter(isCreate),
  )
  const isTorn = !same(made, statements.filter(isCreate)) && !mayBeRead.some((one) => same(made, one))
  return { statements: [...withParts(statements), ...rightsAsRead(read, before, now)], isTorn }
}

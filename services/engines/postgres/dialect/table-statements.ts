/**
 * The SQL that makes a table again, from its facts: in two parts, so that rows are loaded into a bare table. Columns
 * keep their order (the general schema differs do not), and everything else is the server's own pg_get_*def text.
 */
import { quoteLiteral, quoteName, quoteTable } from './quote.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import { collect, RANK, type Say } from '../../../formats/rank.ts'
import { sayComments, sayIndexes, sayOwnerAndRights, sayRulesAndTriggers } from './relation-parts.ts'
import type { ColumnFacts, DescendantFacts, TableFacts } from './schema-facts.ts'

/**
 * What stands in CREATE for one column; its default comes after the rows.
 *
 * @param inherits whether CREATE names the parents
 */
export function columnClause(table: TableFacts, column: ColumnFacts, inherits = false): string {
  const parts = [quoteName(column.name), column.type]
  if (column.collation !== null) parts.push(`COLLATE ${column.collation}`)
  if (column.generated !== '' && column.default !== null) {
    parts.push(`GENERATED ALWAYS AS (${column.default}) ${column.generated === 's' ? 'STORED' : 'VIRTUAL'}`)
  } else if (column.identity !== '' && column.sequence !== null) {
    const s = column.sequence
    parts.push(
      `GENERATED ${column.identity === 'a' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY (SEQUENCE NAME ${quoteTable(s)} START WITH ${s.start} INCREMENT BY ${s.increment} MINVALUE ${s.min} MAXVALUE ${s.max} CACHE ${s.cache} ${s.cycle ? 'CYCLE' : 'NO CYCLE'})`,
    )
  }
  const named = table.notNulls?.find((k) => k.column === column.name)
  // With INHERITS the parent's comes by itself, as the parent's.
  if (inherits && column.local && named?.local === false) return parts.join(' ')
  if (named === undefined) parts.push(...(column.notNull ? ['NOT NULL'] : []))
  else if (named.valid)
    parts.push(`CONSTRAINT ${quoteName(named.name)} NOT NULL${named.noInherit ? ' NO INHERIT' : ''}`)
  return parts.join(' ')
}

const STORAGE: Readonly<Record<string, string>> = { p: 'PLAIN', e: 'EXTERNAL', x: 'EXTENDED', m: 'MAIN' }
const COMPRESSION: Readonly<Record<string, string>> = { p: 'pglz', l: 'lz4' }
const POLICY_COMMAND: Readonly<Record<string, string>> = {
  r: 'SELECT',
  a: 'INSERT',
  w: 'UPDATE',
  d: 'DELETE',
  '*': 'ALL',
}

export function tableStatements(table: TableFacts): SchemaStatement[] {
  // Its extension makes it.
  if (table.extension != null) return []
  const self: SchemaObject = { kind: 'table', schema: table.schema, name: table.name }
  return collect(self, (say) => {
    const inherits =
      table.parents !== null &&
      table.partitionBound === null &&
      // Some facts do not say it: where all columns are its own, INHERIT may have come later, and whether one that is its
      // own is a parent's as well is not known.
      (table.inheritsInOrder ?? (table.columns.some((c) => !c.local) && inheritedFirst(table.columns))) &&
      // Before 16 CREATE takes no expression for a column that a parent has as well; INHERIT behind it does.
      !(table.columns.every((c) => c.local) && table.columns.some((c) => c.generated !== ''))
    sayTable(say, table, inherits)
    if (inherits)
      for (const name of table.notNullAlone ?? [])
        say(RANK.attach, `ALTER TABLE ONLY ${quoteTable(table)} ALTER COLUMN ${quoteName(name)} SET NOT NULL`)
    sayNotNulls(say, table)
    if (inherits) sayExpressions(say, table)
    sayColumns(say, table)
    sayParents(say, table, inherits)
    sayConstraints(say, table)
    sayIndexes(say, table, 'TABLE')
    sayIdentity(say, table)
    sayRulesAndTriggers(say, table)
    sayPolicies(say, table)
    sayComments(say, table, 'TABLE')
    sayOwnerAndRights(say, table, 'TABLE')
  })
}

/** What a command at its parent gave a table of which there are no other facts: constraints and indexes. */
export function partStatements(change: DescendantFacts): SchemaStatement[] {
  const { schema, name, kind } = change
  return collect({ kind: 'table', schema, name }, (say) => {
    sayConstraints(say, { schema, name, kind, constraints: change.constraints ?? [] })
    sayIndexes(say, { schema, name, indexes: change.indexes ?? [] }, 'TABLE')
  })
}

function sayTable(say: Say, table: TableFacts, inherits: boolean): void {
  const options = [
    ...(table.options ?? []).map(optionClause),
    ...(table.toastOptions ?? []).map((option) => `toast.${optionClause(option)}`),
  ]
  const persistence = table.persistence === 'u' ? 'UNLOGGED ' : ''
  const method =
    table.accessMethod === null || table.accessMethod === 'heap'
      ? ''
      : ` USING ${quoteName(table.accessMethod)}`
  const partitioned = table.partitionKey === null ? '' : ` PARTITION BY ${table.partitionKey}`
  // A child's inherited columns come from INHERITS where that gives the same order; a column that the parent got later
  // stands behind the child's own, and then all are spelled out (and are the child's own as well as inherited).
  const columns = inherits ? table.columns.filter((c) => c.local) : table.columns
  const clauses = [
    ...columns.map((c) => columnClause(table, c, inherits)),
    ...ownNotNulls(table, inherits).map((k) => notNullClause(k)),
  ]
  const from = inherits ? ` INHERITS (${table.parents!.map(quoteTable).join(', ')})` : ''
  say(
    inherits ? RANK.child : RANK.create,
    `CREATE ${persistence}TABLE ${quoteTable(table)} (${clauses.join(', ')})${from}${partitioned}${method}${options.length === 0 ? '' : ` WITH (${options.join(', ')})`}`,
  )
}

type NotNullFacts = NonNullable<TableFacts['notNulls']>[number]

function notNullClause(k: NotNullFacts): string {
  return `CONSTRAINT ${quoteName(k.name)} NOT NULL ${quoteName(k.column)}${k.noInherit ? ' NO INHERIT' : ''}`
}

/** A child's own on columns that it inherits: made later, they would find the parent's there under another name. */
function ownNotNulls(table: TableFacts, inherits: boolean): NotNullFacts[] {
  const inherited = new Set(table.columns.filter((c) => inherits && !c.local).map((c) => c.name))
  return (table.notNulls ?? []).filter(
    (k) => k.valid && (k.local || k.namedApart === true) && inherited.has(k.column),
  )
}

/** NOT NULL constraints that CREATE does not make: PostgreSQL 18 names them and lets them be NOT VALID. */
function sayNotNulls(say: Say, table: TableFacts): void {
  for (const k of table.notNulls ?? []) {
    const object: SchemaObject = { kind: 'constraint', schema: table.schema, table: table.name, name: k.name }
    const alter = `ALTER TABLE ${quoteTable(table)}`
    // A parent's reaches its children and gives theirs its own name: what has another one there comes before it.
    const comesByItself = table.parents !== null && !k.local && k.namedApart === false
    if (!k.valid && !comesByItself)
      say(
        table.parents === null ? RANK.constraint : RANK.constraint - 1,
        `${alter} ADD ${notNullClause(k)} NOT VALID`,
        object,
      )
    if (k.validBeforeParent)
      say(RANK.constraint + 1, `${alter} VALIDATE CONSTRAINT ${quoteName(k.name)}`, object)
  }
}

/**
 * A generated column that comes from a parent computes as there, unless it was given an expression of its own behind that (SET
 * EXPRESSION, of PostgreSQL 17): no facts of the child alone say so.
 */
function sayExpressions(say: Say, table: TableFacts): void {
  const name = quoteTable(table)
  for (const c of table.columns) {
    if (c.local || c.generated === '' || c.default === null) continue
    const command = `ALTER TABLE ONLY ${name} ALTER COLUMN ${quoteName(c.name)} SET EXPRESSION AS (${c.default})`
    say(
      RANK.attach,
      `DO $tidemark$ BEGIN PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
  IF (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = ${quoteLiteral(name)}::pg_catalog.regclass AND a.attname = ${quoteLiteral(c.name)}) <> ${quoteLiteral(c.default)} THEN EXECUTE ${quoteLiteral(command)}; END IF; END $tidemark$`,
    )
  }
}

export function sayColumns(say: Say, table: TableFacts, word = 'TABLE'): void {
  for (const c of table.columns) {
    const alter = `ALTER ${word} ${word === 'TABLE' ? 'ONLY ' : ''}${quoteTable(table)} ALTER COLUMN ${quoteName(c.name)}`
    if (c.storage !== null) say(RANK.attach, `${alter} SET STORAGE ${STORAGE[c.storage] ?? 'EXTENDED'}`)
    if (c.compression !== null)
      say(RANK.attach, `${alter} SET COMPRESSION ${COMPRESSION[c.compression] ?? 'pglz'}`)
    if (c.statistics !== null) say(RANK.behaviour, `${alter} SET STATISTICS ${c.statistics}`)
    if (c.options != null) say(RANK.behaviour, `${alter} SET (${c.options.map(optionClause).join(', ')})`)
    if (c.default !== null && c.generated === '' && c.identity === '')
      say(RANK.constraint, `${alter} SET DEFAULT ${c.default}`)
  }
}

function sayParents(say: Say, table: TableFacts, inherits: boolean): void {
  const name = quoteTable(table)
  for (const parent of table.parents ?? []) {
    if (table.partitionBound !== null)
      say(
        RANK.attach,
        `ALTER TABLE ONLY ${quoteTable(parent)} ATTACH PARTITION ${name} ${table.partitionBound}`,
      )
    else if (!inherits) say(RANK.attach, `ALTER TABLE ONLY ${name} INHERIT ${quoteTable(parent)}`)
  }
  if (table.ofType !== null) say(RANK.behaviour, `ALTER TABLE ONLY ${name} OF ${table.ofType}`)
}

const UNCHECKED = / NOT (VALID|ENFORCED)$/

/** A check reaches the children by itself; theirs of the same name and text then becomes one with it, in either order. */
export function sayConstraints(
  say: Say,
  table: Pick<TableFacts, 'schema' | 'name' | 'kind' | 'constraints'>,
  word = 'TABLE',
): void {
  const name = quoteTable(table)
  for (const k of table.constraints) {
    const object: SchemaObject = { kind: 'constraint', schema: table.schema, table: table.name, name: k.name }
    const add = `ADD CONSTRAINT ${quoteName(k.name)} ${k.definition}`
    if (k.type === 'x' && k.parentIndex !== null) {
      say(RANK.key + 1, renameInherited(name, k.parentIndex, k.name), object)
    } else if (k.type === 'x' && table.kind === 'p') {
      // The server attaches no index of an exclusion constraint to another: it has to make those of the partitions.
      say(RANK.key, `ALTER TABLE ${name} ${add}`, object)
    } else if (k.type === 'p' || k.type === 'u' || k.type === 'x') {
      say(RANK.key, `ALTER TABLE ONLY ${name} ${add}`, object)
      if (k.parentIndex !== null && k.index !== null)
        say(
          RANK.attachIndex,
          `ALTER INDEX ${k.parentIndex} ATTACH PARTITION ${quoteTable({ schema: table.schema, name: k.index })}`,
          object,
        )
      if (k.clustered === true && k.index !== null)
        say(RANK.behaviour, `ALTER TABLE ${name} CLUSTER ON ${quoteName(k.index)}`, object)
    } else if (k.type === 'c') {
      if (!k.inherited) say(RANK.constraint, `ALTER ${word} ${name} ${add}`, object)
      // A parent's NOT VALID comes down so, and may have been looked at here alone: the restore knows whether it has one.
      else if (word === 'TABLE' && !UNCHECKED.test(k.definition))
        say(RANK.validate, `ALTER TABLE ${name} VALIDATE CONSTRAINT ${quoteName(k.name)}`, object)
    } else if (k.type === 'f') {
      if (!k.hasParent)
        say(RANK.foreignKey, `ALTER TABLE ${table.kind === 'p' ? '' : 'ONLY '}${name} ${add}`, object)
    }
    // Constraint triggers come with the triggers.
  }
}

/** Gives the constraint that came from the parent's the name that it had at the source. */
function renameInherited(table: string, parentIndex: string, wanted: string): string {
  return `DO $tidemark$ DECLARE made name; BEGIN
  SELECT k.conname INTO STRICT made FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_inherits i ON i.inhrelid = k.conindid WHERE k.conrelid = ${quoteLiteral(table)}::pg_catalog.regclass AND i.inhparent = ${quoteLiteral(parentIndex)}::pg_catalog.regclass;
  IF made <> ${quoteLiteral(wanted)} THEN EXECUTE pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', ${quoteLiteral(table)}, made, ${quoteLiteral(wanted)}); END IF; END $tidemark$`
}

/** One that Tidemark gave is not the application's: the restored table has what was before, and the next `init` sees to it. */
function sayIdentity(say: Say, table: TableFacts): void {
  const alter = `ALTER TABLE ONLY ${quoteTable(table)} REPLICA IDENTITY`
  const { identity, index } = table.identityBefore ?? {
    identity: table.replicaIdentity,
    index: table.identityIndex,
  }
  if (identity === 'f') say(RANK.behaviour, `${alter} FULL`)
  else if (identity === 'n') say(RANK.behaviour, `${alter} NOTHING`)
  else if (identity === 'i' && index !== null && hasIndex(table, index))
    say(RANK.behaviour, `${alter} USING INDEX ${quoteName(index)}`)
}

function hasIndex(table: TableFacts, name: string): boolean {
  return (
    table.indexes.some((index) => index.name === name) ||
    table.constraints.some((constraint) => constraint.index === name)
  )
}

function sayPolicies(say: Say, table: TableFacts): void {
  for (const p of table.policies) {
    const using = p.using === null ? '' : ` USING (${p.using})`
    const check = p.check === null ? '' : ` WITH CHECK (${p.check})`
    say(
      RANK.behaviour,
      `CREATE POLICY ${quoteName(p.name)} ON ${quoteTable(table)} AS ${p.permissive ? 'PERMISSIVE' : 'RESTRICTIVE'} FOR ${POLICY_COMMAND[p.command] ?? 'ALL'} TO ${p.roles.join(', ')}${using}${check}`,
      { kind: 'policy', schema: table.schema, table: table.name, name: p.name },
    )
  }
}

/** Whether all inherited columns stand in front of the child's own. */
function inheritedFirst(columns: readonly ColumnFacts[]): boolean {
  const firstOwn = columns.findIndex((c) => c.local)
  return firstOwn < 0 || columns.slice(firstOwn).every((c) => c.local)
}

/** name=value as the server has it, with the value quoted. */
export function optionClause(option: string): string {
  const cut = option.indexOf('=')
  return cut < 0 ? option : `${option.slice(0, cut)}=${quoteLiteral(option.slice(cut + 1))}`
}

/**
 * The SQL that makes a table again, from its facts: in two parts, so that rows are loaded into a bare table. Columns
 * keep their order (the general schema differs do not), and everything else is the server's own pg_get_*def text.
 */
import { quoteLiteral, quoteName, quoteTable } from '../core/relation.ts'
import type { SchemaObject, SchemaStatement } from '../core/transaction.ts'
import type { ColumnFacts, SequenceFacts, TableFacts, TypeFacts } from './schema-facts.ts'

/** Phases of a schema: lower ranks first. Inside a rank the order given is kept. */
export const RANK = {
  cluster: -30,
  schema: -20,
  extension: -10,
  create: 0,
  child: 5,
  attach: 10,
  key: 20,
  constraint: 30,
  index: 40,
  attachIndex: 50,
  foreignKey: 60,
  behaviour: 70,
  rights: 80,
} as const

function columnClause(column: ColumnFacts, withDefault: boolean): string {
  const parts = [quoteName(column.name), column.type]
  if (column.collation !== null) parts.push(`COLLATE ${column.collation}`)
  if (column.generated !== '' && column.default !== null) {
    parts.push(`GENERATED ALWAYS AS (${column.default}) ${column.generated === 's' ? 'STORED' : 'VIRTUAL'}`)
  } else if (column.identity !== '' && column.sequence !== null) {
    const s = column.sequence
    parts.push(
      `GENERATED ${column.identity === 'a' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY (SEQUENCE NAME ${quoteTable(s)} START WITH ${s.start} INCREMENT BY ${s.increment} MINVALUE ${s.min} MAXVALUE ${s.max} CACHE ${s.cache} ${s.cycle ? 'CYCLE' : 'NO CYCLE'})`,
    )
  } else if (withDefault && column.default !== null) {
    parts.push(`DEFAULT ${column.default}`)
  }
  if (column.notNull) parts.push('NOT NULL')
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

// biome-ignore lint/complexity/noExcessiveCognitiveComplexity: a list of clauses, one branch for each
export function tableStatements(table: TableFacts): SchemaStatement[] {
  const name = quoteTable(table)
  const self: SchemaObject = { kind: 'table', schema: table.schema, name: table.name }
  const out: SchemaStatement[] = []
  const say = (rank: number, sql: string, object: SchemaObject = self): void => {
    out.push({ sql, phase: rank < RANK.key ? 'before' : 'after', objects: [object], rank })
  }
  const sub = (kind: string, sub: string): SchemaObject => ({
    kind,
    schema: table.schema,
    table: table.name,
    name: sub,
  })

  const options = table.options === null ? '' : ` WITH (${table.options.map(optionClause).join(', ')})`
  const persistence = table.persistence === 'u' ? 'UNLOGGED ' : ''
  const method =
    table.accessMethod === null || table.accessMethod === 'heap'
      ? ''
      : ` USING ${quoteName(table.accessMethod)}`
  const partitioned = table.partitionKey === null ? '' : ` PARTITION BY ${table.partitionKey}`
  // A child's inherited columns come from INHERITS where that gives the same order; a column that the parent got later
  // stands behind the child's own, and then all are spelled out (and are the child's own as well as inherited).
  const inherits = table.parents !== null && table.partitionBound === null && inheritedFirst(table.columns)
  const columns = inherits ? table.columns.filter((c) => c.local) : table.columns
  const from = inherits ? ` INHERITS (${table.parents!.map(quoteTable).join(', ')})` : ''
  say(
    inherits ? RANK.child : RANK.create,
    `CREATE ${persistence}TABLE ${name} (${columns.map((c) => columnClause(c, false)).join(', ')})${from}${partitioned}${method}${options}`,
  )
  for (const c of table.columns) {
    if (c.storage !== null)
      say(
        RANK.attach,
        `ALTER TABLE ONLY ${name} ALTER COLUMN ${quoteName(c.name)} SET STORAGE ${STORAGE[c.storage] ?? 'EXTENDED'}`,
      )
    if (c.compression !== null)
      say(
        RANK.attach,
        `ALTER TABLE ONLY ${name} ALTER COLUMN ${quoteName(c.name)} SET COMPRESSION ${COMPRESSION[c.compression] ?? 'pglz'}`,
      )
    if (c.statistics !== null)
      say(
        RANK.behaviour,
        `ALTER TABLE ONLY ${name} ALTER COLUMN ${quoteName(c.name)} SET STATISTICS ${c.statistics}`,
      )
    if (c.default !== null && c.generated === '' && c.identity === '')
      say(
        RANK.constraint,
        `ALTER TABLE ONLY ${name} ALTER COLUMN ${quoteName(c.name)} SET DEFAULT ${c.default}`,
      )
  }
  for (const parent of table.parents ?? []) {
    if (table.partitionBound !== null)
      say(
        RANK.attach,
        `ALTER TABLE ONLY ${quoteTable(parent)} ATTACH PARTITION ${name} ${table.partitionBound}`,
      )
    else if (!inherits) say(RANK.attach, `ALTER TABLE ONLY ${name} INHERIT ${quoteTable(parent)}`)
  }
  if (table.ofType !== null) say(RANK.behaviour, `ALTER TABLE ONLY ${name} OF ${table.ofType}`)

  for (const k of table.constraints) {
    const add = `ADD CONSTRAINT ${quoteName(k.name)} ${k.definition}`
    if (k.type === 'p' || k.type === 'u' || k.type === 'x') {
      say(RANK.key, `ALTER TABLE ONLY ${name} ${add}`, sub('constraint', k.name))
      if (k.parentIndex !== null && k.index !== null)
        say(
          RANK.attachIndex,
          `ALTER INDEX ${k.parentIndex} ATTACH PARTITION ${quoteTable({ schema: table.schema, name: k.index })}`,
          sub('constraint', k.name),
        )
    } else if (k.type === 'c') {
      if (!k.inherited)
        say(
          RANK.constraint,
          `ALTER TABLE ${table.kind === 'p' ? '' : 'ONLY '}${name} ${add}`,
          sub('constraint', k.name),
        )
    } else if (k.type === 'f') {
      if (!k.hasParent)
        say(
          RANK.foreignKey,
          `ALTER TABLE ${table.kind === 'p' ? '' : 'ONLY '}${name} ${add}`,
          sub('constraint', k.name),
        )
    } else if (k.type === 't') {
      // Constraint triggers come with the triggers.
    }
  }
  for (const x of table.indexes) {
    const object: SchemaObject = { kind: 'index', schema: x.schema, name: x.name, table: table.name }
    say(RANK.index, x.definition, object)
    if (x.parentIndex !== null)
      say(RANK.attachIndex, `ALTER INDEX ${x.parentIndex} ATTACH PARTITION ${quoteTable(x)}`, object)
    if (x.clustered) say(RANK.behaviour, `ALTER TABLE ${name} CLUSTER ON ${quoteName(x.name)}`, object)
  }
  if (table.replicaIdentity === 'f') say(RANK.behaviour, `ALTER TABLE ONLY ${name} REPLICA IDENTITY FULL`)
  else if (table.replicaIdentity === 'n')
    say(RANK.behaviour, `ALTER TABLE ONLY ${name} REPLICA IDENTITY NOTHING`)
  else if (table.replicaIdentity === 'i' && table.identityIndex !== null)
    say(
      RANK.behaviour,
      `ALTER TABLE ONLY ${name} REPLICA IDENTITY USING INDEX ${quoteName(table.identityIndex)}`,
    )

  for (const r of table.rules) say(RANK.behaviour, r.definition.replace(/;\s*$/, ''), sub('rule', r.name))
  for (const t of table.triggers) {
    say(RANK.behaviour, t.definition, sub('trigger', t.name))
    const state = { D: 'DISABLE', R: 'ENABLE REPLICA', A: 'ENABLE ALWAYS' }[t.enabled]
    if (state !== undefined)
      say(RANK.behaviour, `ALTER TABLE ${name} ${state} TRIGGER ${quoteName(t.name)}`, sub('trigger', t.name))
  }
  for (const p of table.policies) {
    const using = p.using === null ? '' : ` USING (${p.using})`
    const check = p.check === null ? '' : ` WITH CHECK (${p.check})`
    say(
      RANK.behaviour,
      `CREATE POLICY ${quoteName(p.name)} ON ${name} AS ${p.permissive ? 'PERMISSIVE' : 'RESTRICTIVE'} FOR ${POLICY_COMMAND[p.command] ?? 'ALL'} TO ${p.roles.join(', ')}${using}${check}`,
      sub('policy', p.name),
    )
  }
  for (const c of table.comments) {
    const on = c.column === null ? `TABLE ${name}` : `COLUMN ${name}.${quoteName(c.column)}`
    say(RANK.behaviour, `COMMENT ON ${on} IS ${quoteLiteral(c.text)}`)
  }
  if (table.rowSecurity) say(RANK.rights, `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`)
  if (table.forceRowSecurity) say(RANK.rights, `ALTER TABLE ${name} FORCE ROW LEVEL SECURITY`)
  for (const g of table.grants) {
    const column = g.column === null ? '' : ` (${quoteName(g.column)})`
    say(
      RANK.rights,
      `GRANT ${g.privilege}${column} ON TABLE ${name} TO ${g.grantee}${g.grantable ? ' WITH GRANT OPTION' : ''}`,
    )
  }
  say(RANK.rights, `ALTER TABLE ${name} OWNER TO ${quoteName(table.owner)}`)
  return out
}

/** Whether all inherited columns stand in front of the child's own. */
function inheritedFirst(columns: readonly ColumnFacts[]): boolean {
  const firstOwn = columns.findIndex((c) => c.local)
  return firstOwn < 0 || columns.slice(firstOwn).every((c) => c.local)
}

function optionClause(option: string): string {
  const cut = option.indexOf('=')
  return cut < 0 ? option : `${option.slice(0, cut)}=${quoteLiteral(option.slice(cut + 1))}`
}

/** The SQL that makes a type again. Empty for kinds that come with something else (a table's row type). */
export function typeStatements(type: TypeFacts): SchemaStatement[] {
  const name = quoteTable(type)
  const object: SchemaObject = { kind: 'type', schema: type.schema, name: type.name }
  const out: SchemaStatement[] = []
  const say = (rank: number, sql: string): void => {
    out.push({ sql, phase: rank < RANK.key ? 'before' : 'after', objects: [object], rank })
  }
  if (type.type === 'e') {
    say(
      RANK.create,
      `CREATE TYPE ${name} AS ENUM (${(type.labels ?? []).map((l) => quoteLiteral(l.label)).join(', ')})`,
    )
  } else if (type.type === 'd') {
    const collate = type.collation === null ? '' : ` COLLATE ${type.collation}`
    const missing = type.default === null ? '' : ` DEFAULT ${type.default}`
    const checks = (type.constraints ?? [])
      .map((k) => ` CONSTRAINT ${quoteName(k.name)} ${k.definition}`)
      .join('')
    say(
      RANK.create,
      `CREATE DOMAIN ${name} AS ${type.base ?? 'text'}${collate}${missing}${type.notNull ? ' NOT NULL' : ''}${checks}`,
    )
  } else if (type.type === 'c') {
    say(
      RANK.create,
      `CREATE TYPE ${name} AS (${(type.attributes ?? []).map((a) => `${quoteName(a.name)} ${a.type}`).join(', ')})`,
    )
  } else if (type.type === 'r' && type.subtype !== null) {
    const options = [`SUBTYPE = ${type.subtype.type}`]
    if (type.subtype.opclass !== null) options.push(`SUBTYPE_OPCLASS = ${type.subtype.opclass}`)
    if (type.subtype.multirange !== null) options.push(`MULTIRANGE_TYPE_NAME = ${type.subtype.multirange}`)
    say(RANK.create, `CREATE TYPE ${name} AS RANGE (${options.join(', ')})`)
  } else {
    return []
  }
  say(RANK.rights, `ALTER TYPE ${name} OWNER TO ${quoteName(type.owner)}`)
  return out
}

/** The SQL that makes a sequence again (those of identity columns come with their table). */
export function sequenceStatements(s: SequenceFacts): SchemaStatement[] {
  const name = quoteTable(s)
  const objects: SchemaObject[] = [{ kind: 'sequence', schema: s.schema, name: s.name }]
  const out: SchemaStatement[] = [
    {
      rank: RANK.create,
      phase: 'before',
      objects,
      sql: `CREATE SEQUENCE ${name} AS ${s.type} INCREMENT BY ${s.increment} MINVALUE ${s.min} MAXVALUE ${s.max} START WITH ${s.start} CACHE ${s.cache} ${s.cycle ? 'CYCLE' : 'NO CYCLE'}`,
    },
    {
      rank: RANK.rights,
      phase: 'after',
      objects,
      sql: `ALTER SEQUENCE ${name} OWNER TO ${quoteName(s.owner)}`,
    },
  ]
  // A sequence and the table that owns it have one owner: ownership by the column comes last of all.
  if (s.ownedBy !== null)
    out.push({
      rank: RANK.rights + 1,
      phase: 'after',
      objects,
      sql: `ALTER SEQUENCE ${name} OWNED BY ${s.ownedBy}`,
    })
  return out
}

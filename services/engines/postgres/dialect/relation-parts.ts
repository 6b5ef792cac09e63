/** What tables, views and foreign tables have in common: indexes, rules, triggers, comments, rights. */
import { quoteLiteral, quoteName, quoteTable } from './quote.ts'
import type { SchemaObject } from '../../../core/transaction.ts'
import { RANK, type Say } from '../../../formats/rank.ts'
import { columnRightsCommands, rightsCommands } from './rights.ts'
import type { TableFacts } from './schema-facts.ts'

const FIRED: Readonly<Record<string, string>> = {
  O: 'ENABLE',
  D: 'DISABLE',
  R: 'ENABLE REPLICA',
  A: 'ENABLE ALWAYS',
}

function partOf(relation: Pick<TableFacts, 'schema' | 'name'>, kind: string, name: string): SchemaObject {
  return { kind, schema: relation.schema, table: relation.name, name }
}

/** @param word as ALTER has it: TABLE, MATERIALIZED VIEW */
export function sayIndexes(
  say: Say,
  relation: Pick<TableFacts, 'schema' | 'name' | 'indexes'>,
  word: string,
): void {
  const name = quoteTable(relation)
  for (const x of relation.indexes) {
    const object = partOf({ ...relation, schema: x.schema }, 'index', x.name)
    say(RANK.index, x.definition, object)
    if (x.parentIndex !== null)
      say(RANK.attachIndex, `ALTER INDEX ${x.parentIndex} ATTACH PARTITION ${quoteTable(x)}`, object)
    for (const s of x.statistics ?? [])
      say(
        RANK.behaviour,
        `ALTER INDEX ${quoteTable(x)} ALTER COLUMN ${s.column} SET STATISTICS ${s.target}`,
        object,
      )
    if (x.clustered) say(RANK.behaviour, `ALTER ${word} ${name} CLUSTER ON ${quoteName(x.name)}`, object)
  }
}

export function sayRulesAndTriggers(say: Say, relation: TableFacts): void {
  const name = quoteTable(relation)
  for (const r of relation.rules) {
    const object = partOf(relation, 'rule', r.name)
    say(RANK.behaviour, r.definition.replace(/;\s*$/, ''), object)
    if (r.enabled !== undefined && r.enabled !== 'O')
      say(
        RANK.behaviour,
        `ALTER TABLE ${name} ${FIRED[r.enabled] ?? 'DISABLE'} RULE ${quoteName(r.name)}`,
        object,
      )
  }
  for (const t of relation.triggers) {
    const object = partOf(relation, 'trigger', t.name)
    say(RANK.behaviour, t.definition, object)
    if (t.enabled !== 'O')
      say(
        RANK.behaviour,
        `ALTER TABLE ${name} ${FIRED[t.enabled] ?? 'DISABLE'} TRIGGER ${quoteName(t.name)}`,
        object,
      )
  }
  // Behind the parent's, which reach its partitions too.
  for (const t of relation.triggerStates ?? [])
    say(
      RANK.state,
      `ALTER TABLE ${name} ${FIRED[t.enabled] ?? 'DISABLE'} TRIGGER ${quoteName(t.name)}`,
      partOf(relation, 'trigger', t.name),
    )
}

/** @param word as COMMENT ON has it: TABLE, VIEW, MATERIALIZED VIEW, FOREIGN TABLE */
export function sayComments(say: Say, relation: TableFacts, word: string): void {
  const name = quoteTable(relation)
  for (const c of relation.comments) {
    const on = c.column === null ? `${word} ${name}` : `COLUMN ${name}.${quoteName(c.column)}`
    say(RANK.behaviour, `COMMENT ON ${on} IS ${quoteLiteral(c.text)}`)
  }
  for (const c of relation.partComments ?? []) {
    const of =
      c.kind === 'INDEX'
        ? `INDEX ${quoteTable({ schema: relation.schema, name: c.name })}`
        : `${c.kind} ${quoteName(c.name)} ON ${name}`
    say(
      RANK.state,
      `COMMENT ON ${of} IS ${quoteLiteral(c.text)}`,
      partOf(relation, c.kind.toLowerCase(), c.name),
    )
  }
}

/** Owner first: it is who grants. @param word as ALTER … OWNER TO has it */
export function sayOwnerAndRights(say: Say, relation: TableFacts, word: string): void {
  const name = quoteTable(relation)
  say(RANK.rights, `ALTER ${word} ${name} OWNER TO ${quoteName(relation.owner)}`)
  if (relation.rowSecurity) say(RANK.rights, `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`)
  if (relation.forceRowSecurity) say(RANK.rights, `ALTER TABLE ${name} FORCE ROW LEVEL SECURITY`)
  const commands: string[] = []
  if (relation.acl !== undefined) {
    const { acl, aclDefault = null, owner } = relation
    commands.push(...rightsCommands({ on: `TABLE ${name}`, owner, acl, aclDefault }))
    for (const c of relation.columns)
      commands.push(...columnRightsCommands(`TABLE ${name}`, owner, c.name, c.acl ?? []))
  }
  for (const g of relation.grants) {
    const column = g.column === null ? '' : ` (${quoteName(g.column)})`
    commands.push(
      `GRANT ${g.privilege}${column} ON TABLE ${name} TO ${g.grantee}${g.grantable ? ' WITH GRANT OPTION' : ''}`,
    )
  }
  for (const command of commands) say(RANK.rights, command)
  for (const c of relation.columns) {
    const s = c.sequence
    if (s === null) continue
    // CREATE gives it what its table has. Servers before 15 know sequences of one kind only.
    if (s.persistence === 'u' && relation.persistence === 'p')
      say(RANK.behaviour, `ALTER SEQUENCE ${quoteTable(s)} SET UNLOGGED`)
    else if (s.persistence === 'p' && relation.persistence === 'u')
      say(
        RANK.behaviour,
        `DO $tidemark$ BEGIN IF pg_catalog.current_setting('server_version_num')::int >= 150000 THEN ALTER SEQUENCE ${quoteTable(s)} SET LOGGED; END IF; END $tidemark$`,
      )
    const rights = rightsCommands({
      on: `SEQUENCE ${quoteTable(s)}`,
      owner: relation.owner,
      acl: s.acl ?? null,
      aclDefault: s.aclDefault ?? null,
    })
    for (const command of rights) say(RANK.rights, command)
    if (s.comment !== null && s.comment !== undefined)
      say(RANK.behaviour, `COMMENT ON SEQUENCE ${quoteTable(s)} IS ${quoteLiteral(s.comment)}`)
  }
}

/**
 * The schema's statements in the order in which a restore runs them. Nothing that checks rows stands in the way of the
 * rows: domains are made bare, and checks and foreign keys first without a look at the rows, then validated.
 */
import type { Duty, SchemaSteps } from '../../../core/ports/dialect.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import { RANK, ROLE_ATTRIBUTES } from '../../../formats/rank.ts'
import { apartByServer } from './newer-rights.ts'
import { isOwnedBy, ownedByTables, unquoted } from './owned-sequences.ts'

const NAME = '"(?:[^"]|"")+"'
const ADD_CONSTRAINT = new RegExp(
  `^ALTER TABLE (ONLY )?(${NAME}\\.${NAME}) ADD CONSTRAINT (${NAME}) (CHECK|FOREIGN KEY) `,
)
/** What code of the source may run by the rights of, from the load on: never by those of whoever restores. */
const EARLY_OWNERS: ReadonlySet<string> = new Set(['table', 'type', 'function', 'procedure', 'aggregate'])
const WORD = `${NAME}|[^\\s."(]+`
const REFERENCES = new RegExp(` REFERENCES (${WORD})\\.(${WORD})\\(`)
const VALIDATE = new RegExp(` VALIDATE CONSTRAINT (${NAME})$`)
const SET_PLAIN = /^ALTER (TABLE|MATERIALIZED VIEW) .* SET STORAGE PLAIN$/s
const UNCHECKED = / NOT (VALID|ENFORCED)$/

/** By its owner, or by another who may grant. */
export const isGrant = (s: SchemaStatement): boolean => /^(SET ROLE [^;]+; )?GRANT /.test(s.sql)
const isRevoke = (s: SchemaStatement): boolean => s.sql.startsWith('REVOKE ')
const isOwner = (s: SchemaStatement): boolean => / OWNER TO "(?:[^"]|"")+"$/.test(s.sql)

export function dutyOf(s: SchemaStatement): Duty | undefined {
  if (isGrant(s)) return 'grant'
  if (isRevoke(s)) return 'revoke'
  return isProtection(s) ? 'protection' : undefined
}

/** Row level security, and the policies that it goes by. */
function isProtection(s: SchemaStatement): boolean {
  return /^ALTER TABLE .* ROW LEVEL SECURITY$/s.test(s.sql) || s.sql.startsWith('CREATE POLICY ')
}

/** @param give.roleAttributes else no role gets an attribute or a membership: that may be more than it has at the target */
export function schemaSteps(
  statements: readonly SchemaStatement[],
  give: { readonly roleAttributes: boolean } = { roleAttributes: false },
): SchemaSteps {
  const known = {
    contained: containedDomains(statements),
    partitioned: partitionedTables(statements),
    unchecked: uncheckedChecks(statements),
  }
  const all = ownedByTables(statements)
    .filter((s) => give.roleAttributes || s.objects[0]?.kind !== ROLE_ATTRIBUTES)
    .flatMap((s) => apartByServer(s.sql).map((sql) => (sql === s.sql ? s : { ...s, sql })))
    .flatMap((s) => [...loose(s, known)])
    .map((s, place) => ({ s, place }))
    .sort((a, b) => a.s.rank - b.s.rank || a.place - b.place)
    .map(({ s }) => s)
  const steps = {
    before: [] as SchemaStatement[],
    access: [] as SchemaStatement[],
    build: [] as SchemaStatement[],
    rights: [] as SchemaStatement[],
    check: [] as SchemaStatement[],
    last: [] as SchemaStatement[],
  }
  for (const s of all) steps[partOf(s)].push(s)
  return steps
}

function partOf(s: SchemaStatement): keyof SchemaSteps {
  if (s.rank >= RANK.settings || s.sql.startsWith('ALTER DEFAULT PRIVILEGES ')) return 'last'
  if (s.phase === 'before') return 'before'
  if (s.objects[0]?.kind === 'schema' && s.rank >= RANK.rights) return 'access'
  if (s.rank < RANK.rights || isProtection(s)) return 'build'
  return isGrant(s) || isRevoke(s) || isOwner(s) ? 'rights' : 'check'
}

/** A statement, so split that rows can come before what is checked of them. */
interface Known {
  readonly contained: ReadonlySet<string>
  readonly partitioned: ReadonlySet<string>
  /** Quoted names of checks that their tables have as NOT VALID. */
  readonly unchecked: ReadonlySet<string>
}

function* loose(
  s: SchemaStatement,
  { contained, partitioned, unchecked }: Known,
): Generator<SchemaStatement> {
  if (isOwner(s) && EARLY_OWNERS.has(s.objects[0]?.kind ?? '')) {
    yield { ...s, phase: 'before', rank: RANK.attach - 1 }
    return
  }
  // In front of the owner, which takes the sequence along: the server refuses a sequence of another owner than its table's.
  if (isOwnedBy(s)) {
    yield { ...s, phase: 'before', rank: RANK.attach - 2 }
    return
  }
  // The values of before lie outside of the row, or compressed; loaded as PLAIN they would be too much for a page.
  const plain = SET_PLAIN.exec(s.sql)?.[1]
  if (plain !== undefined) {
    // A materialized view gets its rows by REFRESH, behind the rights.
    yield { ...s, phase: 'after', rank: plain === 'TABLE' ? RANK.behaviour : RANK.settings - 1 }
    return
  }
  if (s.sql.startsWith('CREATE DOMAIN ')) {
    yield* looseDomain(s, contained)
    return
  }
  // Valid at a child comes from the parent, unless that one's is not valid.
  const validated = s.rank === RANK.validate ? VALIDATE.exec(s.sql)?.[1] : undefined
  if (validated !== undefined && !unchecked.has(validated)) return
  const match = ADD_CONSTRAINT.exec(s.sql)
  if (match === null) {
    yield s
    return
  }
  const [head, only = '', table, name, kind] = match
  // A parent's check belongs to its children too; only one that says NO INHERIT does not.
  const alone = kind === 'CHECK' ? / NO INHERIT( NOT VALID)?$/.test(s.sql) : only !== ''
  const add = `ALTER TABLE ${alone ? 'ONLY ' : ''}${table} ADD CONSTRAINT ${name} ${kind} ${s.sql.slice(head.length)}`
  // A foreign key of a partitioned table cannot be added without a look at the rows; of one to a partitioned table, what
  // goes to the partitions would stay NOT VALID.
  const target = REFERENCES.exec(s.sql)?.slice(1).map(unquoted).join('.')
  const isSplit = kind === 'FOREIGN KEY' && (!alone || partitioned.has(target ?? ''))
  if (UNCHECKED.test(s.sql) || isSplit) {
    yield { ...s, sql: add }
    return
  }
  yield { ...s, sql: `${add} NOT VALID` }
  yield { ...s, sql: `ALTER TABLE ${table} VALIDATE CONSTRAINT ${name}`, phase: 'after', rank: RANK.validate }
}

function uncheckedChecks(statements: readonly SchemaStatement[]): ReadonlySet<string> {
  return new Set(
    statements.flatMap(({ sql }) => {
      const [, , , name, kind] = ADD_CONSTRAINT.exec(sql) ?? []
      return name !== undefined && kind === 'CHECK' && UNCHECKED.test(sql) ? [name] : []
    }),
  )
}

function partitionedTables(statements: readonly SchemaStatement[]): ReadonlySet<string> {
  return new Set(
    statements.flatMap(({ sql, objects: [object] }) =>
      object !== undefined && sql.startsWith('CREATE TABLE ') && / PARTITION BY (LIST|RANGE|HASH) /.test(sql)
        ? [fullName(object)]
        : [],
    ),
  )
}

function* looseDomain(s: SchemaStatement, contained: ReadonlySet<string>): Generator<SchemaStatement> {
  const { bare, notNull, checks } = domainParts(s.sql)
  const name = new RegExp(`^CREATE DOMAIN (${NAME}\\.${NAME}) `).exec(s.sql)?.[1]
  if (name === undefined) {
    yield s
    return
  }
  // A domain inside of arrays and composites in use takes no validated check any more.
  const stays = s.objects[0] !== undefined && contained.has(fullName(s.objects[0]))
  const within = stays ? checks.filter((check) => !UNCHECKED.test(check)) : []
  yield { ...s, sql: [bare, ...(stays && notNull ? ['NOT NULL'] : []), ...within].join(' ') }
  const after = { ...s, phase: 'after' as const }
  if (notNull && !stays) yield { ...after, rank: RANK.constraint, sql: `ALTER DOMAIN ${name} SET NOT NULL` }
  for (const check of checks) {
    if (within.includes(check)) continue
    if (check.endsWith(' NOT NULL')) {
      yield { ...after, rank: RANK.constraint, sql: `ALTER DOMAIN ${name} ADD ${check}` }
      continue
    }
    const unchecked = UNCHECKED.test(check)
    yield {
      ...after,
      rank: RANK.constraint,
      sql: `ALTER DOMAIN ${name} ADD ${check}${unchecked ? '' : ' NOT VALID'}`,
    }
    const constraint = new RegExp(`^CONSTRAINT (${NAME})`).exec(check)?.[1]
    if (!unchecked && constraint !== undefined)
      yield { ...after, rank: RANK.validate, sql: `ALTER DOMAIN ${name} VALIDATE CONSTRAINT ${constraint}` }
  }
}

/** Splits CREATE DOMAIN at its top level, outside of quotes and brackets. */
export function domainParts(sql: string): { bare: string; notNull: boolean; checks: string[] } {
  const parts = topLevelParts(sql, 'CONSTRAINT ')
  const [head = sql, ...checks] = parts
  return { bare: head.replace(/ NOT NULL$/, ''), notNull: / NOT NULL$/.test(head), checks }
}

function topLevelParts(sql: string, word: string): string[] {
  const parts: string[] = []
  let from = 0
  let depth = 0
  for (let at = 0; at < sql.length; at++) {
    const c = sql[at]!
    if (c === '"' || c === "'") at = endOfQuote(sql, at)
    else if (c === '(' || c === '[') depth++
    else if (c === ')' || c === ']') depth--
    else if (depth === 0 && c === ' ' && sql.startsWith(word, at + 1)) {
      parts.push(sql.slice(from, at))
      from = at + 1
    }
  }
  parts.push(sql.slice(from))
  return parts
}

/** Where a quoted name or literal ends; a backslash counts behind E only. */
function endOfQuote(sql: string, start: number): number {
  const quote = sql[start]!
  const escapes = quote === "'" && /(^|[^A-Za-z0-9_$])E$/.test(sql.slice(Math.max(0, start - 2), start))
  let at = start + 1
  while (at < sql.length && sql[at] !== quote) at += escapes && sql[at] === '\\' ? 2 : 1
  return at
}

/** The name's end as format_type() prints it, bare or quoted. */
function printed(object: SchemaObject): readonly string[] {
  return [`.${object.name}`, `."${object.name.replaceAll('"', '""')}"`]
}

/** Domains that arrays or other types are made of, by `schema.name`. Those named in passing count too: it does no harm. */
function containedDomains(statements: readonly SchemaStatement[]): ReadonlySet<string> {
  const types = statements.filter((s) => /^CREATE (TYPE|DOMAIN|TABLE|UNLOGGED TABLE) /.test(s.sql))
  const contained = new Set<string>()
  for (const { sql, objects } of statements) {
    const [domain] = objects
    if (!sql.startsWith('CREATE DOMAIN ') || domain === undefined) continue
    const isWithin = (other: SchemaStatement): boolean =>
      printed(domain).some((name) =>
        other.sql.includes(other.sql.startsWith('CREATE TYPE ') ? name : `${name}[]`),
      )
    if (types.some(isWithin)) contained.add(fullName(domain))
  }
  return contained
}

function fullName(object: SchemaObject): string {
  return `${object.schema ?? ''}.${object.name}`
}

/** The search_path that the source's database is set to, as SET takes it. */
export function databasePath(statements: readonly SchemaStatement[]): string | undefined {
  for (const { sql } of statements) {
    const found = /ALTER DATABASE %1\$I SET "search_path" TO ((?:''[^']*''(?:, )?)+)/.exec(sql)?.[1]
    if (found !== undefined) return found.replaceAll("''", "'").replaceAll('%%', '%')
  }
  return undefined
}

/**
 * What a source is at a moment, and whether a restored database is the same: rows by digests, the catalog and its rights
 * as pg_dump prints them, sequences by the value that they give next. What the restore itself tells is no difference.
 */
import type { RestoreReport } from '../../services/app/operations/restore.ts'
import pg from 'pg'
import { digests, shown } from './backup.ts'
import { dumpEntries } from './dump-oracle.ts'
import { isDefaultOfOwn, isNumbered, isOwnAsWell } from './grown-same.ts'
import type { Gap } from '../../services/repository/generation.ts'

interface SequenceState {
  readonly step: bigint
  readonly cycles: boolean
  readonly next: bigint
}

export interface Seen {
  readonly at: string
  readonly rows: readonly string[]
  readonly catalog: ReadonlyMap<string, string>
  readonly sequences: ReadonlyMap<string, SequenceState>
  /** By OID, `schema.name`. */
  readonly tables: ReadonlyMap<number, string>
  /** Statements that had run by then. */
  readonly ran: number
}

async function withClient<T>(url: string, action: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await action(client)
  } finally {
    await client.end()
  }
}

function sequencesOf(url: string): Promise<Map<string, SequenceState>> {
  return withClient(url, async (client) => {
    const found = await client.query<{ name: string; step: string; cycles: boolean }>(
      `SELECT s.seqrelid::regclass::text AS name, s.seqincrement::text AS step, s.seqcycle AS cycles FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'side') ORDER BY 1`,
    )
    const out = new Map<string, SequenceState>()
    for (const { name, step, cycles } of found.rows) {
      const { rows } = await client.query<{ v: string; called: boolean }>(
        `SELECT last_value::text AS v, is_called AS called FROM ${name}`,
      )
      const { v, called } = rows[0]!
      out.set(name, { step: BigInt(step), cycles, next: BigInt(v) + (called ? BigInt(step) : 0n) })
    }
    return out
  })
}

export async function see(pgDump: string, url: string, ran: number): Promise<Seen> {
  const at = await withClient(
    url,
    async (client) =>
      (await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0]!.lsn,
  )
  return {
    at,
    rows: shown(await digests(url)),
    catalog: catalogOf(pgDump, url),
    sequences: await sequencesOf(url),
    tables: await tablesOf(url),
    ran,
  }
}

function tablesOf(url: string): Promise<Map<number, string>> {
  return withClient(url, async (client) => {
    const found = await client.query<{ oid: number; name: string }>(
      `SELECT c.oid, concat_ws('.', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'side') AND c.relkind IN ('r', 'p')`,
    )
    return new Map(found.rows.map(({ oid, name }) => [oid, name]))
  })
}

/**
 * What a point is to be compared without: the tables that the restore left out, and by their OIDs, because one that was renamed
 * without a record is left out under the name that records had for it; and the sequences of their identity columns, which keep
 * their names when the tables change theirs.
 *
 * @param gaps those that a restore to the point would cross
 */
export function leftOut(source: Seen, except: readonly string[], gaps: readonly Gap[]): string[] {
  if (except.length === 0) return []
  const oids = new Set(gaps.flatMap(({ scope }) => (scope.kind === 'table' ? [scope.oid] : [])))
  const tables = new Set([
    ...except,
    ...[...source.tables].flatMap(([oid, name]) => (oids.has(oid) ? [name] : [])),
  ])
  const sequences = [...source.catalog.values()].flatMap((sql) => {
    const table = ADD_IDENTITY.exec(sql)?.[1]
    const sequence = /^ +SEQUENCE NAME (\S+)$/m.exec(sql)?.[1]
    return table !== undefined && sequence !== undefined && tables.has(table) ? [sequence] : []
  })
  return [...tables, ...sequences]
}

/**
 * A row's text lacks the types of NULLs for attributes that its type got later: read again, it has them. One and the same
 * value, which a restore of pg_dump's own prints so as well.
 */
function withoutTypesOfNulls(sql: string): string {
  return sql.replaceAll(/\bROW\((?:[^()']|\([\d,]+\)|'(?:[^']|'')*')*\)::/g, (row) =>
    row.replaceAll(/\bNULL::[\w". ]+(?:\([\d,]+\))?(?:\[\])*(?=[,)])/g, 'NULL'),
  )
}

function catalogOf(pgDump: string, url: string): Map<string, string> {
  const entries = new Map([...dumpEntries(pgDump, url)].map(([key, sql]) => [key, withoutTypesOfNulls(sql)]))
  for (const sql of [...entries.values()]) {
    const [, table = '', column = ''] = ADD_IDENTITY.exec(sql) ?? []
    for (const [key, made] of entries)
      if (key.startsWith(`TABLE ${table} (`)) entries.set(key, withoutDefault(made, column))
      // Where its sequence is another table's, it stands alone.
      else if (key.startsWith(`DEFAULT ${table} ${column} (`)) entries.delete(key)
  }
  return entries
}

const ADD_IDENTITY = /^ALTER TABLE (\S+) ALTER COLUMN (\S+) ADD GENERATED /m

/**
 * Of an identity column. A child can get its parent's default beside the identity; the server never uses it, and no command makes
 * it again: what pg_dump prints of it is refused.
 */
function withoutDefault(sql: string, column: string): string {
  return sql
    .split('\n')
    .map((line) =>
      line.startsWith(`    ${column} `)
        ? line.replace(/ DEFAULT (?:NULL|nextval\('[^']*'::regclass\))/, '')
        : line,
    )
    .join('\n')
}

/** An object that a note is about: its schema, and the table that it is a part of. */
interface Named {
  readonly schema: string
  readonly table: string | undefined
  readonly name: string
}

/** Each form of note that tells of one object: the object stands in the group. What a note says besides excuses nothing. */
const TELLS: readonly RegExp[] = [
  /^\w+ (\S+) was read before .* check it by hand$/,
  /^(?:CREATE|ALTER|COMMENT|SECURITY LABEL)[A-Z ]* of [a-z ]+ (.+) came after the last reading of the schema: check it by hand$/,
  /^the drop of [a-z ]+ (.+) came after the last reading of the schema: check it by hand$/,
  /^\w+ (\S+) had another name/,
  /^\w+ (\S+): not made, it needs a table that was left out$/,
]

/** `schema.name`, `schema.table.name`, a part as the server prints it (`g0 on public.t1`), a routine with its arguments. */
function named(text: string): Named | undefined {
  const part = /^"?([\w$]+)"? on (?:(\w+)\.)?(\w+)$/.exec(text)
  if (part !== null) return { schema: part[2] ?? 'public', table: part[3], name: part[1]! }
  const [first, second, third] = text
    .replace(/\(.*$/, '')
    .split('.')
    .map((word) => word.replaceAll('"', ''))
  if (first === undefined) return undefined
  if (second === undefined) return { schema: '', table: undefined, name: first }
  return third === undefined
    ? { schema: first, table: undefined, name: second }
    : { schema: first, table: second, name: third }
}

/** What a report says of objects: whether an entry of the catalog (`TYPE schema.name (owner)`) is one of them, or a part of one. */
function told(report: RestoreReport): (entry: string) => boolean {
  const notes = report.result?.notes ?? []
  if (notes.some((note) => note.startsWith('no reading of the schema is older'))) return () => true
  const objects = notes.flatMap((note) => {
    const one = TELLS.map((form) => form.exec(note)?.[1]).find((text) => text !== undefined)
    const many = /^definitions may be .* between \S+ and \S+: (.*)$/.exec(note)?.[1]
    return [
      ...(one === undefined ? [] : [one]),
      ...(many?.split(', ').map((object) => object.replace(/^\w+ /, '')) ?? []),
    ]
  })
  for (const { object } of report.result?.unmade ?? []) objects.push(object.replace(/^\w+ /, ''))
  const known = objects.flatMap((text) => named(text) ?? [])
  // The server says no object of these.
  const defaults = notes.some((note) => note.startsWith('ALTER DEFAULT PRIVILEGES of '))
  return (entry) => {
    const [, type = '', schema = '', rest = ''] = /^([A-Z ]+) ([\w-]+)\.(.*) \(/.exec(entry) ?? []
    if (defaults && type === 'DEFAULT ACL') return true
    const words = rest.replace(/\(.*$/, '').split(/[^\w$]+/)
    return known.some(
      (one) =>
        (one.schema === schema || one.schema === '' || schema === '-') &&
        words.includes(one.name) &&
        // The entry of an index does not name its table, and there is one index of a name in a schema.
        (one.table === undefined || words.includes(one.table) || /^INDEX( ATTACH)?$/.test(type)),
    )
  }
}

/** Whether a text names one of the tables that were left out (`schema.name`). */
function naming(tables: readonly string[]): (text: string) => boolean {
  const names = tables.map(
    (table) => new RegExp(`(?<![\\w.])${table.replace('.', '\\.(?:[A-Z]+ )*')}(?!\\w)`),
  )
  return (text) => names.some((name) => name.test(text))
}

/** Whether it tells that no sample has this sequence. @param name as regclass prints it */
function isUnseen(report: RestoreReport, name: string): boolean {
  const quoted = (name.includes('.') ? name : `public.${name}`)
    .split('.')
    .map((part) => `"${part}"`)
    .join('.')
  return (report.result?.notes ?? []).some(
    (note) => note.startsWith('no sample tells what') && note.includes(quoted),
  )
}

/**
 * Whether a table is whole on the other side under another name, and the report says that both names may be older: two tables
 * that changed their names without a record.
 */
function isUnderOldName(row: string, others: readonly string[], isTold: (entry: string) => boolean): boolean {
  const [table = '', digest = ''] = row.split(': ')
  const isOlder = (name: string): boolean => isTold(`TABLE ${name} (`)
  return (
    isOlder(table) && others.some((other) => other.endsWith(`: ${digest}`) && isOlder(other.split(': ')[0]!))
  )
}

/**
 * Whether a table was set to NOTHING where nothing records it: its UPDATE fails until Tidemark gives it an identity again, which
 * may be before the schema is read.
 */
function isNothingOfTheMoment(key: string, how: string, script: readonly string[]): boolean {
  const [, table] = /^REPLICA IDENTITY (\S+)$/.exec(key) ?? []
  const set = script.lastIndexOf(
    `ALTER TABLE ${(table ?? '').replace(/^public\./, '')} REPLICA IDENTITY NOTHING;`,
  )
  const off = script.slice(0, set + 1).lastIndexOf('SET event_triggers = off;')
  return (
    how === 'NOTHING' && set >= 0 && off >= 0 && !script.slice(off, set).includes('RESET event_triggers;')
  )
}

/** A default that names a sequence with an older name names it so. */
const DEFAULT_OF = /^ALTER TABLE .* SET DEFAULT nextval\('(\S+)'::regclass\)/

/** Parts of tables, which are compared with every record, are told whatever came later. */
const OF_TABLES = /^(TABLE|CONSTRAINT|FK CONSTRAINT|CHECK CONSTRAINT|DEFAULT|REPLICA IDENTITY) /

/**
 * Whether an object was changed while event triggers were off, and again with them before the next reading came: the record then
 * is all that is seen, as the README says.
 */
function isHidden(key: string, script: readonly string[], ran: number): boolean {
  const [, name] = /^[A-Z ]+ [\w-]+\.(?:[A-Z]+ )*(\w+)/.exec(key) ?? []
  if (name === undefined || OF_TABLES.test(key)) return false
  const names = new RegExp(`(?<!\\w)${name}(?!\\w)`)
  let off = false
  let unseen = false
  for (const [index, sql] of script.entries()) {
    if (sql.startsWith('SET event_triggers = off')) off = true
    else if (sql.startsWith('RESET event_triggers')) off = false
    else if (names.test(sql) && !sql.includes('-- refused')) {
      if (off) unseen ||= index < ran
      else if (unseen) return true
    }
  }
  return false
}

/** Of tables that the report calls otherwise than the source did: both names, and what hangs on them. */
function calledOtherwise(report: RestoreReport, source: Seen): string[] {
  return (report.result?.notes ?? []).flatMap((note) => {
    const [, name, oid] = /^two tables are called .* comes back as (\S+_(\d+))$/.exec(note) ?? []
    return name === undefined
      ? []
      : [name, ...(source.tables.get(Number(oid)) === undefined ? [] : [source.tables.get(Number(oid))!])]
  })
}

/** A table's entry has its checks in it; each of them may be told by itself. */
function differInToldChecks(
  key: string,
  sql: string,
  got: string | undefined,
  isTold: (entry: string) => boolean,
): boolean {
  const table = /^TABLE (\S+) /.exec(key)?.[1]
  if (table === undefined || got === undefined) return false
  const others = (text: string): string =>
    text
      .split('\n')
      .filter((line) => {
        const check = /^ +CONSTRAINT "?([\w$]+)"? CHECK /.exec(line)?.[1]
        return check === undefined || !isTold(`CONSTRAINT ${table} ${check} (`)
      })
      .map((line) => line.replace(/,$/, ''))
      .join('\n')
  return others(sql) === others(got)
}

/** One line for each difference that the report does not tell. */
export async function untold(
  pgDump: string,
  source: Seen,
  restored: RestoreReport & { readonly url: string },
  leftOut: readonly string[],
  script: readonly string[],
): Promise<string[]> {
  const otherwise = calledOtherwise(restored, source)
  const except = [...leftOut, ...otherwise]
  const isOtherwise = naming(otherwise)
  const isTold = told(restored)
  // A sequence of an identity column goes with its table, and its entry does not name that.
  const isToldOf = (key: string, sql: string): boolean =>
    isTold(key) ||
    isTold(`SEQUENCE ${DEFAULT_OF.exec(sql)?.[1] ?? ''} (`) ||
    isTold(`TABLE ${ADD_IDENTITY.exec(sql)?.[1] ?? ''} (`) ||
    isTold(`TABLE ${/^REPLICA IDENTITY (\S+)$/.exec(key)?.[1] ?? ''} (`)
  const isExcept = naming(except)
  const isIndexOfExcept = ([key, sql]: readonly [string, string], index: string): boolean =>
    new RegExp(`^(?:CONSTRAINT|INDEX) .*[ .]${index} `).test(key) && (isExcept(key) || isExcept(sql))
  const out: string[] = []
  const rows = shown(await digests(restored.url))
  for (const row of source.rows)
    if (
      !rows.includes(row) &&
      !except.includes(row.replace(/:.*$/, '')) &&
      !isUnderOldName(row, rows, isTold)
    )
      out.push(`rows: ${row}`)
  for (const row of rows)
    if (
      !source.rows.includes(row) &&
      !otherwise.includes(row.replace(/:.*$/, '')) &&
      !isUnderOldName(row, source.rows, isTold)
    )
      out.push(`rows that are not so: ${row}`)
  const catalog = catalogOf(pgDump, restored.url)
  for (const [key, sql] of source.catalog) {
    const got = catalog.get(key)
    if (got === sql || isToldOf(key, sql) || isExcept(key) || isExcept(sql)) continue
    if (isNothingOfTheMoment(key, sql, script.slice(0, source.ran))) continue
    if (isHidden(key, script, source.ran)) continue
    if (
      isNumbered(key, sql, got) ||
      isOwnAsWell(sql, got) ||
      differInToldChecks(key, sql, got, isTold) ||
      isDefaultOfOwn(key, sql, source.catalog, catalog)
    )
      continue
    // The index of a partition that was left out: its own entry names the table, this one does not.
    const attached = /^INDEX ATTACH \w+\.(\w+) /.exec(key)?.[1]
    if (attached !== undefined && [...source.catalog].some((entry) => isIndexOfExcept(entry, attached)))
      continue
    out.push(got === undefined ? `missing: ${key}\n${sql}` : `differs: ${key}\n${sql}\n--- restored\n${got}`)
  }
  // An entry's name ends with its owner: another one's is an entry of its own.
  const ownerless = (key: string): string => key.replace(/ \([^()]*\)$/, '')
  const hidden = new Set(
    [...source.catalog.keys()].filter((key) => isHidden(key, script, source.ran)).map(ownerless),
  )
  for (const [key, sql] of catalog)
    if (
      !source.catalog.has(key) &&
      !isToldOf(key, sql) &&
      !isOtherwise(key) &&
      !isOtherwise(sql) &&
      !hidden.has(ownerless(key))
    )
      out.push(`added: ${key}\n${sql}`)
  const sequences = await sequencesOf(restored.url)
  // Where it tells that it has no sample, a jump by setval() may be more than its margin.
  const isGuessed = restored.result?.notes.some((note) => note.startsWith('no sample at or after')) === true
  for (const [name, was] of source.sequences) {
    const is = sequences.get(name)
    if (is === undefined || was.cycles || isGuessed || isUnseen(restored, name)) continue
    // Set by somebody behind the point, between two samples: nothing of the source tells what it had given.
    if (script.slice(source.ran).some((sql) => sql.startsWith(`SELECT setval('${name}'`))) continue
    if ((is.next - was.next) * (was.step > 0n ? 1n : -1n) < 0n)
      out.push(`sequence ${name}: gives ${is.next}, the source gave ${was.next} (step ${was.step})`)
  }
  return out
}

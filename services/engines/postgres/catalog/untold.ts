/**
 * What changed between two readings of the schema and no DDL record tells: event triggers were off, or there are none for
 * it. Told by who wrote the rows of the catalog: a transaction with a record explains what it wrote, others do not. Rows
 * that are gone have no writer; there the record has to name the object.
 */
import { quoteName } from '../dialect/quote.ts'
import { isVisible } from '../../../core/snapshot.ts'
import type { SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import type { Catalog, CatalogObject } from './kind.ts'
import { mayBeUnseen } from './looks.ts'

export interface Compared {
  /** pg_current_snapshot() of the reading before. */
  readonly snapshot: string
  /** The same of this one: records that it does not show are of the next. */
  readonly now: string
  /** Undefined where this process did not make the reading before: what is gone since is not told then. */
  readonly before: ReadonlyMap<string, readonly CatalogObject[]> | undefined
  readonly after: ReadonlyMap<string, readonly CatalogObject[]>
  /** What is there now, as class:oid: a reading that saw an object may not have been able to print it any more. */
  readonly there: { has(key: string): boolean }
  /** Those whose own rows changed, as class:oid, or that may have; what only depends on them is left out. */
  readonly changed: ReadonlySet<string>
  /** Those that the reading before printed while they changed: their text there may be the one of now. */
  readonly torn: ReadonlySet<string>
  /** By class:oid, 32 bits of each transaction that wrote rows of it and may be newer than the reading before. */
  readonly writers: ReadonlyMap<string, ReadonlySet<number>>
  /** The same, as the reading before saw it: what it shows is no change, whichever transaction it is of. */
  readonly seen: ReadonlyMap<string, ReadonlySet<number>>
}

interface Told {
  readonly xid: string
  /** Its transaction made a list of the publication. */
  readonly listed: boolean
  readonly command: string
  /** What wrote the record, in the command's transaction: a subtransaction behind the one that wrote the rows. */
  readonly writer: string
  readonly oids: readonly string[]
  readonly names: readonly string[] | null
  /** What the record made of its object, as the restore has it: `sequence schema.name`. */
  readonly called: string | null
  /** Of a table as a whole: the parts that statements of it make, as `index name`. */
  readonly parts: readonly string[] | null
  readonly kind: string
  /** Whose the object is by the record; null where it does not say. */
  readonly owner: string | null
  /** `class:oid` of a view, a routine, a type or a sequence of its own that the record is about, and of all that is dropped. */
  readonly apart: string | null
}

/** Kinds that are told by themselves, as the server says them. */
const APART = "'function', 'procedure', 'view', 'materialized view', 'materializedView'"

/** Commands that name no object: what they took away can be of any. */
const NAMELESS = /^(GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|DROP OWNED|REASSIGN OWNED)$/
const RIGHTS_ALONE = /^(pg_init_privs|pg_default_acl):/

/** Of records that no user's command made: they say how a table is, and took nothing from it. */
const OURS: ReadonlySet<string> = new Set(['REPAIR', 'LEAVE OUT', 'IDENTITY'])

/** @returns the objects, for people */
export async function untoldChanges(catalog: Catalog, compared: Compared): Promise<string[]> {
  const { before, after, changed, torn } = compared
  const differing = [...new Set([...changed, ...torn])].filter(
    (key) => before === undefined || torn.has(key) || textOf(before.get(key)) !== textOf(after.get(key)),
  )
  const records = (
    await catalog.rows<Told>(
      `SELECT d.xid, d.kind = 'publication' AND d.facts LIKE '%"listed"%' AS listed, COALESCE(d.writer, d.xmin::text) AS writer, d.command, array_remove(ARRAY[d.oid::text] || CASE WHEN d.kind = 'other' AND d.oid IS NULL THEN
                ARRAY(SELECT r ->> 'oid' FROM jsonb_array_elements(COALESCE(NULLIF(d.facts::jsonb -> 'rights', 'null'), '[]')) r) END, NULL) AS oids, CASE WHEN d.kind = 'drop' THEN d.facts::json -> 'names' END AS names,
              CASE WHEN d.kind IN ('table', 'type', 'sequence') THEN concat(d.kind, ' ', d.facts::json ->> 'schema', '.', d.facts::json ->> 'name')
                   WHEN d.kind = 'other' AND d.facts::jsonb -> 'definition' ->> 'kind' IN (${APART}) THEN concat(d.facts::json -> 'definition' ->> 'kind', ' ', d.facts::json -> 'definition' ->> 'schema', '.', d.facts::json -> 'definition' ->> 'name') END AS called,
              d.kind, CASE WHEN d.kind = 'table' THEN ARRAY(SELECT concat(k.kind, ' ', p ->> 'name') FROM (VALUES ('constraints', 'constraint'), ('indexes', 'index'), ('triggers', 'trigger'), ('rules', 'rule'), ('policies', 'policy')) k(list, kind) CROSS JOIN LATERAL jsonb_array_elements(COALESCE(NULLIF(d.facts::jsonb -> k.list, 'null'), '[]')) p
                WHERE k.kind <> 'constraint' OR CASE p ->> 'type' WHEN 'c' THEN p ->> 'inherited' = 'false' WHEN 'f' THEN p ->> 'hasParent' = 'false' ELSE p ->> 'type' IN ('p', 'u', 'x') END) END AS parts,
              COALESCE(d.facts::jsonb ->> 'owner', d.facts::jsonb -> 'definition' ->> 'owner') AS owner,
              CASE WHEN d.kind = 'type' OR d.kind = 'sequence' AND d.facts::json ->> 'identity' IS DISTINCT FROM 'true' THEN concat(CASE d.kind WHEN 'type' THEN 'pg_type' ELSE 'pg_class' END, ':', d.oid)
                   WHEN d.kind = 'other' AND d.facts::jsonb -> 'definition' ->> 'kind' IN (${APART}) OR d.kind = 'drop' THEN concat(d.class, ':', d.oid) END AS apart FROM tidemark.ddl d WHERE d.xid::xid8 >= pg_snapshot_xmin('${compared.snapshot}')`,
    )
  ).filter((record, _, all) => !isVisible(compared.snapshot, record.xid) && wasSent(record, all, compared))
  const told = new Set(records.map(({ xid }) => Number(BigInt(xid) & 0xffffffffn)))
  const rows = new Map([...compared.writers, ...(await lightWriters(catalog, compared, differing))])
  // The others were read behind this reading, and may say what it has not.
  const seenRecords = records.filter(({ xid }) => isVisible(compared.now, xid))
  const found = new Set<string>()
  for (const key of differing) {
    const seen = compared.seen.get(key)
    const writers = [...(rows.get(key) ?? [])].filter((xid) => {
      const whole = full(compared.snapshot, xid)
      return (
        !isVisible(compared.snapshot, whole) ||
        (mayBeUnseen(compared.snapshot, BigInt(whole)) && seen?.has(xid) !== true)
      )
    })
    const isTold =
      writers.length > 0
        ? writers.every(
            (xid) =>
              told.has(xid) ||
              // A subtransaction (SAVEPOINT, an exception block): its rows do not say of which transaction it is.
              records.some((record) => mayBeOf(record, xid) && names(record, key, compared)),
          )
        : before === undefined ||
          records.some(
            (record) =>
              // What is gone was dropped: a record of an earlier change to it does not tell that.
              (record.names !== null || after.has(key) || NAMELESS.test(record.command)) &&
              names(record, key, compared),
          )
    const lost = isTold ? untoldLosses(key, before?.get(key), after.get(key), seenRecords) : []
    for (const part of lost) found.add(nameOf(part))
    if (isTold && !isOwnerUntold(key, before?.get(key), after.get(key), seenRecords)) continue
    for (const name of namesOf(before?.get(key), after.get(key))) found.add(name)
    // Made and renamed since the reading before: a restore has it under the name of its record.
    const oid = key.split(':')[1]!
    for (const { oids, called } of records) if (called !== null && oids[0] === oid) found.add(called)
  }
  for (const name of passed(records, compared)) found.add(name)
  return [...found]
}

/**
 * Whether an object has another owner, and its records do not say so: REASSIGN OWNED fires no event trigger, and may stand beside
 * commands that do, in one transaction.
 */
function isOwnerUntold(
  key: string,
  before: readonly CatalogObject[] | undefined,
  after: readonly CatalogObject[] | undefined,
  records: readonly Told[],
): boolean {
  const [was, is] = [ownerOf(before), ownerOf(after)]
  // What a column owns goes with its table.
  if (was === undefined || is === undefined || was === is || isOwned(after)) return false
  const [, oid] = key.split(':')
  const last = records.findLast(({ oids, names: path }) => path === null && oids[0] === oid)
  return last === undefined || (last.owner !== null && quoteName(last.owner) !== is)
}

/**
 * Parts of a table that are gone, and no record says so: they have no row any more whose writer would show it, and who wrote other
 * rows of the table has its own record.
 */
function untoldLosses(
  key: string,
  before: readonly CatalogObject[] | undefined,
  after: readonly CatalogObject[] | undefined,
  records: readonly Told[],
): SchemaObject[] {
  if (after === undefined || !key.startsWith('pg_class:')) return []
  const oid = key.split(':')[1]!
  const own = records.filter(
    ({ oids, names: path, command }) => path === null && oids[0] === oid && !OURS.has(command),
  )
  // What a command at its parent reached is not all of it: taken as it is.
  if (own.some(({ kind }) => kind === 'descendant')) return []
  const whole = own.findLast(({ parts }) => parts !== null)?.parts
  const called = ({ kind, name }: SchemaObject): string => `${kind} ${name}`
  const left = new Set(objectsOf(after).map(called))
  const [self] = objectsOf(after)
  const had =
    whole?.map((part) => {
      const [kind = '', ...name] = part.split(' ')
      return { ...self, kind, table: self?.name, name: name.join(' ') } as SchemaObject
    }) ?? objectsOf(before).filter(({ table }) => table !== undefined)
  return had.filter(
    (part) => !left.has(called(part)) && !records.some(({ names: path }) => path?.at(-1) === part.name),
  )
}

function ownerOf(objects: readonly CatalogObject[] | undefined): string | undefined {
  const all = statementsOf(objects).flatMap(({ sql }) => / OWNER TO ("(?:[^"]|"")*")$/.exec(sql)?.[1] ?? [])
  return all[0]
}

function isOwned(objects: readonly CatalogObject[] | undefined): boolean {
  return statementsOf(objects).some(({ sql }) => / OWNED BY /.test(sql))
}

/**
 * Those that neither reading has, by their records: made with one and gone without, or dropped under another name than they had.
 * One that was made without a record and dropped with one looks like one that came and went in a single transaction.
 */
function passed(records: readonly Told[], { before, after, there, now }: Compared): string[] {
  if (before === undefined) return []
  const unseen = records.filter(
    ({ xid, apart }) =>
      apart !== null && isVisible(now, xid) && ![before, after, there].some((reading) => reading.has(apart)),
  )
  return [...Map.groupBy(unseen, ({ apart }) => apart).values()].flatMap((of) => {
    const called = of.findLast((record) => record.called !== null)?.called
    if (called == null) return []
    const name = of.find(({ names: path }) => path !== null)?.names?.join('.')
    if (name === undefined) return called
    return called.endsWith(` ${name}`) ? [] : [called, name]
  })
}

/**
 * False where the stream may lack the record: its transaction may have been open when the publication became a list, and rows from
 * before that cannot be sent. Too many are left out rather than one too few: what it made is said to be uncertain for once.
 */
function wasSent({ xid }: Told, all: readonly Told[], { snapshot }: Compared): boolean {
  const next = BigInt(snapshot.split(':')[1] ?? '0')
  return all
    .filter((record) => record.listed && record.xid !== xid)
    .every((listed) => isVisible(snapshot, listed.xid) && BigInt(xid) >= next)
}

/** 64 bits of a transaction that is not older than the snapshot's oldest. */
function full(snapshot: string, xid: number): string {
  const oldest = BigInt(snapshot.split(':')[0] ?? '0')
  const here = (oldest & ~0xffffffffn) | BigInt(xid)
  return String(here < oldest ? here + 0x100000000n : here)
}

/** Of what is read each time: the writer of its own row and of its comment. Of roles nothing is told. */
async function lightWriters(
  catalog: Catalog,
  { snapshot, writers }: Compared,
  differing: readonly string[],
): Promise<Map<string, Set<number>>> {
  const found = new Map<string, Set<number>>()
  const classes = Map.groupBy(
    differing.filter((key) => !writers.has(key) && !/^pg_(class|type|proc|authid|init_privs):/.test(key)),
    (key) => key.split(':')[0]!,
  )
  const since = BigInt(snapshot.split(':')[0] ?? '0') & 0xffffffffn
  for (const [name, keys] of classes) {
    const oids = `'{${keys.map((key) => key.split(':')[1]).join(',')}}'::oid[]`
    const rows = await catalog.rows<{ oid: string; writer: string }>(`
      SELECT w.oid::text AS oid, w.writer::text AS writer FROM (
        SELECT o.oid, o.xmin AS writer FROM ${name} o WHERE o.oid = ANY (${oids})
        UNION ALL SELECT d.objoid, d.xmin FROM pg_description d WHERE d.classoid = '${name}'::regclass AND d.objoid = ANY (${oids})) w
       WHERE age(w.writer) <= age('${since}'::xid)`)
    for (const { oid, writer } of rows) {
      const key = `${name}:${oid}`
      found.set(key, (found.get(key) ?? new Set()).add(Number(writer)))
    }
  }
  return found
}

/** 32 bits: subtransactions are younger than their transaction, and the record's is the youngest. */
function mayBeOf({ xid, writer }: Told, of: number): boolean {
  const from = Number(BigInt(xid) & 0xffffffffn)
  return (of - from) >>> 0 <= (Number(writer) - from) >>> 0
}

function names({ oids, command, names: path }: Told, key: string, { before, after }: Compared): boolean {
  if (RIGHTS_ALONE.test(key) && NAMELESS.test(command)) return true
  if (oids.includes(key.split(':')[1]!)) return true
  if (path === null) return false
  const [schema, name] = path
  return objectsOf(before?.get(key), after.get(key)).some((object) =>
    object.schema === undefined
      ? object.name === schema
      : object.schema === schema && (object.name === name || object.table === name),
  )
}

function textOf(objects: readonly CatalogObject[] | undefined): string {
  return JSON.stringify(objects?.map((object) => object.statements.map((one) => one.sql)))
}

function statementsOf(objects: readonly CatalogObject[] | undefined): readonly SchemaStatement[] {
  return objects?.flatMap((object) => object.statements) ?? []
}

function objectsOf(...of: readonly (readonly CatalogObject[] | undefined)[]): SchemaObject[] {
  return of.flatMap((objects) => statementsOf(objects).flatMap((statement) => statement.objects))
}

/** What the statements make that are in one of the two alone. */
function namesOf(
  before: readonly CatalogObject[] | undefined,
  after: readonly CatalogObject[] | undefined,
): string[] {
  const texts = (objects: typeof before): Set<string> => new Set(statementsOf(objects).map((one) => one.sql))
  const [was, is] = [texts(before), texts(after)]
  const differing = [
    ...statementsOf(before).filter((one) => !is.has(one.sql)),
    ...statementsOf(after).filter((one) => !was.has(one.sql)),
  ]
  // The same statements in another order, or none before: the object itself.
  const shown = differing.length === 0 ? statementsOf(after).slice(0, 1) : differing
  return [...new Set(shown.flatMap(({ objects }) => objects.map(nameOf)))]
}

function nameOf({ kind, schema, table, name }: SchemaObject): string {
  const place = [schema, table].filter((part) => part !== undefined && part !== name)
  return `${kind} ${[...place, name].join('.')}`
}

/**
 * The schema as it stood at a point: the newest facts that know nothing later, and on top of them the DDL records that
 * came after those facts. What only later facts know is never applied; what stays uncertain is listed.
 */
import { compareLsn, formatLsn, type Lsn, parseLsn } from '../core/position.ts'
import type { SchemaFacts, SchemaObject, SchemaStatement } from '../core/transaction.ts'
import { sequenceStatements } from '../formats/sequence-statements.ts'
import { tableStatements } from '../formats/table-statements.ts'
import { typeStatements } from '../formats/type-statements.ts'
import { definitionStatements } from '../formats/definition-statements.ts'
import { type DdlRecord, parseDdlRecord, type TableFacts } from '../formats/schema-facts.ts'
import type { Generation } from '../repository/generation.ts'
import type { Repository } from '../repository/repository.ts'
import { ByteSource } from '../formats/byte-source.ts'
import { textOfField } from '../formats/value-printer.ts'
import { ChangeCursor, changeBlocks } from './segment-reader.ts'
import type { PlacedRecord, TableHistory } from './table-history.ts'
import { TidemarkError } from '../core/errors.ts'
import { isVisible } from '../core/snapshot.ts'
import { SchemaReadings } from './schema-readings.ts'
import { UntoldChanges } from './untold-changes.ts'
import { objectText } from './unmade.ts'

/** All DDL records of a generation that are durable, in commit order. */
export async function readDdl(repository: Repository, generation: Generation): Promise<PlacedRecord[]> {
  const records: PlacedRecord[] = []
  // What was in segments that are retired by now.
  if (generation.olderDdl !== null)
    records.push(
      ...parsePlaced(
        await repository.getSealed(generation.olderDdl, {
          kind: 'ddl',
          generation: String(generation.facts.generation),
        }),
      ),
    )
  for await (const entry of generation.segments.segments((c) => c.hasDdl)) {
    const found: PlacedRecord[] = []
    for await (const block of changeBlocks(repository, entry.body, () => true)) {
      const { relation } = block.layout
      if (relation.schema !== 'tidemark' || relation.name !== 'ddl') continue
      const cursor = new ChangeCursor(block)
      while (cursor.next()) {
        if (cursor.operation !== 0) continue
        const source = new ByteSource(cursor.buffer, cursor.new.start, cursor.new.end)
        const fields = new Map(
          relation.columns.map((column, i) => [
            column.name,
            textOfField(source, block.layout.kinds[i]!).text,
          ]),
        )
        const text = (name: string): string => fields.get(name) ?? ''
        found.push({
          lsn: cursor.lsn,
          ordinal: cursor.ordinal,
          record: parseDdlRecord({
            id: text('id'),
            xid: text('xid'),
            command: text('command'),
            kind: text('kind'),
            oid: fields.get('oid') ?? null,
            facts: fields.get('facts') ?? null,
            class: fields.get('class'),
          }),
        })
      }
    }
    found.sort((a, b) => compareLsn(a.lsn, b.lsn) || a.ordinal - b.ordinal)
    records.push(...found)
  }
  return records
}

/** DDL records apart from their segments, as JSON. */
export function placedText(records: readonly PlacedRecord[]): Buffer {
  const rows = records.map(({ lsn, ordinal, record: { id, xid, command, kind, oid, facts, class: of } }) => ({
    lsn: formatLsn(lsn),
    ordinal,
    row: { id: id.toString(), xid, command, kind, oid: String(oid), facts: JSON.stringify(facts), class: of },
  }))
  return Buffer.from(JSON.stringify(rows), 'utf8')
}

function parsePlaced(bytes: Buffer): PlacedRecord[] {
  const rows = JSON.parse(bytes.toString('utf8')) as {
    lsn: string
    ordinal?: number
    row: Parameters<typeof parseDdlRecord>[0]
  }[]
  // Without ordinals where an older version wrote them: the rows of these transactions are retired with them.
  return rows.map(({ lsn, ordinal, row }) => ({
    lsn: parseLsn(lsn),
    ordinal: ordinal ?? 0,
    record: parseDdlRecord(row),
  }))
}

export interface SchemaAtPoint {
  readonly statements: readonly SchemaStatement[]
  readonly notes: readonly string[]
}

/** @throws TidemarkError LEDGER_BROKEN when there are no facts at all */
export async function schemaAt(
  repository: Repository,
  generation: Generation,
  records: readonly PlacedRecord[],
  histories: ReadonlyMap<number, TableHistory>,
  lsn: Lsn,
): Promise<SchemaAtPoint> {
  const place = new Map(records.map((r) => [r.record.xid, r.lsn]))
  const readings = new SchemaReadings(repository, generation)
  let chosen: SchemaFacts | undefined
  let oldest: SchemaFacts | undefined
  const untold = new UntoldChanges(generation.schemas, lsn)
  for (const entry of generation.schemas.toReversed()) {
    const facts = await readings.facts(entry)
    // Its beginning is not there any more, or never came.
    if (facts === undefined) continue
    oldest = facts
    // Facts that saw a transaction behind the point, or one that the stream has not shown yet, know too much.
    const knowsLater =
      untold.isBehindPoint(entry) ||
      facts.ddlSeen.some((xid) => {
        const at = place.get(xid)
        return at === undefined ? BigInt(xid) >= BigInt(generation.facts.nextXid) : compareLsn(at, lsn) > 0
      }) ||
      // Records that were removed from the source, being durable, are in what it saw all the same: its snapshot tells.
      records.some((r) => compareLsn(r.lsn, lsn) > 0 && isVisible(facts.snapshot, r.record.xid))
    if (!knowsLater) {
      chosen = { ...facts, notes: [...facts.notes, ...(await untold.notes(entry, readings))] }
      break
    }
  }
  if (chosen === undefined && oldest !== undefined)
    // All of them knew later changes: rows come first, so the oldest serves, and it is said.
    chosen = {
      ...oldest,
      notes: [...oldest.notes, 'no reading of the schema is older than this point: check it by hand'],
    }
  if (chosen === undefined)
    throw new TidemarkError('LEDGER_BROKEN', 'there are no schema facts for this point')
  const seen = new Set(chosen.ddlSeen)
  const { snapshot } = chosen
  // What was being changed while it was read is told by its records as well.
  const unsettled = new Set(chosen.unsettled)
  const later = records.filter(
    (r) =>
      compareLsn(r.lsn, lsn) <= 0 &&
      (unsettled.has(r.record.oid) || (!seen.has(r.record.xid) && !isVisible(snapshot, r.record.xid))),
  )
  if (later.length === 0) return { statements: chosen.statements, notes: chosen.notes }
  return patched(chosen, later, histories, namesWhenRead(records, later))
}

/** How types and sequences that later records tell of were called when the schema was read: `kind schema.name`. */
function namesWhenRead(
  records: readonly PlacedRecord[],
  later: readonly PlacedRecord[],
): ReadonlyMap<number, string> {
  const isLater = new Set(later)
  const names = new Map<number, string>()
  for (const placed of records) {
    const { record } = placed
    if (isLater.has(placed) || (record.kind !== 'type' && record.kind !== 'sequence')) continue
    names.set(record.oid, `${record.kind} ${record.facts.schema}.${record.facts.name}`)
  }
  return names
}

/** What makes an object again that a command made or altered, and which statement of older facts that replaces. */
function definitionAnew(
  record: DdlRecord & { readonly kind: 'other' },
): { readonly replaces: string; readonly statements: SchemaStatement[] } | undefined {
  const { definition } = record.facts
  if (definition == null || !/^(CREATE|ALTER) /.test(record.command)) return undefined
  const statements = definitionStatements(definition)
  if (statements.length === 0) return undefined
  // Rights and comments of an object that the facts have stay: only what makes it is made anew. A function's own
  // statement replaces it, and leaves others of its name.
  const replaces = /^(function|procedure|schema)$/.test(definition.kind)
    ? ''
    : `${definition.kind} ${definition.schema ?? ''}.${definition.name}`
  return { replaces, statements }
}

/** What a drop tells by its name alone. */
const TELLS_DROP: ReadonlySet<string> = new Set([
  'type',
  'sequence',
  'view',
  'materialized view',
  'function',
  'procedure',
  'trigger',
  'schema',
  'policy',
  'rule',
  'statistics object',
])

/** The server's word for an object, as our statements name it. */
function droppedKey(type: string, schema: string, name: string): string {
  const kind = type.replaceAll(/ (\w)/g, (_, letter: string) => letter.toUpperCase())
  return name === '' ? `${kind} ${schema}` : `${kind} ${schema}.${name}`
}

/** Replaces the statements of every object that later records touched by ones made from the records. */
function patched(
  facts: SchemaFacts,
  later: readonly PlacedRecord[],
  histories: ReadonlyMap<number, TableHistory>,
  namesBefore: ReadonlyMap<number, string>,
): { statements: SchemaStatement[]; notes: string[] } {
  const gone = new Set<string>()
  const goneIndexes = new Set<string>()
  const added: SchemaStatement[] = []
  const notes = [...facts.notes]
  const tables = new Set<number>()
  const types = new Map<number, SchemaStatement[]>()
  /** Neither tables nor types nor sequences, by what their last record says. */
  const made = new Map<number, SchemaStatement[]>()
  const redefined = new Set<string>()
  for (const { record } of later) {
    switch (record.kind) {
      case 'table':
      case 'descendant':
        tables.add(record.oid)
        break
      case 'rewrite':
        break
      case 'type':
        gone.add(`type ${record.facts.schema}.${record.facts.name}`)
        types.set(record.oid, typeStatements(record.facts))
        break
      case 'sequence':
        gone.add(`sequence ${record.facts.schema}.${record.facts.name}`)
        types.set(record.oid, sequenceStatements(record.facts))
        break
      case 'drop': {
        const [schema = '', name = ''] = record.facts.names ?? []
        if (/table$/.test(record.facts.type) || histories.has(record.oid)) tables.add(record.oid)
        if (/table$/.test(record.facts.type)) break
        if (record.facts.type === 'index') goneIndexes.add(`${schema}.${name}`)
        else {
          const dropped = droppedKey(record.facts.type, schema, name)
          gone.add(dropped)
          if (
            !TELLS_DROP.has(record.facts.type) &&
            !facts.statements.some((s) => s.objects.some((o) => keyOf(o) === dropped))
          )
            notes.push(
              `the drop of ${record.facts.type} ${record.facts.identity} came after the last reading of the schema: check it by hand`,
            )
          types.delete(record.oid)
          made.delete(record.oid)
        }
        break
      }
      case 'other': {
        const anew = definitionAnew(record)
        if (anew !== undefined) {
          redefined.add(anew.replaces)
          made.set(record.oid, anew.statements)
          // What an ALTER made of the name before is not told.
          if (record.command.startsWith('CREATE ')) break
        }
        notes.push(
          `${record.command} of ${record.facts.type ?? 'something'} ${record.facts.identity ?? ''} came after the last reading of the schema: check it by hand`,
        )
        break
      }
    }
  }
  for (const oid of tables) {
    const history = histories.get(oid)
    // The names under which the older facts may know it.
    for (const step of history?.steps ?? []) gone.add(`table ${step.facts.schema}.${step.facts.name}`)
    const last = history?.last
    if (history === undefined || last === undefined || history.droppedAt !== undefined) continue
    added.push(...tableStatements(last.facts))
  }
  // A table that kept its name while another one of that name was dropped stays as the facts have it.
  for (const [oid, history] of histories) {
    const last = history.last
    if (
      !tables.has(oid) &&
      last !== undefined &&
      history.droppedAt === undefined &&
      gone.has(`table ${last.facts.schema}.${last.facts.name}`)
    )
      added.push(...tableStatements(last.facts))
  }
  const kept = facts.statements.filter((statement) =>
    statement.objects.every((object) => {
      const place = object.schema === undefined ? '' : `${object.schema}.`
      if (object.kind === 'index' && goneIndexes.has(`${place}${object.name}`)) return false
      if (object.table !== undefined && gone.has(`table ${place}${object.table}`)) return false
      const key = `${object.kind} ${place}${object.name}`
      if (redefined.has(key) && statement.sql.startsWith('CREATE ')) return false
      return !gone.has(key)
    }),
  )
  notes.push(...namedBefore(kept, tables, histories, later), ...renamedSince(facts, later, namesBefore))
  const statements = [...kept, ...[...types.values()].flat(), ...added, ...[...made.values()].flat()]
  const isType = (s: SchemaStatement): number =>
    s.objects[0]?.kind === 'type' ? 0 : s.objects[0]?.kind === 'sequence' ? 1 : 2
  statements.sort((a, b) => a.rank - b.rank || (a.rank === 0 ? isType(a) - isType(b) : 0))
  return { statements, notes }
}

/** What was read before a table, or a column of it, had another name: it may name something else by now, or nothing. */
function namedBefore(
  kept: readonly SchemaStatement[],
  tables: ReadonlySet<number>,
  histories: ReadonlyMap<number, TableHistory>,
  later: readonly PlacedRecord[],
): string[] {
  const found = new Set<string>()
  for (const oid of tables) {
    const history = histories.get(oid)
    const first = later.find(({ record }) => record.kind === 'table' && record.oid === oid)
    const read = history?.steps.findLast((step) => first === undefined || isBefore(step, first))
    if (history === undefined || read === undefined) continue
    const old = changedName(read.facts, history.droppedAt === undefined ? history.last?.facts : undefined)
    if (old === undefined) continue
    const names = new RegExp(`(?<![\\w$])${old.replaceAll(/[^\w]/g, '\\$&')}(?![\\w$])`)
    for (const statement of kept)
      if (names.test(statement.sql))
        found.add(
          `${objectText(statement.objects[0])} was read before ${read.facts.schema}.${read.facts.name} changed its name or names of its columns: check it by hand`,
        )
  }
  return [...found]
}

function isBefore(a: { readonly lsn: Lsn; readonly ordinal: number }, b: PlacedRecord): boolean {
  const order = compareLsn(a.lsn, b.lsn)
  return order < 0 || (order === 0 && a.ordinal < b.ordinal)
}

/** The table's name of before, where it or a column's is another one now; undefined where what names it may stay. */
function changedName(before: TableFacts, now: TableFacts | undefined): string | undefined {
  if (now === undefined) return undefined
  const names = new Map(now.columns.map((column) => [column.attnum, column.name]))
  const isSame =
    before.schema === now.schema &&
    before.name === now.name &&
    before.columns.every(({ attnum, name }) => (names.get(attnum) ?? name) === name)
  return isSame ? undefined : before.name
}

/** Types and sequences have another name by now: what was read before goes on naming the one of before. */
function renamedSince(
  facts: SchemaFacts,
  later: readonly PlacedRecord[],
  namesBefore: ReadonlyMap<number, string>,
): string[] {
  const known = new Set(facts.statements.flatMap(({ objects }) => objects.map(keyOf)))
  const made = new Set<number>()
  const found = new Set<string>()
  for (const { record } of later) {
    if (record.kind !== 'type' && record.kind !== 'sequence') continue
    if (record.command.startsWith('CREATE ')) made.add(record.oid)
    if (made.has(record.oid)) continue
    const now = `${record.kind} ${record.facts.schema}.${record.facts.name}`
    const before = namesBefore.get(record.oid)
    if (before === undefined ? known.has(now) : before === now) continue
    found.add(
      `${now} had another name${before === undefined ? '' : ` (${before})`} at the last reading of the schema, and what was read then still uses that one: check it by hand`,
    )
  }
  return [...found]
}

function keyOf(object: SchemaObject): string {
  return `${object.kind} ${object.schema === undefined ? '' : `${object.schema}.`}${object.name}`
}

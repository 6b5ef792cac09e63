/**
 * A reading of the schema with the DDL records behind it: the statements of every object that they touched are replaced by
 * ones made from them. What an object is, its OID tells; its name tells it in readings from before those had OIDs.
 */
import type { LeftOut } from '../../../core/ports/dialect.ts'
import { isBefore } from '../../../core/position.ts'
import type { SchemaFacts, SchemaObject, SchemaStatement } from '../../../core/transaction.ts'
import type { DdlRecord } from './ddl-record.ts'
import type { TableFacts } from './schema-facts.ts'
import { sequenceStatements } from './sequence-statements.ts'
import { tableStatements } from './table-statements.ts'
import { typeStatements } from './type-statements.ts'
import { definitionAnew } from './definition-anew.ts'
import { definitionStatements } from './definition-statements.ts'
import { PartsSince } from './parts-since.ts'
import { RightsSince } from './rights-since.ts'
import type { PlacedDdl } from './placed-records.ts'
import type { PostgresSteps } from './postgres-table.ts'
import { tablesAnew } from './tables-anew.ts'
import { objectText } from '../../../core/object-text.ts'

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

/** What a record with a definition and rights says anew: a function's arguments may be called otherwise by now. */
const REPLACED = /^(CREATE |REFRESH |ALTER .* OWNER TO |(SET ROLE \S+; )?(GRANT|REVOKE) )/s

/** What later records say of the objects of a reading. */
class Changes {
  readonly #facts: SchemaFacts
  readonly #histories: ReadonlyMap<number, PostgresSteps>
  /** Objects that are made from records, or gone: class:oid, and by name for readings that have no OIDs. */
  readonly goneOf = new Set<string>()
  readonly gone = new Set<string>()
  /** Parts of tables that were dropped: `kind schema.table.name`, indexes `index schema.name`. */
  readonly #goneParts = new Set<string>()
  /** What is made anew without its comments and the like: by class:oid as what it is called now, and by name. */
  readonly #redefinedOf = new Map<string, { readonly now: string; readonly replaced: RegExp }>()
  readonly #redefined = new Set<string>()
  readonly tables = new Set<number>()
  readonly types = new Map<number, SchemaStatement[]>()
  /** Of materialized views that stay as the reading has them: what fills them, if anything does. */
  readonly refreshed = new Map<number, readonly SchemaStatement[]>()
  /** Neither tables nor types nor sequences, by what their last record says. */
  readonly made = new Map<number, SchemaStatement[]>()
  readonly rights = new RightsSince()
  readonly #parts = new PartsSince()
  readonly #notes: string[] = []
  readonly #leftOut: LeftOut[] = []

  constructor(facts: SchemaFacts, histories: ReadonlyMap<number, PostgresSteps>) {
    this.#facts = facts
    this.#histories = histories
  }

  see(placed: PlacedDdl): void {
    const { record } = placed
    this.rights.see(placed)
    switch (record.kind) {
      case 'table':
        this.#seeTable(record.oid, record.facts)
        break
      case 'descendant':
        for (const index of record.facts.indexes ?? [])
          this.#goneParts.delete(`index ${index.schema}.${index.name}`)
        // One without rows of its own has no copy that its parts would be laid over.
        if (this.#histories.has(record.oid)) this.#seeTable(record.oid, undefined)
        else this.#parts.see(record.oid, record.facts)
        break
      case 'rewrite':
      case 'publication':
        break
      case 'type':
        this.goneOf.add(`pg_type:${record.oid}`)
        this.gone.add(`type ${record.facts.schema}.${record.facts.name}`)
        this.types.set(record.oid, typeStatements(record.facts))
        break
      case 'sequence':
        this.goneOf.add(`pg_class:${record.oid}`)
        this.gone.add(`sequence ${record.facts.schema}.${record.facts.name}`)
        this.types.set(record.oid, sequenceStatements(record.facts))
        break
      case 'drop':
        this.#drop(record)
        break
      case 'other':
        this.#other(record)
        break
    }
  }

  get notes(): readonly string[] {
    return [...this.#notes, ...this.#parts.notes]
  }

  get leftOut(): readonly LeftOut[] {
    return [...this.#leftOut, ...this.#parts.leftOut]
  }

  /** Of tables that stay as the reading has them. */
  get parts(): readonly SchemaStatement[] {
    return this.#parts.statements(this.tables)
  }

  /** Whether a statement of the reading stays. */
  keeps(statement: SchemaStatement): boolean {
    const { of } = statement
    if (of !== undefined && this.goneOf.has(of)) return false
    if (statement.sql.startsWith('REFRESH ') && this.refreshed.has(Number(of?.split(':')[1]))) return false
    const anew = of === undefined ? undefined : this.#redefinedOf.get(of)
    if (
      anew !== undefined &&
      (anew.replaced.test(statement.sql) || statement.objects.some((o) => keyOf(o) !== anew.now))
    )
      return false
    return (
      this.keepsParts(statement) &&
      !this.#parts.replaces(statement) &&
      (of !== undefined || this.#keepsByName(statement))
    )
  }

  /** Of statements that a record made too: what was dropped behind it. */
  keepsParts({ objects }: SchemaStatement): boolean {
    return objects.every(
      ({ kind, schema = '', table, name }) =>
        !this.#goneParts.has(`${kind} ${schema}.${table ?? ''}.${name}`) &&
        !(kind === 'index' && this.#goneParts.has(`index ${schema}.${name}`)),
    )
  }

  #keepsByName(statement: SchemaStatement): boolean {
    return statement.objects.every((object) => {
      const place = object.schema === undefined ? '' : `${object.schema}.`
      if (object.table !== undefined && this.gone.has(`table ${place}${object.table}`)) return false
      const key = keyOf(object)
      if (this.#redefined.has(key) && statement.sql.startsWith('CREATE ')) return false
      return !this.gone.has(key)
    })
  }

  #seeTable(oid: number, facts: TableFacts | undefined): void {
    this.tables.add(oid)
    this.goneOf.add(`pg_class:${oid}`)
    if (facts === undefined) return
    // It says which parts there are.
    for (const key of this.#goneParts)
      if (key.includes(` ${facts.schema}.${facts.name}.`)) this.#goneParts.delete(key)
    for (const index of facts.indexes) this.#goneParts.delete(`index ${index.schema}.${index.name}`)
  }

  #drop({ class: of, oid, facts }: DdlRecord & { readonly kind: 'drop' }): void {
    const [schema = '', name = '', part] = facts.names ?? []
    // Up to PostgreSQL 15 a rule makes a view of a table.
    if (
      /^(partitioned )?table$/.test(facts.type) ||
      ((of ?? 'pg_class') === 'pg_class' && this.#histories.has(oid))
    ) {
      this.tables.add(oid)
      this.goneOf.add(`pg_class:${oid}`)
    }
    if (/^(partitioned )?table$/.test(facts.type)) return
    if (facts.type === 'index') this.#goneParts.add(`index ${schema}.${name}`)
    else if (part !== undefined && /^(policy|trigger|rule)$/.test(facts.type))
      this.#goneParts.add(`${facts.type} ${schema}.${name}.${part}`)
    else {
      const dropped = droppedKey(facts.type, schema, name)
      const key = of === undefined ? undefined : `${of}:${oid}`
      if (key !== undefined) this.goneOf.add(key)
      const known = this.#facts.statements.filter(
        (s) => (key !== undefined && s.of === key) || s.objects.some((o) => keyOf(o) === dropped),
      )
      // Without OIDs nothing says which of those of that name it was.
      const isOneOfMany =
        known.filter(({ of, sql }) => of === undefined && sql.startsWith('CREATE ')).length > 1
      if (!isOneOfMany) this.gone.add(dropped)
      if (isOneOfMany || (!TELLS_DROP.has(facts.type) && known.length === 0 && !this.made.has(oid)))
        this.#notes.push(
          `the drop of ${facts.type} ${facts.identity} came after the last reading of the schema: check it by hand`,
        )
      this.types.delete(oid)
      this.made.delete(oid)
      this.refreshed.delete(oid)
    }
  }

  /** Whether a materialized view has rows is all that a REFRESH changes of it. */
  #refreshed({ command, oid, facts }: DdlRecord & { readonly kind: 'other' }): boolean {
    const { definition } = facts
    if (!command.startsWith('REFRESH ') || definition == null || definition.populated === undefined)
      return false
    const anew = definitionStatements(definition)
    this.refreshed.set(oid, this.made.has(oid) ? [] : anew.filter(({ sql }) => sql.startsWith('REFRESH ')))
    if (this.made.has(oid)) this.made.set(oid, anew)
    return true
  }

  #other(record: DdlRecord & { readonly kind: 'other' }): void {
    const { command, oid, facts } = record
    if (this.#refreshed(record)) return
    const anew = definitionAnew(record)
    if (anew !== undefined) {
      const { kind, schema, name } = facts.definition!
      this.#redefined.add(anew.replaces)
      if (record.class !== undefined && kind !== 'schema')
        this.#redefinedOf.set(`${record.class}:${oid}`, {
          now: schema === null ? `${kind} ${name}` : `${kind} ${schema}.${name}`,
          replaced: facts.rights == null ? /^(CREATE|REFRESH) / : REPLACED,
        })
      this.made.set(oid, anew.statements)
      this.refreshed.delete(oid)
      // What an ALTER made of the name before is not told, nor what of a view its definition lacks.
      if (command.startsWith('CREATE ') || command === 'DEPENDENT') return
    }
    if (/^(GRANT|REVOKE)$/.test(command) && facts.rights != null) return
    // What an ALTER changed of an object that is made anew is in it; a refresh comes with every restore.
    if (anew === undefined && !command.startsWith('REFRESH '))
      this.#leftOut.push({
        object: `${facts.type ?? 'something'} ${facts.identity ?? ''}`.trim(),
        reason: `${command} came after the last reading of the schema, and its record cannot make it again`,
      })
    this.#notes.push(
      `${command} of ${facts.type ?? 'something'} ${facts.identity ?? ''} came after the last reading of the schema: check it by hand`,
    )
  }
}

/**
 * @param later the records behind the reading, in their order; `earlier` those of before
 * @param namesBefore how types and sequences were called at the reading, as far as older records tell
 */
export function patchedSchema(
  facts: SchemaFacts,
  later: readonly PlacedDdl[],
  histories: ReadonlyMap<number, PostgresSteps>,
  namesBefore: ReadonlyMap<number, string>,
  earlier: readonly PlacedDdl[] = [],
): { statements: SchemaStatement[]; notes: string[]; leftOut: readonly LeftOut[] } {
  const changes = new Changes(facts, histories)
  for (const placed of later) changes.see(placed)
  const { tables, gone } = changes
  // The names under which the older facts may know it.
  for (const oid of tables)
    for (const { table } of histories.get(oid)?.steps ?? [])
      gone.add(`table ${table.facts.schema}.${table.facts.name}`)
  const { statements: added, lacking, notes: torn } = tablesAnew(tables, histories, facts, later)
  // A table that kept its name while another one of that name was dropped stays as the facts have it.
  const hasOids = facts.statements.some((statement) => statement.of !== undefined)
  for (const [oid, history] of histories) {
    const last = history.last
    if (
      !hasOids &&
      !tables.has(oid) &&
      last !== undefined &&
      history.droppedAt === undefined &&
      gone.has(`table ${last.table.facts.schema}.${last.table.facts.name}`)
    )
      added.push(...tableStatements(last.table.facts))
  }
  changes.rights.takeOver(earlier, lacking)
  const kept = facts.statements.filter((statement) => changes.keeps(statement))
  const notes = [
    ...facts.notes,
    ...changes.notes,
    ...torn,
    ...namedBefore(kept, tables, histories, later),
    ...(hasOids ? renamedOf(facts, kept, later) : renamedSince(facts, later, namesBefore)),
  ]
  const statements = changes.rights.applied(histories, [
    ...kept,
    ...[...changes.types.values()].flat(),
    ...added.filter((one) => changes.keepsParts(one)),
    ...changes.parts.filter((one) => changes.keepsParts(one)),
    ...[...changes.made.values(), ...changes.refreshed.values()].flat(),
  ])
  const isType = (s: SchemaStatement): number =>
    s.objects[0]?.kind === 'type' ? 0 : s.objects[0]?.kind === 'sequence' ? 1 : 2
  statements.sort((a, b) => a.rank - b.rank || (a.rank === 0 ? isType(a) - isType(b) : 0))
  return { statements, notes, leftOut: changes.leftOut }
}

/** Types and sequences that were called otherwise at the reading, where something that was read then still names them so. */
function renamedOf(
  facts: SchemaFacts,
  kept: readonly SchemaStatement[],
  later: readonly PlacedDdl[],
): string[] {
  const before = new Map(
    facts.statements.flatMap(({ of, objects }) =>
      of === undefined || objects[0] === undefined || objects[0].table !== undefined
        ? []
        : [[of, objects[0]] as const],
    ),
  )
  const found = new Set<string>()
  for (const { record } of later) {
    if (record.kind !== 'type' && record.kind !== 'sequence') continue
    const was = before.get(`${record.kind === 'type' ? 'pg_type' : 'pg_class'}:${record.oid}`)
    if (was === undefined || (was.schema === record.facts.schema && was.name === record.facts.name)) continue
    for (const statement of naming(kept, was.name))
      found.add(
        `${objectText(statement.objects[0])} was read before ${keyOf(was)} got the name ${record.facts.schema}.${record.facts.name}: check it by hand`,
      )
  }
  return [...found]
}

function naming(statements: readonly SchemaStatement[], name: string): readonly SchemaStatement[] {
  const names = new RegExp(`(?<![\\w$])${name.replaceAll(/[^\w]/g, '\\$&')}(?![\\w$])`)
  return statements.filter((statement) => names.test(statement.sql))
}

/** What was read before a table, or a column of it, had another name: it may name something else by now, or nothing. */
function namedBefore(
  kept: readonly SchemaStatement[],
  tables: ReadonlySet<number>,
  histories: ReadonlyMap<number, PostgresSteps>,
  later: readonly PlacedDdl[],
): string[] {
  const found = new Set<string>()
  for (const oid of tables) {
    const history = histories.get(oid)
    const first = later.find(({ record }) => record.kind === 'table' && record.oid === oid)
    const read = history?.steps.findLast((step) => first === undefined || isBefore(step, first))
    if (history === undefined || read === undefined) continue
    const old = changedName(
      read.table.facts,
      history.droppedAt === undefined ? history.last?.table.facts : undefined,
    )
    if (old === undefined) continue
    for (const statement of naming(kept, old))
      found.add(
        `${objectText(statement.objects[0])} was read before ${read.table.facts.schema}.${read.table.facts.name} changed its name or names of its columns: check it by hand`,
      )
  }
  return [...found]
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
  later: readonly PlacedDdl[],
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

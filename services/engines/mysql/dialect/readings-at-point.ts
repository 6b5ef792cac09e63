/** Readings of the schema against the records of statements: what was there at a point. */
import type { LeftOut, ReadingsAtPoint, SchemaAtPoint, TableSteps } from '../../../core/ports/dialect.ts'
import { comparePositions, ORIGIN, parsePosition, type Position } from '../../../core/position.ts'
import type { SchemaFacts, SchemaStatement } from '../../../core/transaction.ts'
import { RANK, schemaStatement } from '../../../formats/rank.ts'
import type { DdlRecord, PlacedDdl } from './ddl-record.ts'
import { tableKeyOf } from './mysql-table.ts'
import type { MysqlSteps } from './mysql-table.ts'
import { quoteText } from './names.ts'

export class MysqlReadings implements ReadingsAtPoint {
  readonly #records: readonly PlacedDdl[]
  readonly #point: Position

  constructor(records: readonly PlacedDdl[], point: Position) {
    this.#records = records
    this.#point = point
  }

  /** Its head is the last transaction that it may have seen. */
  hasSeenBehind(reading: SchemaFacts): boolean {
    const head = headOf(reading)
    return this.#records.some(
      ({ position }) => comparePositions(position, this.#point) > 0 && comparePositions(position, head) <= 0,
    )
  }

  schema(reading: SchemaFacts, histories: ReadonlyMap<number, MysqlSteps>): SchemaAtPoint {
    const head = headOf(reading)
    const at = new Patched(reading.statements)
    for (const history of histories.values()) at.table(history, head)
    for (const { position, record } of this.#records)
      if (comparePositions(position, head) > 0 && comparePositions(position, this.#point) <= 0)
        at.record(record, histories.get(record.oid), position)
    return { statements: at.statements(), notes: reading.notes, leftOut: at.leftOut }
  }
}

function headOf(reading: SchemaFacts): Position {
  return reading.head === undefined ? ORIGIN : parsePosition(reading.head)
}

class Patched {
  #statements: SchemaStatement[]
  readonly leftOut: LeftOut[] = []

  constructor(statements: readonly SchemaStatement[]) {
    this.#statements = [...statements]
  }

  statements(): readonly SchemaStatement[] {
    return this.#statements
      .map((statement, place) => ({ statement, place }))
      .sort((a, b) => a.statement.rank - b.statement.rank || a.place - b.place)
      .map(({ statement }) => statement)
  }

  /** A copy that is newer than the reading says what the table was made with. */
  table(history: TableSteps & MysqlSteps, head: Position): void {
    const { last, droppedAt } = history
    if (last === undefined) return
    const key = tableKeyOf(last.table.facts)
    if (droppedAt !== undefined) {
      this.#drop(last.table.facts)
      return
    }
    const isThere = this.#statements.some(({ of }) => of === key)
    if (isThere && comparePositions(last.position, head) <= 0) return
    this.#statements = this.#statements.filter(({ of }) => of !== key)
    this.#statements.push(...last.table.statements())
  }

  record({ facts }: DdlRecord, history: MysqlSteps | undefined, position: Position): void {
    const { effect, sql, session } = facts
    if (effect === 'dropped') {
      // One that has its name by now was read behind this.
      if (history?.last === undefined || history.droppedAt !== undefined) this.#drop(facts)
    } else if (effect === 'indexed') {
      // A copy behind it has the index already.
      if (history?.last !== undefined && comparePositions(history.last.position, position) > 0) return
      this.#statements.push(
        schemaStatement(
          RANK.index + 1,
          { kind: 'index', schema: facts.schema, name: facts.name, table: facts.name },
          withSession(sql, session),
        ),
      )
    } else if (effect === 'object') this.#object(facts, withSession(sql, session))
  }

  #object(facts: DdlRecord['facts'], sql: string): void {
    const { what = '', schema, name, isGone = false } = facts
    if (isGone)
      this.#statements = this.#statements.filter(
        ({ objects: [self] }) => self?.kind !== what || self.schema !== schema || self.name !== name,
      )
    if (isGone && /^\s*DROP\b/i.test(facts.sql)) return
    // An event runs by itself where it is made, and what follows it comes too late.
    if (what === 'event')
      this.leftOut.push({
        object: `event ${schema}.${name}`,
        reason: 'it was changed since the last reading of the schema before this point',
      })
    else
      this.#statements.push(
        schemaStatement(what === 'trigger' ? RANK.state : RANK.late, { kind: what, schema, name }, sql),
      )
  }

  #drop({ schema, name }: { readonly schema: string; readonly name: string }): void {
    const key = tableKeyOf({ schema, name })
    this.#statements = this.#statements.filter(
      ({ of, objects: [self] }) => of !== key && !(self?.schema === schema && self.table === name),
    )
  }
}

/** As it meant what it meant. */
function withSession(sql: string, { sqlMode, collation, timeZone }: DdlRecord['facts']['session']): string {
  const settings = [
    ...(sqlMode === undefined ? [] : [`sql_mode = ${sqlMode}`]),
    ...(collation === undefined ? [] : [`collation_connection = ${quoteText(collation)}`]),
    ...(timeZone === undefined ? [] : [`time_zone = ${quoteText(timeZone)}`]),
  ]
  return settings.length === 0 ? sql : `SET ${settings.join(', ')}; ${sql}`
}

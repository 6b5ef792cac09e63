/**
 * The log as what a change log takes: transactions in their order, with records of what changes the schema. Rows that the log does
 * not tell (statements as text, partial images, cascades, XA transactions that were decided later) are a record as well, by which
 * their tables are read again: nothing is left out without a word.
 */
import { TidemarkError } from '../../../core/errors.ts'
import type { StreamPoint } from '../../../core/ports/source.ts'
import { comparePositions, type Position, positionText } from '../../../core/position.ts'
import type { Subjects } from '../../../core/relation.ts'
import type { LogItem } from '../../../core/transaction.ts'
import type { RowsEvent } from '../binlog/rows.ts'
import type { BinlogItem } from '../binlog/transactions.ts'
import { cascadeKey, isOurs } from '../catalog/foreign-keys.ts'
import { ddlEffects, type DdlEffect } from '../dialect/ddl-effects.ts'
import { type DdlFacts, rawRecord } from '../dialect/ddl-record.ts'
import { markerIn } from '../dialect/marker.ts'
import { type ExecutedGtids, withGtid } from '../events/gtid.ts'
import { endOfNumber, numberOf, positionOfNumber } from '../events/numbering.ts'
import type { QueryEvent } from '../events/query.ts'
import type { TableMap } from '../events/table-map.ts'
import { LoggedTable, sameField } from './logged-table.ts'
import { OpenTransaction } from './open-transaction.ts'
import { type ResumePlace, resumeText } from './resume-text.ts'
import type { SchemaWatch } from './schema-watch.ts'
import { quotesOf, sessionOf, statementText } from './statement-session.ts'
import { UnseenPast } from './unseen-past.ts'

export interface StreamContext {
  readonly database: string
  readonly origin: ExecutedGtids
  readonly watch: SchemaWatch
  readonly subjects: Subjects
  /** Whether a heartbeat is asked for; asked once for each. */
  takeHeartbeat(): boolean
}

type Begun = Extract<BinlogItem, { kind: 'begin' }>['begin']
type Ended = Extract<BinlogItem, { kind: 'end' }>

/** Ids of XA transactions are a client's own; so many undecided ones are remembered. */
const MOST_PREPARED = 10_000

const WHY = {
  statement:
    'rows were changed by a statement that the log has as text (binlog_format was not ROW), and it is read again',
  'partial row image':
    'the log has only parts of its rows (binlog_row_image was not FULL), and it is read again',
  'partial JSON': 'the log has only parts of its values (binlog_row_value_options), and it is read again',
  'rolled back in part': 'a transaction was taken back in part, and it is read again',
  incident: 'the server told of an incident in its log, and it is read again',
  cascade:
    'rows of another table changed, and a foreign key may have changed its own without a word in the log; it is read again',
  xa: 'an XA transaction changed it, and it is read again',
  unseen:
    'foreign keys may have changed its rows, or a statement that the log has as text: what was there then had gone before it was looked at',
} as const

export class BinlogStream {
  readonly #context: StreamContext
  readonly #after: Position
  readonly #tables = new Map<string, LoggedTable>()
  /** Tables that undecided XA transactions have changed. */
  readonly #prepared = new Map<string, ReadonlySet<string>>()
  readonly #unseen: UnseenPast
  #executed: ExecutedGtids
  #end: Position
  #open: OpenTransaction | undefined
  #number = 0n
  #records = 0
  /** Tables that the open transaction changed in a way that nobody knows. */
  #untold = new Map<string, string>()
  /** Set in an XA transaction: what it changes. */
  #xa: Set<string> | undefined
  #xid: string | undefined
  #hasDdl = false
  /** Tables that have changed since before the open transaction, without anybody's knowing. */
  #doubtful: ReadonlySet<string> = new Set()
  /** By the log, since the last look. */
  #dropped = new Set<string>()
  /** Said in the open transaction, which is a statement by itself. */
  #marker: string | undefined

  constructor(context: StreamContext, from: StreamPoint, { executed, since }: ResumePlace) {
    this.#context = context
    this.#after = from.position
    this.#end = from.position
    this.#executed = executed
    this.#unseen = new UnseenPast(since)
  }

  async *items(log: AsyncIterable<BinlogItem>): AsyncGenerator<LogItem> {
    for await (const item of log) {
      switch (item.kind) {
        case 'begin':
          this.#begin(item.begin)
          break
        case 'xa start':
          this.#xa ??= new Set()
          break
        case 'rows':
          yield* this.#rows(item.table, item.rows)
          break
        case 'statement':
          await this.#statement(item.query)
          break
        case 'untold':
          this.#untell(item.table, WHY[item.why])
          break
        case 'end':
          yield* this.#ended(item)
          if (this.#hasDdl) await this.#context.watch.look(this.#dropped)
          this.#hasDdl = false
          this.#dropped = new Set()
          break
        case 'quiet':
          break
      }
      if (this.#open === undefined && this.#context.takeHeartbeat())
        yield { kind: 'heartbeat', at: this.#end, resume: this.#resume }
    }
  }

  get #resume(): string {
    return resumeText({ executed: this.#executed, since: this.#unseen.since })
  }

  /** Whether the catalog may be newer than the open transaction. */
  get #isPast(): boolean {
    const { watch, origin } = this.#context
    return this.#number <= numberOf(watch.executed, origin)
  }

  /** What came before and had no end was never committed: its server died, and began this anew. */
  #begin({ gtid, xa }: Begun): void {
    const before = this.#executed
    this.#executed = withGtid(before, gtid)
    this.#number = numberOf(this.#executed, this.#context.origin)
    const position = positionOfNumber(this.#number)
    if (comparePositions(position, this.#after) > 0 && comparePositions(position, this.#end) <= 0)
      throw new TidemarkError(
        'SOURCE_DIVERGED',
        'the log has a transaction whose number does not follow the one before: gtid_strict_mode was off, or the log was reset',
      )
    this.#untold = new Map()
    this.#doubtful = new Set()
    if (!this.#isPast) this.#unseen.caughtUp()
    this.#xa = xa?.step === 'prepare' ? new Set() : undefined
    this.#xid = xa?.xid
    this.#records = 0
    this.#open = new OpenTransaction({
      timeline: 1,
      position,
      transactionId: Number(this.#number & 0xffff_ffffn),
      committedAt: 0n,
    })
  }

  #requireOpen(): OpenTransaction {
    if (this.#open === undefined)
      throw new TidemarkError('PROTOCOL', 'the log has a change outside of a transaction with a GTID', {
        next: 'SET GLOBAL gtid_mode = ON: every transaction needs its GTID',
      })
    return this.#open
  }

  *#rows(map: TableMap, rows: RowsEvent): Generator<LogItem> {
    const open = this.#requireOpen()
    this.#cascade(map, rows)
    if (map.schema !== this.#context.database) return
    if (this.#xa !== undefined) {
      this.#xa.add(map.table)
      return
    }
    const table = this.#table(map)
    if (typeof table === 'string') this.#untold.set(map.table, `${table}; it is read again`)
    else yield* open.rows(table, rows)
  }

  #table(map: TableMap): LoggedTable | string {
    const known = this.#tables.get(map.table)
    if (known?.fits(map) === true) return known
    const { watch, subjects } = this.#context
    const table = LoggedTable.of(map, watch.charsets.charsets, subjects)
    if (table instanceof LoggedTable) this.#tables.set(map.table, table)
    return table
  }

  /** A parent's row that goes, or takes another key, may take rows of others along. */
  #cascade(map: TableMap, rows: RowsEvent): void {
    if (rows.kind === 'write' || rows.noForeignKeys) return
    const { database, watch } = this.#context
    if (map.schema === database) this.#mayReach()
    const cascades = watch.cascadesOf(cascadeKey(database, map.schema, map.table), rows.kind)
    if (cascades.length === 0) return
    const acting =
      rows.kind === 'delete' ? cascades : cascades.filter(({ columns }) => this.#changes(map, rows, columns))
    for (const table of watch.reachedFrom(acting)) if (isOurs(table)) this.#untold.set(table, WHY.cascade)
  }

  #mayReach(): void {
    if (this.#isPast) this.#unseen.changed(this.#requireOpen().head.position)
  }

  /** Reads the rows of the event without taking them: they are read once more as changes. */
  #changes(map: TableMap, rows: RowsEvent, columns: readonly string[]): boolean {
    const table = LoggedTable.of(map, this.#context.watch.charsets.charsets, new Map())
    if (typeof table === 'string') return true
    const places = columns.map((name) => table.relation.columns.findIndex((column) => column.name === name))
    if (places.includes(-1)) return true
    const copy = { ...rows, rows: rows.rows.copy() }
    while (copy.rows.left > 0) {
      const { before, after } = table.images(copy)
      if (places.some((place) => !sameField(before![place]!, after![place]!))) return true
    }
    return false
  }

  /** @param table all of the database where it is not known */
  #untell(table: TableMap | undefined, why: string): void {
    this.#requireOpen()
    if (table === undefined) {
      this.#mayReach()
      for (const name of this.#context.watch.tables) this.#untold.set(name, why)
    } else if (table.schema === this.#context.database) this.#untold.set(table.table, why)
  }

  async #statement(query: QueryEvent): Promise<void> {
    const { charsets } = this.#context.watch
    const sql = statementText(query, charsets.charsets)
    const marker = sql === undefined || query.database !== this.#context.database ? undefined : markerIn(sql)
    if (marker !== undefined) {
      this.#marker = marker
      return
    }
    const effects: readonly DdlEffect[] =
      sql === undefined
        ? [{ kind: 'all changed', schema: this.#context.database }]
        : ddlEffects(sql, query.database, quotesOf(query))
    // It may have made a table.
    if (effects.some(({ kind }) => kind === 'all changed')) await this.#context.watch.look()
    const { database, watch } = this.#context
    const doubtful = this.#unseen.inDoubt(effects, sql, { database, tables: watch.tables })
    this.#doubtful = new Set([...this.#doubtful, ...watch.withReached(doubtful).filter(isOurs)])
    const facts = { sql: sql ?? '', session: sessionOf(query, charsets) }
    for (const effect of effects) this.#effect(effect, facts)
  }

  #effect(effect: DdlEffect, facts: Pick<DdlFacts, 'sql' | 'session'>): void {
    const { database, watch } = this.#context
    const ours = (kind: DdlFacts['effect'], of: { readonly schema: string; readonly name: string }): void => {
      if (of.schema === database) this.#record({ effect: kind, schema: of.schema, name: of.name, ...facts })
    }
    switch (effect.kind) {
      case 'created':
      case 'dropped':
      case 'changed':
      case 'indexed':
        ours(effect.kind, effect.table)
        break
      case 'emptied':
        this.#emptied(effect.table.schema, effect.table.name)
        break
      case 'object':
        if (effect.object.schema === database)
          this.#record({
            effect: 'object',
            ...effect.object,
            what: effect.what,
            isGone: effect.isGone,
            ...facts,
          })
        break
      case 'all changed':
      case 'all dropped':
        // A statement that is not known may be about any database, whichever it was in.
        if (effect.kind === 'all changed' || effect.schema === database)
          for (const name of watch.tables)
            ours(effect.kind === 'all dropped' ? 'dropped' : 'created', { schema: database, name })
    }
  }

  /** TRUNCATE has no rows in the log. Of a table whose rows were not seen yet the layout is not known. */
  #emptied(schema: string, name: string): void {
    if (schema !== this.#context.database) return
    const table = this.#tables.get(name)
    if (table === undefined) this.#untold.set(name, 'it was emptied, and is read again')
    else this.#requireOpen().truncate(table)
  }

  #record(facts: DdlFacts): void {
    this.#hasDdl = true
    // Rows behind it may be laid out anew, under the same names.
    if (facts.effect !== 'object') this.#tables.delete(facts.name)
    if (facts.effect === 'dropped') this.#dropped.add(facts.name)
    else if (facts.effect === 'created') this.#dropped.delete(facts.name)
    const number = String(this.#number)
    this.#requireOpen().record(rawRecord(`${number}.${this.#records++}`, number, facts))
  }

  *#ended({ outcome, committedAt }: Ended): Generator<LogItem> {
    const open = this.#requireOpen()
    if (outcome.kind === 'prepared') this.#remember(outcome.xid)
    else if (outcome.kind === 'decided') this.#decide(outcome.xid ?? this.#xid, outcome.commits)
    // What is left of a transaction that was taken back are rows of tables that cannot take them back.
    else if (outcome.kind === 'rolled back') this.#untell(undefined, WHY['rolled back in part'])
    else for (const name of this.#xa ?? []) this.#untold.set(name, WHY.xa)
    const { database } = this.#context
    for (const [name, why] of this.#untold)
      this.#record({ effect: 'changed', schema: database, name, sql: '', why, session: {} })
    this.#tellDoubt()
    this.#open = undefined
    this.#xa = undefined
    this.#xid = undefined
    this.#end = endOfNumber(this.#number)
    const marker = this.#marker
    this.#marker = undefined
    if (comparePositions(this.#end, this.#after) <= 0) return
    if (marker !== undefined) yield { kind: 'marker', at: open.head.position, name: marker }
    if (open.isEmpty && marker === undefined) return
    yield open.ended(this.#end, this.#resume, committedAt)
  }

  #tellDoubt(): void {
    const since = this.#unseen.since
    if (since === undefined) return
    const told = { effect: 'changed', schema: this.#context.database, sql: '', session: {} } as const
    for (const name of this.#doubtful)
      this.#record({ ...told, name, why: WHY.unseen, since: positionText(since) })
  }

  #remember(xid: string): void {
    if (this.#prepared.size >= MOST_PREPARED) this.#prepared.clear()
    // What no row of it tells (cascades, statements as text) happens with the decision too.
    const tables = this.#xa ?? this.#context.watch.tables
    this.#prepared.set(xid, new Set([...tables, ...this.#untold.keys()]))
    this.#untold = new Map()
  }

  /** Of one that was prepared before this stream began nobody knows what it changes. */
  #decide(xid: string | undefined, commits: boolean): void {
    const tables = xid === undefined ? undefined : this.#prepared.get(xid)
    if (xid !== undefined) this.#prepared.delete(xid)
    if (!commits) return
    if (tables === undefined) this.#mayReach()
    for (const name of tables ?? this.#context.watch.tables) this.#untold.set(name, WHY.xa)
  }
}
